"""What test_api_auth.py and test_api_auth_keys.py share."""

from __future__ import annotations

from typing import Any

import pytest

from lyo.predictive.api.access.auth import Verifier
from lyo.predictive.api.access.keys import Keys
from lyo.predictive.api.problems import Problem
from lyo.streams.settings import Settings
from tests.support.api.tokens import Issuer

ISSUER = Issuer()


def verifier(*, secret: str | None = None, keys: bool = True, **more: Any) -> Verifier:
    settings = Settings(jwt_secret=secret, **more)
    return Verifier(settings, Keys(lambda: ISSUER.jwks, 300, 30) if keys else None)


async def refusal(token: str, using: Verifier | None = None) -> str:
    with pytest.raises(Problem) as caught:
        await (using or verifier()).caller(f"Bearer {token}")
    assert caught.value.status == 401
    challenge = caught.value.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="lyo", error="invalid_token"')
    return caught.value.detail

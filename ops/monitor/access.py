"""Who may open the on-call page: one token to look, another to see what dead letters held and to retry them.

A browser signs in with a form and keeps a cookie made of the token (HMAC), never the token itself; a changed
token ends every session.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import IntEnum
from typing import Final

from pydantic import SecretStr
from starlette.requests import Request

from lyo.streams.settings import Settings

COOKIE: Final = "lyo_ops"


class Role(IntEnum):
    """What a caller may do; each may do what the ones before may."""

    VIEWER = 1
    OPERATOR = 2


class Access:
    """Knows the tokens."""

    def __init__(self, settings: Settings) -> None:
        given = {Role.VIEWER: settings.monitor_token, Role.OPERATOR: settings.monitor_operator_token}
        self._keys = {role: _bytes(token) for role, token in given.items() if token is not None}

    @property
    def open(self) -> bool:
        """Whether there is a token at all."""
        return bool(self._keys)

    def role(self, request: Request) -> Role | None:
        """What the sender of a request may do, by its Authorization header or its cookie."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.of_token(token.strip())
        return self._of_cookie(request.cookies.get(COOKIE, ""))

    def of_token(self, token: str) -> Role | None:
        """What the bearer of a token may do."""
        found = [role for role, key in self._keys.items() if hmac.compare_digest(key, token.encode())]
        return max(found, default=None)

    def cookie(self, role: Role) -> str:
        """The cookie of one who has signed in."""
        return _sign(self._keys[role], "session")

    def form_key(self, role: Role) -> str:
        """What a form must send back, which another site cannot know."""
        return _sign(self._keys[role], "form")

    def is_form_key(self, role: Role, key: str) -> bool:
        """Whether a form was one of ours."""
        return hmac.compare_digest(self.form_key(role).encode(), key.encode())

    def _of_cookie(self, cookie: str) -> Role | None:
        said = cookie.encode()
        found = [role for role in self._keys if hmac.compare_digest(self.cookie(role).encode(), said)]
        return max(found, default=None)


def _bytes(token: SecretStr) -> bytes:
    return token.get_secret_value().encode()


def _sign(key: bytes, what: str) -> str:
    return hmac.new(key, b"lyo ops " + what.encode(), hashlib.sha256).hexdigest()

"""An OpenID provider on this machine, and a Kafka that takes its tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

from lyo.tools.stack import Listener, LocalKafka
from tests.support.api.tokens import Issuer
from tests.support.servers.http import Answering, listening

CLIENT, CLIENT_SECRET = "app", "correct-horse-battery"
AUDIENCE, SCOPE, ISSUER = "kafka", "events", "https://id.example"
_CLASSES = "org.apache.kafka.common.security.oauthbearer"
_VALIDATOR = f"{_CLASSES}.OAuthBearerValidatorCallbackHandler"


@dataclass
class Provider:
    """Gives a token for a minute and a half to who knows the secret.

    Attributes:
        url: where its tokens are, once it runs.
        audience: whom the next tokens are for.
        given: how many tokens it gave.
    """

    issuer: Issuer = field(default_factory=Issuer)
    url: str = ""
    audience: str = AUDIENCE
    given: int = 0

    def answer(self, authorization: str, form: dict[str, list[str]]) -> tuple[int, dict[str, object]]:
        """The status and the body for a request (RFC 6749, section 4.4)."""
        known = base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
        if authorization != f"Basic {known}":
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") != ["client_credentials"] or form.get("scope") != [SCOPE]:
            return 400, {"error": "invalid_scope"}
        self.given += 1
        now = int(time.time())
        token = self.issuer.token(
            iss=ISSUER, sub=CLIENT, aud=self.audience, iat=now, exp=now + 90, scope=SCOPE
        )
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 90}


@contextmanager
def provider() -> Iterator[Provider]:
    """One that runs, on a free port."""
    running = Provider()

    class Handler(Answering):
        def do_POST(self) -> None:  # noqa: N802 (the base class calls it)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, given = running.answer(self.headers.get("Authorization", ""), parse_qs(body))
            self.answer(status, json.dumps(given).encode(), "application/json")

    with listening(Handler) as address:
        running.url = f"{address}/token"
        yield running


class OauthKafka(LocalKafka):
    """A broker whose second listener, OAUTH, takes the provider's tokens."""

    def __init__(self, home: Path, jars: Path, keys: Path, issuer: Issuer) -> None:
        keys.write_text(json.dumps(issuer.jwks))
        self._keys = keys.as_uri()
        accepting = {
            "sasl.enabled.mechanisms": "OAUTHBEARER",
            "oauthbearer.sasl.jaas.config": f"{_CLASSES}.OAuthBearerLoginModule required;",
            "oauthbearer.sasl.server.callback.handler.class": _VALIDATOR,
            "oauthbearer.sasl.oauthbearer.jwks.endpoint.url": self._keys,
            "oauthbearer.sasl.oauthbearer.expected.audience": AUDIENCE,
            "oauthbearer.sasl.oauthbearer.expected.issuer": ISSUER,
        }
        super().__init__(
            home, jar_cache=jars, private=True, listeners=[Listener("OAUTH", "SASL_PLAINTEXT", accepting)]
        )

    def _command(self, main: str, *arguments: str, options: list[str]) -> list[str]:
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._keys}"
        return super()._command(main, *arguments, options=[*options, allowed])

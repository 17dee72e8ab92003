"""Access to the on-call page: one token to view it, another to see dead letters' contents and retry them.

A browser signs in with a form and gets a cookie derived from the token (HMAC), never the token itself. A
changed token ends every session.
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
    """What a caller may do; a role includes the roles before it."""

    VIEWER = 1
    OPERATOR = 2


class Access:
    """Checks tokens, cookies and forms."""

    def __init__(self, settings: Settings) -> None:
        tokens = {Role.VIEWER: settings.monitor_token, Role.OPERATOR: settings.monitor_operator_token}
        self._keys = {role: _bytes(token) for role, token in tokens.items() if token is not None}

    @property
    def open(self) -> bool:
        """Whether any token is set."""
        return bool(self._keys)

    def role(self, request: Request) -> Role | None:
        """The role of a request's sender, by its Authorization header or its cookie; None: no access."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.of_token(token.strip())
        return self._of_cookie(request.cookies.get(COOKIE, ""))

    def of_token(self, token: str) -> Role | None:
        """The role of a token; None if it is wrong."""
        roles = [role for role, key in self._keys.items() if hmac.compare_digest(key, token.encode())]
        return max(roles, default=None)

    def cookie(self, role: Role) -> str:
        """The cookie of a signed-in role."""
        return _sign(self._keys[role], "session")

    def form_key(self, role: Role) -> str:
        """The value that a form must send back; another site cannot know it."""
        return _sign(self._keys[role], "form")

    def is_form_key(self, role: Role, key: str) -> bool:
        """Whether a form came from this page."""
        return hmac.compare_digest(self.form_key(role).encode(), key.encode())

    def _of_cookie(self, cookie: str) -> Role | None:
        sent = cookie.encode()
        roles = [role for role in self._keys if hmac.compare_digest(self.cookie(role).encode(), sent)]
        return max(roles, default=None)


def _bytes(token: SecretStr) -> bytes:
    return token.get_secret_value().encode()


def _sign(key: bytes, what: str) -> str:
    return hmac.new(key, b"lyo ops " + what.encode(), hashlib.sha256).hexdigest()

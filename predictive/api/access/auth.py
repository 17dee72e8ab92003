"""Authentication by JSON Web Tokens, checked by PyJWT (RFC 7519, RFC 8725).

Tokens are signed with RS256 or ES256 and a key of the JWKS; HS256 with a secret is for development. Expiry is
checked by the system's clock: `LYO_CLOCK` sets the time of predictions, not how long a token lives.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAlgorithmError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    InvalidSubjectError,
    MissingRequiredClaimError,
    PyJWTError,
)

from lyo.predictive.api.access.caller import Caller
from lyo.predictive.api.access.keys import ALGORITHMS, Keys, NoKeysError
from lyo.predictive.api.fields import LARGEST_ID
from lyo.predictive.api.problems import Problem, unavailable
from lyo.streams import log
from lyo.streams.settings import Settings

LONGEST_TOKEN: Final = 8_192
MOST_KNOWN: Final = 4_096
_ID: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_REASONS: Final[dict[type[PyJWTError], str]] = {
    ExpiredSignatureError: "the token has expired",
    ImmatureSignatureError: "the token is not valid yet",
    InvalidAudienceError: "the token is for another audience",
    InvalidIssuerError: "the token is from another issuer",
    InvalidSignatureError: "the signature is wrong",
    InvalidAlgorithmError: "the algorithm is not allowed",
    InvalidSubjectError: "the claim sub is not text",
}
_log = log.logger("auth")


class KeyMissingError(RuntimeError):
    """No setting says how tokens are checked."""


class Refused(Exception):
    """A token that cannot be used; the message says why and holds nothing of the token."""


@dataclass(frozen=True, slots=True)
class _Verified:
    """A verified token. It is valid until it expires, as long as its key stays the same."""

    header: dict[str, Any]
    key: Any
    claims: dict[str, Any]
    until: float  # s


class Verifier:
    """Turns an ``Authorization`` header into a caller.

    Raises:
        KeyMissingError: the settings name neither a JWKS nor a secret.
    """

    def __init__(self, settings: Settings, keys: Keys | None) -> None:
        secret = settings.jwt_secret
        if keys is None and secret is None:
            raise KeyMissingError(
                "no key to check tokens with: set LYO_JWT_JWKS_URL or LYO_JWT_JWKS_FILE "
                "(or, for development, LYO_JWT_SECRET)"
            )
        self.keys = keys
        self._settings = settings
        self._secret = None if secret is None else secret.get_secret_value()
        self._known: dict[str, _Verified] = {}

    async def caller(self, authorization: str | None) -> Caller:
        """The caller who sent this header.

        Raises:
            Problem: 401 with the reason, 503 while there are no keys to check with.
        """
        try:
            return self._caller(await self._claims(_bearer(authorization)))
        except Refused as refused:
            raise _unauthorized(str(refused), named=authorization is not None) from None
        except NoKeysError:
            raise unavailable("The keys that sign tokens cannot be read now.") from None

    async def _claims(self, token: str) -> dict[str, Any]:
        known = self._known.get(token)
        if known is not None and time.time() < known.until:
            keys = await self._candidates(known.header)
            if any(key is known.key for key in keys):
                return known.claims
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        verified = await self._verified(token)
        self._known[token] = verified
        return verified.claims

    async def _verified(self, token: str) -> _Verified:
        try:
            header = jwt.get_unverified_header(token)
            keys = await self._candidates(header)
            key, claims = self._decoded(token, header["alg"], keys)
            until = float(claims["exp"]) + self._settings.jwt_leeway_seconds
        except MissingRequiredClaimError as error:
            raise Refused(f"the token has no claim {error.claim}") from None
        except PyJWTError as error:
            raise Refused(_REASONS.get(type(error), "the token is malformed")) from None
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise Refused("the token is malformed") from None
        return _Verified(header, key, claims, until)

    def _decoded(self, token: str, algorithm: str, keys: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
        """The first key that made the signature, and the claims.

        Raises:
            PyJWTError: the token cannot be used; of its signature only once no key has made it.
        """
        for key in keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self._settings.jwt_audience,
                    issuer=self._settings.jwt_issuer,
                    leeway=self._settings.jwt_leeway_seconds,
                    options={"require": ["exp"]},
                )
            except InvalidSignatureError:
                continue
            return key, claims
        raise InvalidSignatureError

    async def _candidates(self, header: dict[str, Any]) -> Sequence[Any]:
        """The keys of the token's id and algorithm, so that no public key is used as a secret; never none."""
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm == "HS256" and self._secret is not None:
            return (self._secret,)
        if algorithm not in ALGORITHMS or self.keys is None:
            raise Refused("the algorithm is not allowed")
        if kid is not None and not isinstance(kid, str):
            raise Refused("the token is malformed")
        keys = await self.keys.find(kid)
        if not keys:
            raise Refused("the key is not known")
        fit = [key for key in keys if key.algorithm_name == algorithm]
        if not fit:
            raise Refused("the algorithm is not that of the key")
        return fit

    def _caller(self, claims: dict[str, Any]) -> Caller:
        settings = self._settings
        organization = _number(claims, settings.jwt_organization_claim)
        if settings.jwt_service_role in _roles(claims, settings.jwt_roles_claim):
            if organization is None and not settings.jwt_single_tenant:
                raise Refused(f"a service's token has no claim {settings.jwt_organization_claim}")
            name = str(claims.get(settings.jwt_user_claim, ""))[:200]
            return Caller(f"service:{organization}:{name}", None, organization, service=True)
        user = _number(claims, settings.jwt_user_claim)
        if user is None:
            raise Refused(f"the token has no claim {settings.jwt_user_claim}")
        return Caller(f"learner:{user}", user, organization)


def _bearer(authorization: str | None) -> str:
    if authorization is None:
        raise Refused("no token was sent")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Refused("the Authorization header holds no bearer token")
    if len(token) > LONGEST_TOKEN:
        raise Refused("the token is too long")
    return token


def _number(claims: dict[str, Any], claim: str) -> int | None:
    """An id given as a number or a decimal text (`sub` is always text, RFC 7519); None without the claim."""
    value = claims.get(claim)
    if value is None:
        return None
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or _ID.fullmatch(text) is None or int(text) > LARGEST_ID:
        raise Refused(f"the claim {claim} is not an id")
    return int(text)


def _roles(claims: dict[str, Any], claim: str) -> set[str]:
    roles: set[str] = set()
    for value in (claims.get(claim), claims.get("role")):
        if isinstance(value, str):
            roles.update(value.split())
        elif isinstance(value, list):
            roles.update(role for role in value if isinstance(role, str))
    return roles


def _unauthorized(reason: str, *, named: bool) -> Problem:
    """401. The challenge names the error only if a token was sent (RFC 6750, section 3)."""
    _log.warning("401: %s", reason)
    challenge = f'Bearer realm="lyo", error="invalid_token", error_description="{reason}"'
    headers = {"WWW-Authenticate": challenge if named else 'Bearer realm="lyo"'}
    return Problem(401, f"{reason[0].upper()}{reason[1:]}.", headers=headers)

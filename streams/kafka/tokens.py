"""Tokens for SASL/OAUTHBEARER: from an OpenID provider by client credentials, or signed for Amazon MSK."""

from __future__ import annotations

import asyncio
import importlib
import ssl
import time
from functools import lru_cache
from typing import Any, Final

from aiokafka import conn
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from lyo.streams.settings import Settings

__all__ = ["TokenError", "token_provider"]

EARLY: Final = 30.0
"""Seconds before its end at which a token is not used any more."""


class TokenError(KafkaError):
    """There is no token; `lasting`: nor will there be one until a setting or the provider is changed."""

    def __init__(self, reason: str, *, lasting: bool) -> None:
        super().__init__(reason)
        self.lasting = lasting

    def __str__(self) -> str:
        return str(self.args[0])


class _Authenticator(conn.OAuthAuthenticator):
    """Notices that the broker refused the token; aiokafka would go on and wait for answers for ever."""

    async def step(self, payload: bytes) -> tuple[bytes, bool] | None:
        if self._token_sent and payload:
            # RFC 7628: whoever is refused gets a challenge that tells why.
            reason = payload.decode(errors="replace")[:200]
            raise TokenError(f"it does not accept the token (LYO_SASL_TOKEN_URL): {reason}", lasting=True)
        answer: tuple[bytes, bool] | None = await super().step(payload)
        return answer


conn.OAuthAuthenticator = _Authenticator


@lru_cache(4)
def token_provider(settings: Settings) -> AbstractTokenProvider:
    """The one source of tokens of a process's clients, whose tokens they share.

    Raises:
        TokenError: the extra that the mechanism needs is not installed.
    """
    if settings.sasl_mechanism == "AWS_MSK_IAM":
        return _Msk(settings)
    return _ClientCredentials(settings)


class _Cached(AbstractTokenProvider):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token = ""
        self._ends = 0.0

    async def token(self) -> str:
        """A token that is valid for a while.

        Raises:
            TokenError: there is none.
        """
        if time.time() > self._ends - EARLY:
            self._token, self._ends = await self._fetched()
        return self._token

    async def _fetched(self) -> tuple[str, float]:
        """A new token, and when it ends (Unix seconds)."""
        raise NotImplementedError


class _ClientCredentials(_Cached):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._client = _imported(
            "authlib.integrations.httpx_client", "OAUTHBEARER", "oauth"
        ).AsyncOAuth2Client

    async def _fetched(self) -> tuple[str, float]:
        import httpx2
        from authlib.integrations.base_client import OAuthError

        settings = self._settings
        secret = settings.sasl_password
        try:
            async with self._client(
                settings.sasl_username,
                None if secret is None else secret.get_secret_value(),
                scope=settings.sasl_scope,
                verify=ssl.create_default_context(),
                timeout=settings.request_timeout_ms / 1000,
            ) as client:
                found: dict[str, Any] = await client.fetch_token(
                    settings.sasl_token_url, grant_type="client_credentials"
                )
        except OAuthError as error:
            reason = f"LYO_SASL_TOKEN_URL refuses LYO_SASL_USERNAME or LYO_SASL_PASSWORD: {error.error}"
            raise TokenError(reason, lasting=True) from None
        except (httpx2.HTTPError, ValueError) as error:
            reason = f"LYO_SASL_TOKEN_URL gives no token: {str(error) or type(error).__name__}"
            raise TokenError(reason, lasting=False) from None
        if not isinstance(found.get("access_token"), str):
            raise TokenError("LYO_SASL_TOKEN_URL answers without an access_token", lasting=False)
        return found["access_token"], float(found.get("expires_at") or 0.0)


class _Msk(_Cached):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._signer = _imported("aws_msk_iam_sasl_signer.MSKAuthTokenProvider", "AWS_MSK_IAM", "msk")

    async def _fetched(self) -> tuple[str, float]:
        try:
            # AWS's credentials may be a request to its metadata service away.
            token, ends = await asyncio.to_thread(
                self._signer.generate_auth_token, self._settings.sasl_region
            )
        except Exception as error:  # noqa: BLE001 - botocore's own errors, and the signer's bare ones
            raise TokenError(f"AWS gives no credentials for AWS_MSK_IAM: {error}", lasting=False) from None
        return token, ends / 1000


def _imported(module: str, mechanism: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        reason = f"LYO_SASL_MECHANISM={mechanism} needs an extra: pip install 'lyo-predictive[{extra}]'"
        raise TokenError(reason, lasting=True) from None

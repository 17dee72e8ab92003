"""TLS and SASL for Kafka clients, from the certificates, keys and passwords that the settings name."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from lyo.streams.kafka.tokens import TokenError, token_provider
from lyo.streams.settings import Settings
from lyo.streams.settings_checks import PREFIX

__all__ = ["SecurityError", "refusal", "security"]

_SIGNING_IN: Final = {
    SaslAuthenticationFailed: "LYO_SASL_USERNAME or LYO_SASL_PASSWORD is wrong",
    UnsupportedSaslMechanismError: "it does not take LYO_SASL_MECHANISM={mechanism}",
    IllegalSaslStateError: "LYO_SECURITY_PROTOCOL is not this listener's",
}
_CLOSED: Final = (
    "it closed the connection at once, as a listener does with another LYO_SECURITY_PROTOCOL than its own "
    "or that asks for a certificate (LYO_SSL_CERTFILE)"
)


class SecurityError(RuntimeError):
    """A certificate or key that a setting names cannot be used; the message names the setting."""


def security(settings: Settings) -> dict[str, Any]:
    """The arguments of every aiokafka client for TLS and SASL; files are read again each time.

    Raises:
        SecurityError: a file is missing, or its content is of another type.
    """
    arguments: dict[str, Any] = {"security_protocol": settings.security_protocol}
    if settings.security_protocol.endswith("SSL"):
        arguments["ssl_context"] = _context(settings)
    if settings.sasl_mechanism in ("OAUTHBEARER", "AWS_MSK_IAM"):
        arguments["sasl_mechanism"] = "OAUTHBEARER"
        try:
            arguments["sasl_oauth_token_provider"] = token_provider(settings)
        except TokenError as error:
            raise SecurityError(str(error)) from None
    elif settings.security_protocol.startswith("SASL"):
        secret = settings.sasl_password
        arguments["sasl_mechanism"] = settings.sasl_mechanism
        arguments["sasl_plain_username"] = settings.sasl_username
        arguments["sasl_plain_password"] = None if secret is None else secret.get_secret_value()
    return arguments


def _context(settings: Settings) -> ssl.SSLContext:
    """A TLS context that checks the broker's certificate and host name."""
    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
    except (OSError, ValueError) as error:
        raise _unusable("ssl_cafile", settings.ssl_cafile, error) from None
    if settings.ssl_certfile is not None:
        _check_readable("ssl_certfile", settings.ssl_certfile)
        if settings.ssl_keyfile is not None:
            _check_readable("ssl_keyfile", settings.ssl_keyfile)
        secret = settings.ssl_password
        # Without the argument OpenSSL would ask for a password at the terminal, and wait.
        password = "" if secret is None else secret.get_secret_value()
        try:
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, password=lambda: password)
        except (OSError, ValueError) as error:
            name = "ssl_certfile" if settings.ssl_keyfile is None else "ssl_keyfile"
            raise _unusable(name, getattr(settings, name), error) from None
    return context


def _check_readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise _unusable(name, path, error) from None


def _unusable(name: str, path: str | None, error: Exception) -> SecurityError:
    reason = getattr(error, "strerror", None) or str(error)
    hint = ", or its password (LYO_SSL_PASSWORD) is wrong" if name == "ssl_keyfile" else ""
    text = f"{reason}{hint}" if isinstance(error, ssl.SSLError) else reason
    return SecurityError(f"{PREFIX}{name.upper()}: {path} cannot be used: {text}")


async def refusal(settings: Settings) -> tuple[str, bool]:
    """Why a broker refuses the connection, and whether that lasts until a setting is changed.

    aiokafka's clients only tell that they could not start, so this connects to one broker itself.
    """
    host, port, _ = collect_hosts(settings.servers, randomize=False)[0]
    try:
        connection = await create_conn(
            host, port, request_timeout_ms=settings.request_timeout_ms, **security(settings)
        )
    except tuple(_SIGNING_IN) as error:
        return _SIGNING_IN[type(error)].format(mechanism=settings.sasl_mechanism), True
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not to be trusted (LYO_SSL_CAFILE): {error.verify_message}", True
    except KafkaConnectionError:
        return _CLOSED, False
    except (KafkaError, OSError, TimeoutError) as error:
        return str(error) or type(error).__name__, isinstance(error, TokenError) and error.lasting
    connection.close()
    return "", False

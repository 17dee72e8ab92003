"""What a setting's value must be, beyond its type and bounds. Messages never show a secret's value."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from lyo.streams.clock import Clock, ClockError
from lyo.streams.model_files import fitted_hazard

PREFIX: Final = "LYO_"
SECRET_BYTES: Final = 32
TOKEN_BYTES: Final = 16
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_SSL: Final = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_password")
_SASL: Final = ("sasl_username", "sasl_password", "sasl_token_url", "sasl_scope", "sasl_region")
_SIGNED: Final = ("sasl_username", "sasl_password")
_MECHANISMS: Final = {
    "OAUTHBEARER": ((*_SIGNED, "sasl_token_url"), ("sasl_scope",)),
    "AWS_MSK_IAM": (("sasl_region",), ()),
}
"""The settings that a mechanism needs and those it may have, where it is not user and password alone."""


def servers(value: str) -> str:
    """A list of ``host:port``, separated by commas."""
    for server in value.split(","):
        if "://" in server:
            raise ValueError(f"{server.strip()!r} is a URL; a broker is host:port alone")
        port = server.strip().rpartition(":")[2]
        if ":" not in server or not port.isdigit() or not 0 < int(port) < 65_536:
            raise ValueError(f"{server.strip()!r} is not host:port")
    return value


def clock(value: str | None) -> str | None:
    """A clock that can be read."""
    try:
        Clock(value)
    except ClockError as error:
        raise ValueError(str(error)) from None
    return value


def dropout_model(value: str | None) -> str | None:
    """A model file that can be served."""
    fitted_hazard(value)
    return value


def unset_if_empty(value: Any) -> Any:
    """None for an empty text: a compose file can set a variable to nothing, but not leave it out."""
    return None if value == "" else value


def secret(value: SecretStr | None) -> SecretStr | None:
    """A secret that is long enough to sign tokens."""
    return _long_enough(value, SECRET_BYTES)


def token(value: SecretStr | None) -> SecretStr | None:
    """A token that is too long to be guessed."""
    return _long_enough(value, TOKEN_BYTES)


def _long_enough(value: SecretStr | None, least: int) -> SecretStr | None:
    if value is not None and len(value.get_secret_value().encode()) < least:
        raise ValueError(f"has fewer than {least} bytes")
    return value


def https(value: str | None) -> str | None:
    """A URL with TLS, or of this machine: keys and tokens could be read or replaced on their way without."""
    if value is None:
        return None
    parts = urlsplit(value)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise ValueError("is not a URL that begins with https://")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("must be https: what is fetched without TLS can be replaced on its way")
    return value


def security(settings: Any) -> None:
    """The settings of TLS and SASL fit together, and none is set that the protocol does not use.

    A certificate or password that is not used would give a false sense of security.

    Raises:
        ValueError: naming the variables.
    """
    protocol, mechanism = settings.security_protocol, settings.sasl_mechanism
    needed, allowed = _MECHANISMS.get(mechanism, (_SIGNED, ()))
    if protocol.startswith("SASL"):
        if not all(getattr(settings, name) for name in needed):
            variables = ", ".join(map(_variable, needed))
            raise ValueError(f"LYO_SECURITY_PROTOCOL with the mechanism {mechanism} asks for {variables}")
        if mechanism == "AWS_MSK_IAM" and protocol != "SASL_SSL":
            raise ValueError("LYO_SASL_MECHANISM=AWS_MSK_IAM asks for LYO_SECURITY_PROTOCOL=SASL_SSL")
    of_certificate = settings.ssl_keyfile is not None or settings.ssl_password is not None
    if settings.ssl_certfile is None and of_certificate:
        raise ValueError("LYO_SSL_KEYFILE and LYO_SSL_PASSWORD are of a certificate: LYO_SSL_CERTFILE")
    unused = tuple(name for name in _SASL if name not in (*needed, *allowed))
    groups: tuple[tuple[tuple[str, ...], bool, str], ...] = (
        (_SSL, protocol.endswith("SSL"), f"LYO_SECURITY_PROTOCOL={protocol}"),
        (_SASL, protocol.startswith("SASL"), f"LYO_SECURITY_PROTOCOL={protocol}"),
        (unused, False, f"LYO_SASL_MECHANISM={mechanism}"),
    )
    for names, used, user in groups:
        given = next((name for name in names if getattr(settings, name) is not None), None)
        if given is not None and not used:
            raise ValueError(f"{_variable(given)} is set, but {user} does not use it")


def _variable(name: str) -> str:
    return PREFIX + name.upper()

"""Certificates and keys that cannot be used are named, and OpenSSL asks nobody for a password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lyo.streams.kafka.security import SecurityError, security
from lyo.streams.settings import Settings
from tests.support.servers.certificates import Authority


@pytest.fixture
def made(tmp_path: Path) -> dict[str, str]:
    authority = Authority(tmp_path)
    locked, other = authority.sign("locked", password="hunter2"), authority.sign("other")
    (tmp_path / "empty.pem").write_text("")
    return {
        "authority": str(authority.certificate),
        "certificate": str(locked.certificate),
        "key": str(locked.key),
        "other": str(other.key),
        "empty": str(tmp_path / "empty.pem"),
        "missing": str(tmp_path / "missing.pem"),
        "folder": str(tmp_path),
    }


def settings(made: dict[str, str], **given: str | None) -> Settings:
    files: dict[str, Any] = {"ssl_cafile": "authority", "ssl_certfile": "certificate", "ssl_keyfile": "key"}
    named = {name: None if file is None else made.get(file, file) for name, file in (files | given).items()}
    return Settings(security_protocol="SSL", **{"ssl_password": "hunter2"} | named)  # type: ignore[arg-type]


def test_an_encrypted_key_is_opened_with_its_password(made: dict[str, str]) -> None:
    context = security(settings(made))["ssl_context"]
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ssl_cafile": "missing"}, r"LYO_SSL_CAFILE: .*missing\.pem cannot be used: No such file"),
        ({"ssl_cafile": "empty"}, r"LYO_SSL_CAFILE: .*empty\.pem cannot be used"),
        ({"ssl_cafile": "folder"}, r"LYO_SSL_CAFILE"),
        ({"ssl_certfile": "missing"}, r"LYO_SSL_CERTFILE: .*missing\.pem cannot be used: No such file"),
        ({"ssl_keyfile": "missing"}, r"LYO_SSL_KEYFILE: .*missing\.pem cannot be used: No such file"),
        ({"ssl_keyfile": "other"}, r"LYO_SSL_KEYFILE: .*cannot be used"),
        ({"ssl_password": "wrong"}, r"LYO_SSL_KEYFILE: .*LYO_SSL_PASSWORD\) is wrong"),
        ({"ssl_password": None}, r"LYO_SSL_KEYFILE: .*LYO_SSL_PASSWORD\) is wrong"),
    ],
)
def test_what_cannot_be_used_is_named(
    made: dict[str, str], change: dict[str, str | None], named: str
) -> None:
    with pytest.raises(SecurityError, match=named) as refused:
        security(settings(made, **change))
    assert "hunter2" not in str(refused.value)

"""Certificates and keys that cannot be used are named, and OpenSSL asks nobody for a password."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

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


def test_tokens_for_amazon_msk_are_signed_with_credentials_of_aws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "correct-horse")
    arguments = security(
        Settings(security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM", sasl_region="eu-west-1")
    )
    assert arguments["sasl_mechanism"] == "OAUTHBEARER"
    provider = arguments["sasl_oauth_token_provider"]
    token = asyncio.run(provider.token())
    url = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    assert url.hostname == "kafka.eu-west-1.amazonaws.com"
    query = parse_qs(url.query)
    assert query["Action"] == ["kafka-cluster:Connect"]
    assert query["X-Amz-Credential"][0].startswith("AKIDEXAMPLE/")
    assert asyncio.run(provider.token()) == token, "a token is used again until it ends"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"sasl_mechanism": "OAUTHBEARER", "sasl_username": "a", "sasl_password": "b"}, "LYO_SASL_TOKEN_URL"),
        ({"sasl_mechanism": "AWS_MSK_IAM"}, "LYO_SASL_REGION"),
        ({"sasl_mechanism": "AWS_MSK_IAM", "sasl_region": "x", "sasl_username": "a"}, "LYO_SASL_USERNAME"),
        ({"sasl_username": "a", "sasl_password": "b", "sasl_scope": "c"}, "LYO_SASL_SCOPE"),
    ],
)
def test_each_mechanism_has_its_settings_and_no_other(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Settings(security_protocol="SASL_SSL", **given)


def test_without_a_file_of_authorities_those_of_the_system_are_trusted(
    made: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", made["authority"])
    context = security(Settings(security_protocol="SSL"))["ssl_context"]
    subjects = [dict(part for (part,) in found["subject"]) for found in context.get_ca_certs()]
    assert len(subjects) == 1

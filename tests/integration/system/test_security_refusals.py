"""What a client says when Kafka or Postgres refuses its credentials or certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lyo.storage.faults import SinkError
from lyo.storage.schema.migrate import upgrade
from lyo.storage.session import Session
from lyo.streams.kafka import clients as kafka
from lyo.streams.kafka.clients import Unreachable
from lyo.streams.settings import Settings
from tests.support.processes import Environment, lyo
from tests.support.servers.certificates import Authority
from tests.support.servers.secure import (
    PASSWORD,
)
from tests.support.servers.secure_clients import SECRETS, Secure, kafka_way

pytestmark = pytest.mark.integration


# -- refusals ----------------------------------------------------------------------------------------------


async def _topics(settings: Settings) -> None:
    async with kafka.admin(settings) as admin:
        await admin.list_topics()


async def test_sasl_without_tls_signs_in_too(secure: Secure) -> None:
    await _topics(Settings(**kafka_way(secure, "bare")))


@pytest.mark.parametrize(
    ("way", "change", "named"),
    [
        ("scram", {"sasl_password": "wrong-horse"}, "LYO_SASL_PASSWORD is wrong"),
        ("scram", {"sasl_mechanism": "PLAIN"}, "LYO_SASL_MECHANISM=PLAIN"),
        ("scram", {"ssl_cafile": "{other}"}, "LYO_SSL_CAFILE"),
        ("scram", {"ssl_cafile": None}, "LYO_SSL_CAFILE"),
        ("mutual", {"ssl_cafile": "{other}"}, "LYO_SSL_CAFILE"),
    ],
)
async def test_what_kafka_refuses_is_named_at_once(
    way: str, change: dict[str, Any], named: str, secure: Secure, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other").certificate
    given = {name: str(other) if value == "{other}" else value for name, value in change.items()}
    settings = Settings(**(kafka_way(secure, way) | {"connect_seconds": 3_600} | given))
    with pytest.raises(Unreachable, match=named) as refused:
        await kafka.reach(settings, lambda: _topics(settings))
    assert "refuses us" in str(refused.value)
    assert not any(secret in str(refused.value) for secret in (*SECRETS, "wrong-horse"))


@pytest.mark.parametrize(
    "change",
    [
        {"ssl_certfile": None, "ssl_keyfile": None, "ssl_password": None},
        {"security_protocol": "PLAINTEXT", "ssl_cafile": None}
        | dict.fromkeys(("ssl_certfile", "ssl_keyfile", "ssl_password")),
    ],
)
async def test_a_listener_that_closes_the_connection_is_explained(
    change: dict[str, Any], secure: Secure
) -> None:
    settings = Settings(**(kafka_way(secure, "mutual") | change | {"connect_seconds": 0.0}))
    with pytest.raises(Unreachable, match=r"LYO_SECURITY_PROTOCOL.*LYO_SSL_CERTFILE"):
        await kafka.reach(settings, lambda: _topics(settings))


def test_a_command_names_the_wrong_password_and_not_the_password(
    secure: Secure, environment: Environment
) -> None:
    settings = Settings(**(kafka_way(secure, "scram") | {"sasl_password": "wrong-horse"}))
    for words in (["worker"], ["publish", "/dev/null"]):
        done = lyo(environment(settings), *words)
        assert done.returncode == 1, words
        assert "LYO_SASL_PASSWORD is wrong" in done.stderr.splitlines()[-1]
        assert "wrong-horse" not in done.stdout + done.stderr


def test_a_command_names_a_certificate_that_is_missing_and_does_not_wait(environment: Environment) -> None:
    given = {"security_protocol": "SSL", "ssl_cafile": "/nowhere.pem", "connect_seconds": 3_600}
    variables = environment(Settings(**given))  # type: ignore[arg-type]
    for words in (["worker"], ["dlq", "list"]):
        done = lyo(variables, *words)
        assert done.returncode == 1, words
        (line,) = done.stderr.splitlines()
        assert "LYO_SSL_CAFILE: /nowhere.pem cannot be used: No such file" in line


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (PASSWORD, "wrong-horse", "password authentication failed"),
        ("authority.pem", "missing.pem", "sslrootcert=.*missing.pem: No such file"),
        ("authority.pem", "client.certificate.pem", "certificate verify failed"),
        ("verify-full", "disable", "no pg_hba.conf entry"),
        ("verify-full", "sometimes", "sslmode"),
        ("127.0.0.1", "localhost", "certificate verify failed|Hostname mismatch"),
    ],
)
async def test_what_postgres_refuses_is_named_at_once(old: str, new: str, named: str, secure: Secure) -> None:
    if secure.postgres is None:
        pytest.skip("no Postgres with TLS is installed here: apt-get install postgresql")
    url = secure.database_url("scram").replace(old, new)
    session = Session(url)
    with pytest.raises(SinkError, match=named) as refused:
        await session.first(3_600)
    assert not any(secret in str(refused.value) for secret in (*SECRETS, "wrong-horse"))
    with pytest.raises(Exception, match=named) as failed:
        upgrade(url)
    assert not any(secret in str(failed.value) for secret in (*SECRETS, "wrong-horse"))

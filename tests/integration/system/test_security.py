"""Every client of Kafka and Postgres over TLS, by SCRAM and by certificate, and no secret said anywhere."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from lyo.models.events.decode import Kind
from lyo.predictive.client import Publisher
from lyo.storage import database
from lyo.storage.faults import SinkError
from lyo.storage.outbox.queue import Outgoing, add
from lyo.storage.reads.progress import behind
from lyo.storage.schema.migrate import upgrade
from lyo.storage.session import Session
from lyo.streams import topics
from lyo.streams.kafka import clients as kafka
from lyo.streams.kafka.clients import Unreachable
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka
from tests.conftest import JARS
from tests.support.api.client import address_in
from tests.support.api.tokens import SECRET
from tests.support.processes import ROOT, lag, process, wait_for
from tests.support.servers import broker_tool
from tests.support.servers.certificates import Authority, Pair
from tests.support.servers.secure import (
    LEAVER,
    NEXT_PASSWORD,
    PASSWORD,
    SUCCESSOR,
    USER,
    SecurePostgres,
    postgres_with_tls,
    secure_kafka,
)

pytestmark = pytest.mark.integration

Environment = Callable[[Settings], dict[str, str]]
KEY_PASSWORD = "battery-staple-horse"
SECRETS = (PASSWORD, KEY_PASSWORD, SECRET)
NOON = "2026-03-01T12:00:00Z"


@dataclass(frozen=True)
class Secure:
    """The servers of these tests and who may sign in."""

    authority: Authority
    client: Pair
    kafka: LocalKafka
    postgres: SecurePostgres | None

    def database_url(self, way: str) -> str:
        assert self.postgres is not None
        return _url(self.postgres, self, way)


def _url(postgres: SecurePostgres, secure: Secure, way: str) -> str:
    place = f"127.0.0.1:{postgres.port}/lyo?sslmode=verify-full&sslrootcert={secure.authority.certificate}"
    if way == "scram":
        return f"postgresql://{USER}:{PASSWORD}@{place}"
    mine = f"&sslcert={secure.client.certificate}&sslkey={secure.client.key}&sslpassword={KEY_PASSWORD}"
    return f"postgresql://{postgres.client}@{place}{mine}"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("secure")
    authority = Authority(folder / "certificates")
    server = authority.sign("server")
    client = authority.sign("client", password=KEY_PASSWORD)
    programs = postgres_with_tls()
    if programs is None:
        assert "CI" not in os.environ, "no Postgres with TLS is installed here: apt-get install postgresql"
        with secure_kafka(folder, JARS, authority, server) as broker:
            yield Secure(authority, client, broker, None)
        return
    with (
        secure_kafka(folder, JARS, authority, server) as broker,
        SecurePostgres(folder, programs, authority, server) as postgres,
    ):
        postgres.sql(f"CREATE ROLE {USER} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        postgres.sql(f"CREATE ROLE {postgres.client} LOGIN SUPERUSER")
        yield Secure(authority, client, broker, postgres)


def kafka_way(secure: Secure, way: str) -> dict[str, Any]:
    """The settings of one way into Kafka."""
    trusted = {"ssl_cafile": str(secure.authority.certificate)}
    signed = {"sasl_username": USER, "sasl_password": PASSWORD}
    return {
        "scram": {
            "bootstrap_servers": secure.kafka.address("SCRAM"),
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
        }
        | trusted
        | signed,
        "mutual": {
            "bootstrap_servers": secure.kafka.address("MUTUAL"),
            "security_protocol": "SSL",
            "ssl_certfile": str(secure.client.certificate),
            "ssl_keyfile": str(secure.client.key),
            "ssl_password": KEY_PASSWORD,
        }
        | trusted,
        "bare": {
            "bootstrap_servers": secure.kafka.address("BARE"),
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-256",
        }
        | signed,
    }[way]


def lyo(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lyo.cli.main", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("way", ["scram", "mutual"])
async def test_every_process_and_client_works_over_tls_and_says_no_secret(
    way: str, secure: Secure, unique: str, environment: Environment, tmp_path: Path
) -> None:
    if secure.postgres is None:
        pytest.skip("no Postgres with TLS is installed here: apt-get install postgresql")
    secure.postgres.sql(f'CREATE DATABASE "{unique}"')
    settings = Settings(
        **kafka_way(secure, way),
        app_id=unique,
        topic_prefix=f"{unique}.",
        partitions=2,
        clock=NOON,
        log_level="debug",
        api_port=0,
        jwt_secret=SECRET,
        database_url=secure.database_url(way).replace("/lyo?", f"/{unique}?"),
    )
    variables = environment(settings)
    heard = [said(lyo(variables, *words)) for words in (["topics"], ["migrate"], ["settings"])]
    logs = [tmp_path / f"{name}.log" for name in ("worker", "sink", "api")]
    file = tmp_path / "events.jsonl"
    event = {"type": "session", "event_id": "file", "user_id": 7, "started_at": NOON, "ended_at": NOON}
    file.write_text(json.dumps(event))
    async with (
        process("worker", variables, logs[0]),
        process("sink", variables, logs[1]),
        process("api", variables, logs[2]),
    ):
        heard.append(said(lyo(variables, "publish", str(file))))
        async with Publisher(settings=settings) as events:
            await events.sentiment(
                user_id=7, value=0.5, event_id="client", occurred_at=datetime.fromisoformat(NOON)
            )
        await _through_the_outbox(settings)

        async def three_events() -> bool:
            return await _counted(settings) == (1, 1) and await lag(settings) == await behind(settings) == 0

        await wait_for(three_events, "the file's, the client's and the outbox's event are counted", 90)
        heard.append(said(lyo(variables, "subscribe", "--once")))
        await _is_ready(logs[2])
    assert '"dropout-risk"' in heard[-1]
    everything = [*heard, *(log.read_text() for log in logs)]
    assert [secret for secret in SECRETS for text in everything if secret in text] == []


async def test_a_second_user_of_kafka_takes_over_from_the_first_without_a_stop(
    secure: Secure, unique: str, database_url: str, environment: Environment, tmp_path: Path
) -> None:
    """The runbook's rotation: new processes beside the old ones, then the first user is refused."""
    first = Settings(
        **(kafka_way(secure, "scram") | {"sasl_username": LEAVER}),
        app_id=unique,
        topic_prefix=f"{unique}.",
        partitions=2,
        clock=NOON,
        database_url=database_url,
    )
    signed = {"sasl_username": SUCCESSOR, "sasl_password": NEXT_PASSWORD}
    second = Settings(**(first.model_dump(exclude_unset=True) | signed))
    old, new = environment(first), environment(second)
    said(lyo(old, "topics"))
    said(lyo(old, "migrate"))
    logs = [tmp_path / name for name in ("worker", "sink", "worker.new", "sink.new")]
    async with process("worker", new, logs[2]) as worker, process("sink", new, logs[3]) as sink:
        async with process("worker", old, logs[0]), process("sink", old, logs[1]):
            await _told(first, 7)
        await _told(second, 8)
        said(lyo(old, "topics"))
        async with Publisher(settings=first) as connected:
            await asyncio.to_thread(_lock_out, secure, LEAVER)
            # Who is connected stays so, which is why the old processes end before.
            await connected.sentiment(user_id=7, value=0.5, occurred_at=datetime.fromisoformat(NOON))
        for words in (["doctor"], ["worker"], ["publish", "/dev/null"]):
            refused = lyo(old, *words)
            assert refused.returncode == 1, words
            assert "LYO_SASL_PASSWORD is wrong" in refused.stdout + refused.stderr, words
        await _told(second, 9)
        said(lyo(new, "topics"))
        assert (worker.poll(), sink.poll()) == (None, None)


def _lock_out(secure: Secure, user: str) -> None:
    """A password that nobody knows: after a deletion Kafka 4.4 forgot others, too, at its next start."""
    unknown = secrets.token_hex(32)
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        changing = ("--add-config", f"{mechanism}=[password={unknown}]", "--entity-type", "users")
        broker_tool.configure(secure.kafka.bootstrap_servers, "--alter", *changing, "--entity-name", user)


async def _told(settings: Settings, user: int) -> None:
    """Publish an event of a learner as this user of Kafka, and wait for the prediction in Postgres."""
    async with Publisher(settings=settings) as events:
        await events.sentiment(user_id=user, value=0.5, occurred_at=datetime.fromisoformat(NOON))
    connection = await asyncpg.connect(database.plain_url(settings.database_url))

    async def there() -> bool:
        sql = "SELECT count(*) FROM dropout_risk_scores WHERE user_id = $1"
        return bool(await connection.fetchval(sql, user))

    try:
        await wait_for(there, f"learner {user} has a dropout risk", 90)
    finally:
        await connection.close()


async def _through_the_outbox(settings: Settings) -> None:
    value = {"event_id": "outbox", "user_id": 7, "occurred_at": NOON, "kind": "returned"}
    row = Outgoing(topics.names(settings).topic(Kind.OUTCOME), 7, json.dumps(value).encode())
    engine = database.engine(settings.database_url)
    async with engine.begin() as connection:
        await add(connection, [row])
        assert await connection.scalar(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    await engine.dispose()


async def _counted(settings: Settings) -> tuple[int, int]:
    connection = await asyncpg.connect(database.plain_url(settings.database_url))
    try:
        risks = await connection.fetchval("SELECT count(*) FROM dropout_risk_scores WHERE user_id = 7")
        facts = await connection.fetchval("SELECT count(*) FROM outcome_facts WHERE kind = 'returned'")
    finally:
        await connection.close()
    return risks, facts


async def _is_ready(log: Path) -> None:
    async with httpx.AsyncClient() as client:

        async def ready() -> bool:
            address = address_in(log)
            return address is not None and (await client.get(f"{address}/readyz")).status_code == 200

        await wait_for(ready, "the API is ready", 60)


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

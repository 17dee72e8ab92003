"""Every client of Kafka and Postgres over TLS, by SCRAM and by certificate, and no secret said anywhere."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
from datetime import datetime
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from lyo.models.events.decode import Kind
from lyo.predictive.client import Publisher
from lyo.storage import database
from lyo.storage.outbox.queue import Outgoing, add
from lyo.storage.reads.stored_offsets import behind
from lyo.streams import topics
from lyo.streams.settings import Settings
from tests.support.api.client import address_in
from tests.support.api.tokens import SECRET
from tests.support.processes import Environment, lag, lyo, process, wait_for
from tests.support.servers import broker_tool
from tests.support.servers.secure import (
    LEAVER,
    NEXT_PASSWORD,
    SUCCESSOR,
)
from tests.support.servers.secure_clients import SECRETS, Secure, kafka_way

pytestmark = pytest.mark.integration


NOON = "2026-03-01T12:00:00Z"


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

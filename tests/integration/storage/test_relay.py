"""The relay on real Kafka and Postgres: every row of the outbox on its topic, in order, at least once."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from aiokafka.admin import NewTopic

from lyo.models.events.decode import Kind, partition
from lyo.storage.database import plain_url
from lyo.storage.outbox.relay import Relay
from lyo.storage.outbox.retention import forget
from lyo.storage.outbox.sender import OutboxSender, Sent
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka, LocalPostgres
from tests.support.sink.records import outcome
from tests.support.sink.running import fetch, until

pytestmark = pytest.mark.integration

Environment = Callable[[Settings], dict[str, str]]
Row = tuple[str, str, str, bytes]
NEVER = 100_000.0
INSERT = "INSERT INTO outbox (topic, key, partition_key, value) VALUES ($1, $2, $3, $4)"


@pytest.fixture
async def ready(settings: Settings) -> Settings:
    """Settings with topics and tables."""
    await topic_admin.ensure(settings)
    upgrade(settings.database_url)
    return settings


def rows(settings: Settings, count: int, users: int = 7, first: int = 0) -> list[Row]:
    """Outcomes and erasures of a few learners."""
    names = topics.names(settings)
    found = []
    for number in range(first, first + count):
        user = number % users + 1
        topic = names.topic(Kind.ERASURE if number % 5 == 0 else Kind.OUTCOME)
        value = json.dumps(outcome(user, "returned", number)).encode()
        found.append((topic, str(user), str(user), value))
    return found


async def write(url: str, some: Iterable[Row]) -> None:
    connection = await asyncpg.connect(plain_url(url))
    try:
        await connection.executemany(INSERT, list(some))
    finally:
        await connection.close()


@asynccontextmanager
async def relaying(settings: Settings, **more: Any) -> AsyncIterator[Relay]:
    relay = Relay(settings, **more)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        relay.stop()
        await asyncio.wait([task], timeout=60)
    task.result()


async def none_left(settings: Settings) -> None:
    async def nothing() -> bool:
        return (
            await fetch(
                settings.database_url, "SELECT 1 FROM outbox WHERE sent_at IS NULL AND error IS NULL LIMIT 1"
            )
            == []
        )

    await until(nothing)


async def arrived(settings: Settings, *wanted: str) -> dict[tuple[str, int], list[tuple[str, bytes]]]:
    """Keys and values by topic-partition, in order."""
    names = topics.names(settings)
    wanted = wanted or (names.topic(Kind.ERASURE), names.topic(Kind.OUTCOME))
    partitions = await clients.partitions_of(settings, *wanted)
    reader = clients.consumer(settings)
    await reader.start()
    found: dict[tuple[str, int], list[tuple[str, bytes]]] = {}
    try:
        async for tp, records in clients.read_to_end(reader, partitions):
            found.setdefault(tuple(tp), []).extend((r.key.decode(), r.value) for r in records)
    finally:
        await reader.stop()
    return found


def expected(settings: Settings, some: Iterable[Row]) -> dict[tuple[str, int], list[tuple[str, bytes]]]:
    found: dict[tuple[str, int], list[tuple[str, bytes]]] = {}
    for topic, key, partition_key, value in some:
        place = (topic, partition(int(partition_key), settings.partitions))
        found.setdefault(place, []).append((key, value))
    return found


def once(
    found: dict[tuple[str, int], list[tuple[str, bytes]]],
) -> dict[tuple[str, int], list[tuple[str, bytes]]]:
    """The first of each record, as who knows event ids sees it."""
    return {place: list(dict.fromkeys(some)) for place, some in found.items()}


async def test_rows_go_out_in_order_and_are_marked(ready: Settings) -> None:
    some = rows(ready, 300)
    await write(ready.database_url, some[:200])
    async with relaying(ready, batch_rows=30) as relay:
        await none_left(ready)
        await write(ready.database_url, some[200:])
        await none_left(ready)
        assert (relay.sent, relay.refused) == (300, 0)
    assert await arrived(ready) == expected(ready, some)
    marked = "SELECT count(*) FROM outbox WHERE sent_at >= created_at AND error IS NULL"
    assert await fetch(ready.database_url, marked) == [(300,)]


async def test_an_insert_wakes_it(ready: Settings) -> None:
    async with relaying(ready, poll_seconds=NEVER) as relay:

        async def leads() -> bool:
            return relay.leading

        await until(leads)
        for number in range(5):
            await write(ready.database_url, rows(ready, 1, first=number))
            await none_left(ready)


async def start(settings: Settings, environment: Environment, **more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lyo.cli.main", "sink"),
        env=environment(settings) | more,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def test_killed_between_sending_and_marking_it_sends_the_same_again(
    ready: Settings, environment: Environment
) -> None:
    quick = ready.model_copy(update={"session_timeout_ms": 2_000})
    some = rows(quick, 40)
    await write(quick.database_url, some)
    process = await start(quick, environment, LYO_CRASH_AT="outbox_sent")
    assert await process.wait() == 137
    assert await fetch(quick.database_url, "SELECT 1 FROM outbox WHERE sent_at IS NOT NULL") == []
    assert await arrived(quick) == expected(quick, some), "it was sent, and not marked"
    process = await start(quick, environment)
    await none_left(quick)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    found = await arrived(quick)
    assert found == {place: some + some for place, some in expected(quick, some).items()}


@pytest.mark.parametrize("step", ["outbox_read", "outbox_marked"])
async def test_killed_elsewhere_it_sends_nothing_twice(
    ready: Settings, environment: Environment, step: str
) -> None:
    some = rows(ready, 20)
    await write(ready.database_url, some)
    process = await start(ready, environment, LYO_CRASH_AT=step)
    assert await process.wait() == 137
    async with relaying(ready):
        await none_left(ready)
    assert await arrived(ready) == expected(ready, some)


async def test_of_two_relays_one_sends_and_the_other_takes_over(
    ready: Settings, environment: Environment
) -> None:
    some = rows(ready, 400)
    process = await start(ready, environment)
    await write(ready.database_url, some[:100])
    await none_left(ready)
    async with relaying(ready, batch_rows=10) as second:
        writing = asyncio.create_task(one_by_one(ready, some[100:300]))

        async def half() -> bool:
            (count,) = (
                await fetch(ready.database_url, "SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")
            )[0]
            return int(count) >= 200

        await until(half)
        leads = second.leading
        assert not leads
        assert second.sent == 0
        process.kill()
        await process.wait()
        await writing
        await one_by_one(ready, some[300:])
        await none_left(ready)
        assert second.leading
        assert second.sent > 0
    assert once(await arrived(ready)) == expected(ready, some)


async def one_by_one(settings: Settings, some: Iterable[Row]) -> None:
    connection = await asyncpg.connect(plain_url(settings.database_url))
    try:
        for row in some:
            await connection.execute(INSERT, *row)
    finally:
        await connection.close()


async def test_kafka_away_is_waited_for(
    kafka_settings: Settings, own_kafka: LocalKafka, database_url: str
) -> None:
    ready = kafka_settings.model_copy(
        update={
            "bootstrap_servers": own_kafka.bootstrap_servers,
            "database_url": database_url,
            "request_timeout_ms": 2_000,
        }
    )
    await topic_admin.ensure(ready)
    upgrade(database_url)
    some = rows(ready, 90)
    async with relaying(ready) as relay:
        await write(database_url, some[:30])
        await none_left(ready)
        own_kafka.kill()
        await write(database_url, some[30:60])

        async def noticed() -> bool:
            return relay._failures > 0

        await until(noticed)
        assert relay.sent == 30
        own_kafka.start()
        await write(database_url, some[60:])
        await none_left(ready)
        assert relay.refused == 0
    assert once(await arrived(ready)) == expected(ready, some)


async def test_it_stops_while_kafka_is_away(kafka_settings: Settings, database_url: str) -> None:
    ready = kafka_settings.model_copy(
        update={"bootstrap_servers": "127.0.0.1:1", "database_url": database_url}
    )
    upgrade(database_url)
    await write(database_url, rows(ready, 3))
    async with relaying(ready) as relay:

        async def noticed() -> bool:
            return relay._failures > 0

        await until(noticed)
    assert await fetch(database_url, "SELECT count(*) FROM outbox WHERE sent_at IS NULL") == [(3,)]


async def test_postgres_away_is_waited_for(kafka_settings: Settings, own_postgres: LocalPostgres) -> None:
    ready = kafka_settings.model_copy(update={"database_url": own_postgres.database_url})
    await topic_admin.ensure(ready)
    upgrade(ready.database_url)
    some = rows(ready, 60)
    async with relaying(ready, poll_seconds=NEVER) as relay:
        await write(ready.database_url, some[:30])
        await none_left(ready)
        own_postgres.kill()

        async def noticed() -> bool:
            return relay._failures > 0

        await until(noticed)
        own_postgres.start()
        await write(ready.database_url, some[30:])
        await none_left(ready)
    assert await arrived(ready) == expected(ready, some)


async def test_a_row_that_kafka_refuses_holds_nobody_up(
    ready: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lyo.storage.outbox.sender.MISSING_SECONDS", 0.2)
    outcomes = topics.names(ready).topic(Kind.OUTCOME)
    good = rows(ready, 30)
    bad = [
        (outcomes, "1", "1", bytes(2_000_000)),
        (f"{ready.topic_prefix}nowhere", "1", "1", b"{}"),
        (outcomes, "1", "somebody", b"{}"),
    ]
    await write(ready.database_url, [*good[:10], *bad, *good[10:]])
    async with relaying(ready, poll_seconds=0.1) as relay:
        await none_left(ready)
        assert (relay.sent, relay.refused) == (30, 3)
    assert await arrived(ready) == expected(ready, good)
    reasons = await fetch(ready.database_url, "SELECT error FROM outbox WHERE error IS NOT NULL ORDER BY id")
    assert [reason for (reason,) in reasons] == [
        "a record of 2000001 bytes is larger than 899850",
        f"there is no topic {ready.topic_prefix}nowhere",
        "partition_key 'somebody' is not a user id",
    ]
    assert len([line for line in caplog.messages if "is not sent:" in line]) == 3


async def test_a_record_that_only_the_broker_finds_too_large_is_found(
    ready: Settings,
) -> None:
    small = f"{ready.topic_prefix}small"
    async with clients.admin(ready) as admin:
        limit = {"max.message.bytes": "20000"}
        await admin.create_topics([NewTopic(small, ready.partitions, 1, topic_configs=limit)])
    good = [(small, "1", "1", json.dumps({"n": number}).encode()) for number in range(20)]
    bad = (small, "1", "1", bytes(range(256)) * 200)
    plain = ready.model_copy(update={"compression": "none"})
    await write(ready.database_url, [*good[:7], bad, *good[7:]])
    async with relaying(plain) as relay:
        await none_left(ready)
        assert (relay.sent, relay.refused) == (20, 1)
    assert await arrived(ready, small) == expected(ready, good)
    ((reason,),) = await fetch(ready.database_url, "SELECT error FROM outbox WHERE error IS NOT NULL")
    assert "MessageSizeTooLarge" in reason


async def test_a_topic_that_is_created_a_moment_later_is_waited_for(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lyo.storage.outbox.sender.MISSING_SECONDS", 0.0)  # the next look is the last one
    later = ready.model_copy(update={"topic_prefix": f"{ready.topic_prefix}later."})
    sender = OutboxSender(later, asyncio.Event())
    (topic, key, user, value), *_ = rows(later, 1)
    row = {"id": 1, "topic": topic, "key": key, "partition_key": user, "value": value}
    sent = Sent()
    await sender.send([row], sent)
    assert (sent.ids, sent.refused) == ([], {}), "it may come yet"
    await topic_admin.ensure(later)
    await sender.send([row], sent)
    assert sent.ids == [1]
    await sender.close()


async def test_sent_rows_and_removals_are_kept_for_a_while(ready: Settings) -> None:
    connection = await asyncpg.connect(plain_url(ready.database_url))
    await connection.executemany(INSERT, rows(ready, 4))
    await connection.execute("UPDATE outbox SET sent_at = now() - interval '8 days' WHERE id = 1")
    await connection.execute("UPDATE outbox SET sent_at = now() - interval '6 days' WHERE id = 2")
    await connection.execute(
        "UPDATE outbox SET error = 'no', created_at = now() - interval '1 year' WHERE id = 3"
    )
    removed = (
        "INSERT INTO removed_rows (topic, user_id, key, log_partition, log_offset, removed_at) "
        "SELECT 't', 1, '{}', 0, n, now() - make_interval(days => n) FROM unnest(ARRAY[31, 40, 29]) AS n"
    )
    await forget(connection, outbox_days=7, removed_days=30)
    assert await connection.fetchval("SELECT forgotten_before FROM stream_epoch") is None
    await connection.execute(removed)
    await forget(connection, outbox_days=7, removed_days=30)
    assert await fetch(ready.database_url, "SELECT id FROM outbox ORDER BY id") == [(2,), (3,), (4,)]
    assert await fetch(ready.database_url, "SELECT log_offset FROM removed_rows") == [(29,)]
    hours = "SELECT round(extract(epoch FROM now() - forgotten_before) / 3600)::int FROM stream_epoch"
    assert await connection.fetchval(hours) == 31 * 24 - 1
    await connection.close()

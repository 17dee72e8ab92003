"""The relay on real Kafka and Postgres: every row of the outbox on its topic, in order, at least once."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest
from aiokafka.admin import NewTopic

from lyo.models.events.decode import Kind
from lyo.storage.database import plain_url
from lyo.storage.outbox.retention import forget
from lyo.storage.outbox.sender import OutboxSender, Sent
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.sink.relaying import (
    INSERT,
    NEVER,
    arrived,
    expected,
    none_left,
    relaying,
    rows,
    write,
)
from tests.support.sink.running import fetch, until

pytestmark = pytest.mark.integration


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

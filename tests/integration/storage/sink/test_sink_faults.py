"""The sink when something dies, does not answer, or is not what it was: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from lyo.models.events.decode import Kind
from lyo.storage.database import plain_url
from lyo.storage.faults import SinkError
from lyo.storage.schema.migrate import upgrade
from lyo.storage.schema.rebuild import empty
from lyo.storage.sink.offsets import Place, Stolen, claim
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.sink import Sink
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalPostgres
from tests.support.processes import Environment
from tests.support.sink.records import timing
from tests.support.sink.running import (
    Sent,
    all_claimed,
    all_stored,
    fetch,
    mixture,
    publish,
    rebuilt,
    running,
    sent,
    start,
    tables,
    until,
)

pytestmark = pytest.mark.integration


COUNT = 600


async def test_killed_in_the_middle_of_a_transaction_it_loses_and_doubles_nothing(
    ready: Settings, environment: Environment, other_database: str
) -> None:
    ready = ready.model_copy(update={"session_timeout_ms": 2_000})
    await publish(ready, mixture(ready, COUNT))
    for table in ("user_timing_profiles", "outcome_facts", "sink_offsets"):
        async with held(ready.database_url, table) as waiting:
            process = await start(ready, environment)
            await until(waiting)
            process.kill()
            assert await process.wait() == -signal.SIGKILL
    stored = await fetch(ready.database_url, "SELECT count(*) FROM user_timing_profiles")
    assert stored == [(0,)], "the transaction was not whole, so none of it may be there"
    process = await start(ready, environment)
    await all_stored(ready)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert await tables(ready.database_url) == await rebuilt(ready, other_database, tenant_of)


@asynccontextmanager
async def held(database_url: str, table: str) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Lock a table, so that the sink waits in its transaction; gives the condition that it does."""
    connection = await asyncpg.connect(plain_url(database_url))
    waits = (
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'lyo sink' "
        "AND wait_event_type = 'Lock' AND datname = current_database()"
    )

    async def waiting() -> bool:
        # Within a transaction the view stands still.
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        return bool(await connection.fetchval(waits))

    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            yield waiting
    finally:
        await connection.close()


async def test_a_stop_does_not_wait_for_a_postgres_that_does_not_answer(
    ready: Settings, monkeypatch: pytest.MonkeyPatch, other_database: str
) -> None:
    monkeypatch.setattr("lyo.storage.session.STOP_SECONDS", 0.5)
    await publish(ready, mixture(ready, COUNT // 4))
    async with held(ready.database_url, "user_timing_profiles") as waiting, running(ready) as (sink, task):
        await until(waiting, task)
        sink.stop()
        await asyncio.wait_for(asyncio.shield(task), 20)
    async with running(ready) as (_, task):
        await all_stored(ready, task)
    assert await tables(ready.database_url) == await rebuilt(ready, other_database)


async def test_a_sink_whose_partition_is_taken_stops_and_says_so(ready: Settings) -> None:
    sink = Sink(ready)
    task = asyncio.create_task(sink.run())
    await all_claimed(sink, task)
    place = next(place for place in sink.positions if place.topic.endswith(".timing"))
    connection = await asyncpg.connect(plain_url(ready.database_url))
    await claim(connection, {place: 0})
    await connection.close()
    record = sent(ready, "timing", timing(1))
    await publish(ready, [record._replace(partition=place.partition)])
    with pytest.raises(Stolen, match=f"another sink has taken over {place.topic}-{place.partition}"):
        await asyncio.wait_for(task, 30)
    assert await fetch(ready.database_url, "SELECT 1 FROM user_timing_profiles") == []


async def test_postgres_away_means_lag_and_a_stop_is_heard(
    kafka_settings: Settings, own_postgres: LocalPostgres, other_database: str
) -> None:
    ready = kafka_settings.model_copy(update={"database_url": own_postgres.database_url})
    await topic_admin.ensure(ready)
    upgrade(ready.database_url)
    async with running(ready) as (sink, task):
        await publish(ready, mixture(ready, COUNT // 2, seed=4))
        await all_stored(ready, task)
        before = sink.stored
        own_postgres.kill()
        await publish(ready, mixture(ready, COUNT // 2, seed=5))
        assert not task.done()
        own_postgres.start()
        assert own_postgres.database_url == ready.database_url
        await all_stored(ready, task)
        assert sink.stored > before
    assert await tables(ready.database_url) == await rebuilt(ready, other_database)
    async with running(ready) as (sink, task):
        await all_claimed(sink, task)
        own_postgres.kill()
        await publish(ready, [sent(ready, "timing", timing(1))])
    assert task.done(), "it ends although Postgres is away"


async def test_a_topic_made_anew_is_named_with_the_way_out(ready: Settings) -> None:
    place = Place(topics.names(ready).prediction("timing"), 2)
    connection = await asyncpg.connect(plain_url(ready.database_url))
    await claim(connection, {place: 5})
    await connection.close()
    with pytest.raises(SinkError, match=r"timing-2 ends at offset 0, but 5 was stored.*lyo sink --rebuild"):
        await asyncio.wait_for(Sink(ready).run(), 30)


async def test_a_database_of_another_prefix_is_refused(ready: Settings) -> None:
    # Also one that ends like ours.
    place = Place(f"other.{topics.names(ready).prediction('timing')}", 0)
    connection = await asyncpg.connect(plain_url(ready.database_url))
    await claim(connection, {place: 0})
    await connection.close()
    wanted = rf"of the prefix other\.{ready.topic_prefix}, and LYO_TOPIC_PREFIX is {ready.topic_prefix}: "
    with pytest.raises(SinkError, match=wanted):
        await asyncio.wait_for(Sink(ready).run(), 30)
    assert await fetch(ready.database_url, "SELECT topic FROM sink_offsets") == [(place.topic,)]


async def test_a_topic_made_anew_is_named_though_it_has_grown_past_what_was_stored(ready: Settings) -> None:
    names = topics.names(ready)
    content = names.topic(Kind.CONTENT)

    def lesson(number: int) -> Sent:
        return Sent(content, 0, b"c%d" % number, b'{"content_id":"c%d","skills":[]}' % number)

    await publish(ready, [lesson(number) for number in range(20)])
    async with running(ready) as (_, task):
        await all_stored(ready, task)
    async with clients.admin(ready) as client:
        await client.delete_topics([content])
    await until(lambda: _made(ready))
    await publish(ready, [lesson(number) for number in range(60)])
    with pytest.raises(
        SinkError, match=r"content-0 has the id .* up to offset 21 is of .*lyo sink --rebuild"
    ):
        await asyncio.wait_for(Sink(ready).run(), 30)
    await empty(ready.database_url)
    async with running(ready) as (_, task):
        await all_stored(ready, task)
    assert await fetch(ready.database_url, "SELECT count(*) FROM contents") == [(60,)]


async def _made(settings: Settings) -> bool:
    """Whether every topic is there again; Kafka takes a moment to delete one."""
    try:
        return bool(await topic_admin.ensure(settings))
    except topics.TopicError:
        return False


async def test_what_is_missing_is_said_in_one_line(settings: Settings, environment: Environment) -> None:
    async def complaint(wanted: Settings) -> str:
        process = await start(wanted.model_copy(update={"connect_seconds": 1.0}), environment)
        _, said = await process.communicate()
        assert process.returncode == 1
        assert said.count(b"\n") == 1, said
        return said.decode()

    assert "create the topics with `lyo topics`" in await complaint(settings)
    await topic_admin.ensure(settings)
    assert "run `lyo migrate`" in await complaint(settings)
    away = "postgresql://postgres:secret@127.0.0.1:1/lyo"
    said = await complaint(settings.model_copy(update={"database_url": away}))
    assert "cannot use Postgres at postgresql://postgres:***@127.0.0.1:1/lyo" in said

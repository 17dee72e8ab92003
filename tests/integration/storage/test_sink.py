"""The sink on real Kafka and Postgres: nothing lost, nothing twice, and the tables rebuilt from the log."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aiokafka import TopicPartition

from lyo.models.events.decode import Kind
from lyo.storage.database import plain_url
from lyo.storage.faults import SinkError
from lyo.storage.reads.progress import behind
from lyo.storage.schema.migrate import upgrade
from lyo.storage.schema.rebuild import empty
from lyo.storage.sink.offsets import Place, Stolen, claim
from lyo.storage.sink.rows import TenantOf, tenant_of
from lyo.storage.sink.sink import Sink
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalPostgres
from tests.support import logs
from tests.support.servers.kinds import PostgresServer
from tests.support.sink.records import dropout, struggle, timing
from tests.support.sink.running import (
    Sent,
    all_stored,
    fetch,
    first_byte,
    mixture,
    publish,
    running,
    said,
    sent,
    tables,
    until,
)

pytestmark = pytest.mark.integration

Environment = Callable[[Settings], dict[str, str]]
COUNT = 600


@pytest.fixture
async def ready(settings: Settings) -> Settings:
    """Settings with topics and tables."""
    await topic_admin.ensure(settings)
    upgrade(settings.database_url)
    return settings


@pytest.fixture
def other_database(postgres: PostgresServer, unique: str) -> str:
    url = postgres.create_database(f"{unique}b")
    upgrade(url)
    return url


async def rebuilt(
    settings: Settings, database_url: str, tenants: TenantOf = first_byte
) -> dict[str, list[tuple[object, ...]]]:
    """What a sink with a group of its own makes of the same topics in an empty database."""
    other = settings.model_copy(update={"database_url": database_url, "app_id": f"{settings.app_id}b"})
    async with running(other, batch_records=100_000, tenants=tenants) as (_, task):
        await all_stored(other, task)
    return await tables(database_url)


async def test_the_newest_records_alone_rebuild_every_table(ready: Settings, other_database: str) -> None:
    records = mixture(ready, COUNT)
    async with running(ready, batch_records=7) as (sink, task):
        await publish(ready, records)
        await all_stored(ready, task)
        assert sink.refused == 0
    found = await tables(ready.database_url)
    for name, rows in found.items():
        assert rows, f"{name} is empty: the comparison says nothing about it"
    assert await rebuilt(await compacted(ready, records), other_database) == found


async def compacted(settings: Settings, records: list[Sent]) -> Settings:
    """Topics of another prefix as compaction leaves the first ones: the newest value of each key."""
    after = settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}compacted."})
    await topic_admin.ensure(after)
    names = topics.names(settings)
    whole = {names.topic(Kind.OUTCOME), names.topic(Kind.PREFERENCES)}
    newest: dict[object, Sent] = {}
    for place, record in enumerate(records):
        key = place if record.topic in whole else (record.topic, record.key)
        newest.pop(key, None)
        newest[key] = record
    prefix = len(settings.topic_prefix)
    kept = [r._replace(topic=after.topic_prefix + r.topic[prefix:]) for r in newest.values()]
    assert len(kept) < len(records)
    await publish(after, kept)
    return after


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


async def start(settings: Settings, environment: Environment, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lyo.cli.main", "sink", *arguments),
        env=environment(settings),
        stderr=asyncio.subprocess.PIPE,
    )


async def test_two_sinks_share_the_partitions_by_number(ready: Settings, other_database: str) -> None:
    await publish(ready, mixture(ready, COUNT, seed=2))
    async with running(ready, batch_records=20) as (first, one), running(ready) as (second, two):

        async def shared() -> bool:
            return all(sink.positions for sink in (first, second)) and all(
                len({place.partition for place in sink.positions if place.topic.endswith("timing")}) == 2
                for sink in (first, second)
            )

        await until(shared, one)
        numbers = [
            {place.partition for place in sink.positions if "predictions" in place.topic}
            for sink in (first, second)
        ]
        assert numbers[0].isdisjoint(numbers[1])
        await publish(ready, mixture(ready, COUNT, seed=3))
        await all_stored(ready, two)
        assert first.stored > 0
        assert second.stored > 0
    assert await tables(ready.database_url) == await rebuilt(ready, other_database)


async def all_claimed(sink: Sink, task: asyncio.Task[None]) -> None:
    async def claimed() -> bool:
        return bool(sink.positions)

    await until(claimed, task)


async def test_a_sink_does_not_claim_again_what_it_has_given_back(ready: Settings) -> None:
    async with running(ready) as (sink, task):
        await all_claimed(sink, task)
        mine = [TopicPartition(*place) for place in sink.positions]
        # In a rebalance the client names its old partitions until it is given new ones.
        await sink.claims.release(mine)
        await sink.claims.claim_new()
        assert sink.positions == {}
        sink.claims.assigned()
        await all_claimed(sink, task)
        assert {TopicPartition(*place) for place in sink.positions} == set(mine)


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


async def test_what_cannot_be_stored_is_dead_lettered_and_stops_nothing(ready: Settings) -> None:
    bad = [
        sent(ready, "struggle", struggle(1, "long", content_type="x" * 51)),
        sent(ready, "struggle", struggle(2, "nul", help_message="\u0000")),
        sent(ready, "dropout-risk", dropout(3, risk_score=None)),
        sent(ready, "dropout-risk", dropout(4))._replace(value=b'{"user_id":4}, {"user_id":5}'),
        sent(ready, "timing", timing(5))._replace(key=b"6"),
    ]
    good = [sent(ready, "struggle", struggle(user, f"c{user}")) for user in range(1, 40)]
    await publish(ready, [*good[:20], *bad, *good[20:]])
    async with running(ready) as (sink, task):
        await all_stored(ready, task)
        assert sink.refused == len(bad)
    assert await fetch(ready.database_url, "SELECT count(*) FROM struggle_predictions") == [(len(good),)]
    letters = await dead_letters(ready)
    assert sorted((letter["topic"], letter["key"]) for letter in letters) == sorted(
        (record.topic, record.key.decode()) for record in bad
    )
    reasons = "\n".join(letter["reason"] for letter in letters)
    for expected in (
        "value too long for type character varying(50)",
        "null value in column",
        "user_id: the key says 6, the record 5",
        "Unicode",
        "JSON is malformed",
    ):
        assert expected in reasons


async def test_no_letter_is_written_about_a_learner_who_stays_forgotten(ready: Settings) -> None:
    erased = {"event_id": "x", "user_id": 7, "requested_at": "2026-03-01T12:00:00Z"}
    consent = {"event_id": "y", "user_id": 8, "consented_at": "2026-03-01T12:00:00Z"}
    await publish(ready, [said(ready, Kind.ERASURE, erased), said(ready, Kind.ERASURE, erased | consent)])
    users = (6, 7, 8)
    await publish(ready, [sent(ready, "struggle", struggle(u, "long", content_type="x" * 51)) for u in users])
    await publish(ready, [sent(ready, "timing", timing(u))._replace(key=b"%d" % (u + 10)) for u in users])
    async with running(ready) as (_, task):
        await all_stored(ready, task)
    letters = await dead_letters(ready)
    assert sorted(letter["key"] for letter in letters) == ["16", "18", "6|long", "8|long"]


async def dead_letters(settings: Settings) -> list[dict[str, str]]:
    found = await logs.records(settings, topics.names(settings).dead_letters)
    return [json.loads(record.value) for record in found]


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


async def test_rebuild_empties_what_comes_from_the_topics(ready: Settings, environment: Environment) -> None:
    await publish(ready, mixture(ready, COUNT // 4))
    place = Place(topics.names(ready).prediction("timing"), 2)
    connection = await asyncpg.connect(plain_url(ready.database_url))
    await claim(connection, {place: 5_000})
    await connection.execute(
        "INSERT INTO outbox (topic, key, partition_key, value) VALUES ('t', 'k', 'p', 'v')"
    )
    await connection.close()
    process = await start(ready, environment, "--rebuild")

    async def stored() -> bool:
        return await behind(ready) == 0

    await until(stored)
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0
    assert await fetch(ready.database_url, "SELECT count(*) FROM outbox") == [(1,)]
    assert await fetch(ready.database_url, "SELECT count(*) > 0 FROM dropout_risk_scores") == [(True,)]


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


async def test_many_records_that_cannot_be_stored_fill_no_log_and_long_ones_fit_into_a_letter(
    ready: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    huge = sent(ready, "timing", timing(1))._replace(value=b"\xff" * 900_000)
    bad = [huge, *(sent(ready, "timing", timing(user))._replace(value=b"{") for user in range(2, 60))]
    await publish(ready, bad)
    async with running(ready) as (sink, task):
        await all_stored(ready, task)
        assert sink.refused == len(bad)
    assert len(await dead_letters(ready)) == len(bad)
    assert [letter["value"] for letter in await dead_letters(ready) if letter["key"] == "1"] == [None]
    told = [record.getMessage() for record in caplog.records if "dead letter" in record.getMessage()]
    assert len(told) == 1
    assert "lyo dlq list" in told[0]

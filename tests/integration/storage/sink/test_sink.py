"""The sink on real Kafka and Postgres: what it stores, refuses, shares and rebuilds."""

from __future__ import annotations

import json
import signal

import asyncpg
import pytest
from aiokafka import TopicPartition

from lyo.models.events.decode import Kind
from lyo.storage.database import plain_url
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.sink.offsets import Place, claim
from lyo.streams import topic_admin, topics
from lyo.streams.settings import Settings
from tests.support import logs
from tests.support.processes import Environment
from tests.support.sink.records import dropout, struggle, timing
from tests.support.sink.running import (
    Sent,
    all_claimed,
    all_stored,
    fetch,
    mixture,
    publish,
    rebuilt,
    running,
    said,
    sent,
    start,
    tables,
    until,
)

pytestmark = pytest.mark.integration


COUNT = 600


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
    for user in users:
        record = sent(ready, "timing", timing(user + 10))
        await publish(ready, [record._replace(value=sent(ready, "timing", timing(user)).value)])
    async with running(ready) as (_, task):
        await all_stored(ready, task)
    letters = await dead_letters(ready)
    assert sorted(letter["key"] for letter in letters) == ["16", "18", "6|long", "8|long"]


async def dead_letters(settings: Settings) -> list[dict[str, str]]:
    found = await logs.records(settings, topics.names(settings).dead_letters)
    return [json.loads(record.value) for record in found]


async def test_rebuild_empties_what_comes_from_the_topics(ready: Settings, environment: Environment) -> None:
    await publish(ready, mixture(ready, COUNT // 4))
    place = Place(topics.names(ready).prediction("timing"), 2)
    connection = await asyncpg.connect(plain_url(ready.database_url))
    await claim(connection, {place: 5_000})
    await connection.execute(
        "INSERT INTO outbox (topic, key, partition_key, value) VALUES ('t', 'k', 'p', 'v')"
    )
    # Answers that the topic no longer holds, and one that it still does, from an offset that is gone.
    await connection.execute(
        "INSERT INTO struggle_predictions (user_id, content_id, request_id, content_type, "
        "struggle_probability, confidence, prediction_id, as_of, model, actual_struggled, log_partition, "
        "log_offset) SELECT 99, 'z', name, '', 0.9, 1, '', now(), 'struggle-0', true, 0, 1000000 "
        "FROM unnest(ARRAY['first', 'second']) AS name"
    )
    await connection.execute(
        "INSERT INTO content_outcomes (user_id, content_id, organization_id, kind, occurred_at, event) "
        "VALUES (99, 'z', 0, 'struggled', '2020-01-01', 1)"
    )
    await connection.close()
    record = struggle(99, "z", request_id="second", struggle_probability=0.3)
    await publish(ready, [sent(ready, "struggle", record)])
    process = await start(ready, environment, "--rebuild")

    async def stored() -> bool:
        return await behind(ready) == 0

    await until(stored)
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0
    assert await fetch(ready.database_url, "SELECT count(*) FROM outbox") == [(1,)]
    assert await fetch(ready.database_url, "SELECT count(*) > 0 FROM dropout_risk_scores") == [(True,)]
    history = (
        "SELECT request_id, struggle_probability, actual_struggled, log_offset IS NULL "
        "FROM struggle_predictions WHERE user_id = 99 ORDER BY 1"
    )
    assert await fetch(ready.database_url, history) == [
        ("first", 0.9, True, True),
        ("second", 0.3, None, False),
    ]


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

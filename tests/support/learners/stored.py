"""Learners in Postgres without Kafka: real events, the real fold, the real writer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import asyncpg

from lyo.models.events.decode import Kind, partition
from lyo.storage.database import plain_url
from lyo.storage.schema.migrate import upgrade
from lyo.storage.sink.offsets import Place, claim
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from lyo.streams.topics import Names
from tests.support.learners.building import MINUTE, START, Sent, Stream, completion, run, sentiment, session
from tests.support.learners.sampled import CONTENTS, ORGANIZATIONS, lives, sample_catalogue
from tests.support.sink.records import Rec

DAY = 86_400_000
HOUR = 3_600_000
LEARNER, TENANT = 123, 7
OTHER_LEARNER, OTHER_TENANT = 2, 8
STRANGER = 999_999
END = START + 80 * DAY
NOW = END + 3 * DAY + 9 * HOUR
PARTITIONS = 4


def life() -> list[Sent]:
    """Learner 123 of organization 7: one skill lost, one mastered, one that does not move, one begun."""
    events: list[Sent] = []
    for day in range(0, 80, 2):
        at = START + day * DAY + 18 * HOUR
        events.append(session(LEARNER, at, 45, name=f"s{day}", organization_id=TENANT))
        skill, scores = ("fractions", [0.8, 0.8]) if day < 30 else ("algebra", [1.0, 0.0])
        if day < 14:
            skill, scores = "decimals", [0.8 if day < 6 else 0.0] * 2
        for number, score in enumerate(scores):
            when = at + (5 + 20 * number) * MINUTE
            name = f"c{day}-{number}"
            events.append(
                completion(LEARNER, when, skill, score=score, name=name, topic="Algebra", content_id="a")
            )
    events += [
        completion(LEARNER, END - 2 * DAY + (20 + hour) * HOUR, "ratios", name=f"ratios-{hour}")
        for hour in range(2)
    ]
    events.append(sentiment(LEARNER, END - DAY, -0.6, name="mood"))
    return events


def known() -> Stream:
    """Learner 123 and three that live at random: 1 of organization 7, 2 of 8, 3 of none.

    Learner 1 has plateaus and regressions, of each some that last and some that have ended.
    """
    events = life() + lives(49, 400, users=3, days=80)
    return run(sorted(events, key=_time), sample_catalogue())


def _time(event: Sent) -> str:
    names = ("occurred_at", "started_at", "updated_at", "requested_at")
    return next(str(event.body[name]) for name in names if name in event.body)


async def fill(database_url: str, stream: Stream, names: Names | None = None) -> None:
    """Migrate, and store what a stream has sent."""
    upgrade(database_url)
    names = names or Names()
    writer = Writer(names, tenant_of)
    batch = writer.prepare(_records(stream, names))
    assert batch.refused == []
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        places = {Place(topic, number) for topic in writer.topics for number in range(PARTITIONS)}
        async with connection.transaction():
            positions = await claim(connection, dict.fromkeys(places, 0))
        assert await writer.store(connection, batch, positions, dict.fromkeys(places, 100_000))
    finally:
        await connection.close()


def _records(stream: Stream, names: Names) -> list[Rec]:
    topics = {names.learner_rows: stream.learner_rows, names.skill_rows: stream.skill_rows}
    topics |= {names.prediction(kind): values for kind, values in stream.raw.items()}
    records = [
        Rec(topic, partition(int(key.split(b"|")[0]), PARTITIONS), offset, key, value)
        for topic, values in topics.items()
        for offset, (key, value) in enumerate(values.items())
        if not key.startswith(b"#")
    ]
    books: list[tuple[Kind, Sequence[dict[str, Any]], str]] = [
        (Kind.CONTENT, CONTENTS, "content_id"),
        (Kind.ORGANIZATION, ORGANIZATIONS, "organization_id"),
    ]
    for kind, documents, field in books:
        for offset, document in enumerate(documents):
            key, value = str(document[field]).encode(), json.dumps(document).encode()
            records.append(Rec(names.topic(kind), 0, offset, key, value))
    return records

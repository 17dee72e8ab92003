"""Fills Postgres with many learners: some are simulated, folded and stored by the sink's writer, then copied.

Copies differ in their user ids only. The cost of a request depends on how much is stored, of its learner and
in all, and not on whether two learners are alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import numpy as np

from lyo.models.engine import Engine
from lyo.models.events.decode import Kind, decode, partition
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.learner import LEARNER
from lyo.models.state.skill import SKILL
from lyo.storage.database import plain_url
from lyo.storage.schema.tables import PREDICTION_TABLES
from lyo.storage.sink.offsets import Place, claim
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from lyo.streams.kafka.input_records import CATALOGUE
from lyo.streams.settings import Settings
from lyo.streams.topics import names
from lyo.tools.simulation import Plan, generate

ORIGINALS = 500
DAYS = 60


@dataclass(slots=True)
class TopicRecord:
    """A record of a topic, as the sink's writer takes it."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    timestamp: int = 0


@dataclass(slots=True)
class Originals:
    """The folded learners 1 to `ORIGINALS`: the lines of their catalogue, their rows and predictions."""

    catalogue: list[tuple[Kind, bytes, bytes]] = field(default_factory=list)
    learners: list[tuple[bytes, bytes]] = field(default_factory=list)
    skills: list[tuple[bytes, bytes]] = field(default_factory=list)
    predictions: list[tuple[str, bytes, bytes]] = field(default_factory=list)


def tenants(originals: Originals) -> list[int | None]:
    """The organization of originals 1, 2, ...; copies have the same."""
    tenants = {int(key): tenant_of(row) for key, row in originals.learners}
    return [tenants.get(user) for user in range(1, ORIGINALS + 1)]


def fold(seed: int, end: int) -> Originals:
    """Simulate `DAYS` days up to `end` (ms) and fold them."""
    originals, engine = Originals(), Engine(Catalogue())
    events: dict[Kind, list[bytes]] = {}
    for kind, line in _lines(Plan(ORIGINALS, DAYS, seed, end)):
        if kind in CATALOGUE:
            body = json.loads(line)
            key = str(body["content_id" if kind is Kind.CONTENT else "organization_id"]).encode()
            engine.state.catalogue.put(kind, key, line)
            originals.catalogue.append((kind, key, line))
        else:
            events.setdefault(kind, []).append(line)
    batches = [decode(kind, None, lines, [-1] * len(lines))[0] for kind, lines in events.items()]
    changes = engine.apply(batches)
    engine.commit(changes)
    originals.learners = [
        (key, value) for key, value in changes.learner_rows if value is not None and not key.startswith(b"#")
    ]
    originals.skills = list(changes.skill_rows)
    originals.predictions = list(engine.current())
    return originals


def _lines(plan: Plan) -> Iterator[tuple[Kind, bytes]]:
    for piece in generate(plan, lambda _: None):
        for line in piece.splitlines():
            yield Kind(json.loads(line)["type"]), line


async def fill(settings: Settings, originals: Originals, learners: int) -> None:
    """Store the originals and copies of them, `learners` in all (a multiple of `ORIGINALS`)."""
    connection = await asyncpg.connect(plain_url(settings.database_url))
    try:
        await _store(connection, settings, originals)
        copies = range(1, learners // ORIGINALS)
        for copy in copies:
            shift = copy * ORIGINALS
            await _copy(connection, "learner_rows", _learners(originals, shift))
            await _copy(connection, "skill_rows", _skills(originals, shift))
        for table in PREDICTION_TABLES:
            columns = [column.name for column in table.columns if column.name not in {"id", "user_id"}]
            chosen = ", ".join(columns)
            await connection.execute(
                f"INSERT INTO {table.name} (user_id, {chosen}) "  # noqa: S608 - our own names
                f"SELECT user_id + copy * {ORIGINALS}, {chosen} FROM {table.name}, "
                f"generate_series(1, {len(copies)}) copy WHERE user_id <= {ORIGINALS}"
            )
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _store(connection: Any, settings: Settings, originals: Originals) -> None:
    topics = names(settings)
    writer = Writer(topics, tenant_of)
    records = [_record(settings, topics.learner_rows, *pair) for pair in originals.learners]
    records += [_record(settings, topics.skill_rows, *pair) for pair in originals.skills]
    records += [_record(settings, topics.prediction(kind), *pair) for kind, *pair in originals.predictions]
    records += [TopicRecord(topics.topic(kind), 0, 0, key, line) for kind, key, line in originals.catalogue]
    batch = writer.prepare(records)
    places = {Place(record.topic, record.partition) for record in records}
    async with connection.transaction():
        positions = await claim(connection, dict.fromkeys(places, 0))
    await writer.store(connection, batch, positions, dict.fromkeys(places, 1))
    # The real sink starts from the topics' beginning.
    await connection.execute("DELETE FROM sink_offsets")


def _record(settings: Settings, topic: str, key: bytes, value: bytes) -> TopicRecord:
    user = int(key.partition(b"|")[0])
    return TopicRecord(topic, partition(user, settings.partitions), 0, key, value)


async def _copy(connection: Any, table: str, rows: list[tuple[Any, ...]]) -> None:
    columns = ["user_id", *(["skill_id"] if table == "skill_rows" else []), "organization_id", "row"]
    await connection.copy_records_to_table(table, records=rows, columns=columns)


def _learners(originals: Originals, shift: int) -> list[tuple[Any, ...]]:
    place = _place_of_user(LEARNER)
    return [
        (int(key) + shift, tenant_of(row), _moved(row, place, int(key) + shift))
        for key, row in originals.learners
    ]


def _skills(originals: Originals, shift: int) -> list[tuple[Any, ...]]:
    place, tenants = _place_of_user(SKILL), {key: tenant_of(row) for key, row in originals.learners}
    rows = []
    for key, row in originals.skills:
        user, _, skill = key.partition(b"|")
        number = int(user) + shift
        rows.append((number, skill.decode(), tenants[user], _moved(row, place, number)))
    return rows


def _place_of_user(dtype: np.dtype[np.void]) -> int:
    fields = dtype.fields
    assert fields is not None
    return 1 + int(fields["user"][1])


def _moved(row: bytes, place: int, user: int) -> bytes:
    return row[:place] + user.to_bytes(8, "little") + row[place + 8 :]

"""Learners in Postgres as worker and sink leave them: folded by the engine, written by the writer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from lyo.models.engine import Changes
from lyo.models.events.decode import Kind, partition
from lyo.storage import database
from lyo.storage.schema.migrate import upgrade
from lyo.storage.sink.offsets import Place, claim
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from tests.support.learners.building import Sent, Stream, columns, ms
from tests.support.sink.records import NAMES, Rec

PARTITIONS = 4
_FOLDED = (
    Kind.LESSON_COMPLETION,
    Kind.SESSION,
    Kind.SENTIMENT,
    Kind.OUTCOME,
    Kind.PREFERENCES,
    Kind.STRUGGLE_REQUEST,
)


class World:
    """A worker and a sink without Kafka between them, one event file's order of things."""

    def __init__(self, connection: asyncpg.Connection, engine: AsyncEngine) -> None:
        self.stream = Stream()
        self.connection = connection
        self.writer = Writer(NAMES, tenant_of)
        self.sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._offsets: Counter[tuple[str, int]] = Counter()

    def session(self) -> AsyncSession:
        """A session as a host app has it."""
        return self.sessions()

    async def catalogue(
        self, *contents: dict[str, Any], organizations: Iterable[dict[str, Any]] = ()
    ) -> None:
        """Contents and organizations, known to the worker and stored."""
        records = [(Kind.CONTENT, one["content_id"], one) for one in contents]
        records += [(Kind.ORGANIZATION, str(one["organization_id"]), one) for one in organizations]
        for kind, key, body in records:
            await self.publish(kind, key, json.dumps(body).encode())

    async def publish(self, kind: Kind, key: str, value: bytes | None) -> None:
        """One record of the catalogue; None deletes."""
        assert self.stream.engine.state.catalogue.put(kind, key.encode(), value) is None
        await self._write([self._record(NAMES.topic(kind), 0, key.encode(), value)])

    async def feed(self, events: Iterable[Sent]) -> None:
        """Events of learners, folded as one batch and stored."""
        said = sorted(events, key=lambda event: _FOLDED.index(event.kind))
        await self._take(self.stream.take(columns(said)))
        await self._write(
            [
                self._record(NAMES.topic(event.kind), self.home(user), b"%d" % user, value)
                for event in said
                if event.kind in (Kind.OUTCOME, Kind.PREFERENCES)
                for user, value in [(event.body["user_id"], json.dumps(event.body).encode())]
            ]
        )

    async def sweep(self, until: int) -> None:
        """The days that have ended by an instant (ms)."""
        engine = self.stream.engine
        while engine.due(until):
            await self._take(self.stream._take(engine.sweep(until)))

    async def relay(self) -> list[tuple[str, dict[str, Any]]]:
        """What waits in the outbox goes to its topics, comes to worker and sink, and is told."""
        rows = await self.connection.fetch("SELECT * FROM outbox WHERE sent_at IS NULL ORDER BY id")
        said = []
        for row in rows:
            body = json.loads(row["value"])
            assert row["key"] == row["partition_key"] == str(body["user_id"])
            said.append((row["topic"], body))
        await self.connection.execute("UPDATE outbox SET sent_at = now() WHERE sent_at IS NULL")
        kinds = {NAMES.topic(kind): kind for kind in _FOLDED}
        events = [Sent(kinds[topic], body) for topic, body in said if topic in kinds]
        if events:
            await self.feed(events)
        return said

    async def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Rows of Postgres as they are."""
        return [tuple(row) for row in await self.connection.fetch(sql, *arguments)]

    def current(self) -> dict[tuple[str, bytes], dict[str, Any]]:
        """The worker's predictions."""
        return self.stream.current()

    def as_of(self, user: int) -> int:
        """When the worker's newest prediction about a learner was made (ms)."""
        return ms(self.current()["dropout-risk", b"%d" % user]["as_of"])

    async def _take(self, changes: Changes) -> None:
        made: dict[str, list[tuple[bytes, bytes | None]]] = {
            NAMES.learner_rows: [*changes.learner_rows],
            NAMES.skill_rows: [*changes.skill_rows],
        }
        made |= {NAMES.prediction(kind): pairs for kind, pairs in changes.predictions.items()}
        records = []
        for topic, pairs in made.items():
            for key, value in pairs:
                user = key.partition(b"|")[0]
                home = self.home(int(user)) if user.isdigit() else 0
                records.append(self._record(topic, home, key, value))
        await self._write(records)

    def home(self, user: int) -> int:
        return partition(user, PARTITIONS)

    def _record(self, topic: str, home: int, key: bytes, value: bytes | None) -> Rec:
        self._offsets[topic, home] += 1
        return Rec(topic, home, self._offsets[topic, home] - 1, key, value, timestamp=4_000_000_000_000)

    async def _write(self, records: list[Rec]) -> None:
        if not records:
            return
        batch = self.writer.prepare(records)
        assert batch.refused == []
        target = {Place(record.topic, record.partition): record.offset + 1 for record in records}
        async with self.connection.transaction():
            positions = await claim(self.connection, dict.fromkeys(target, 0))
        assert await self.writer.store(self.connection, batch, positions, target)


@asynccontextmanager
async def world_in(database_url: str) -> AsyncIterator[World]:
    """A world in a fresh database."""
    upgrade(database_url)
    connection = await asyncpg.connect(database.plain_url(database_url))
    engine = database.engine(database_url)
    try:
        yield World(connection, engine)
    finally:
        await engine.dispose()
        await connection.close()

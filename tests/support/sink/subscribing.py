"""A subscriber for tests: what it was told, and whether that is what the tables say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson

from lyo.storage.database import plain_url
from lyo.storage.schema.migrate import upgrade
from lyo.storage.sink.offsets import Place, claim
from lyo.storage.sink.records import Record
from lyo.storage.sink.sources import sources
from lyo.storage.sink.writer import Writer
from lyo.storage.subscription.changes import Change
from lyo.storage.subscription.follow import Subscription
from tests.support.sink.records import NAMES, Rec, pair, prediction

Told = dict[str, Any]
"""A change as its JSON object."""
View = dict[tuple[Any, ...], Any]


def told(change: Change) -> Told:
    """The change as `lyo subscribe` prints it."""
    return dict(orjson.loads(change.json()))


async def take(changes: Subscription, count: int) -> list[Told]:
    """The next changes."""
    return [told(await anext(changes)) for _ in range(count)]


async def all_stored(url: str, after: str | None = None, **more: Any) -> list[Told]:
    """Everything that is stored after a cursor."""
    async with Subscription(url, after, once=True, **more) as changes:
        return [told(change) async for change in changes]


def named(kind: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """What names a row for good: the kind and the columns of its table's UNIQUE."""
    return kind, *(values[name] for name in sources()[kind].key)


def view(changes: Iterable[Told]) -> View:
    """The rows that a subscriber holds who does what it is told."""
    rows: View = {}
    for change in changes:
        match change["operation"]:
            case "reset":
                rows.clear()
            case "removed":
                rows.pop(named(change["kind"], change["key"]), None)
            case _:
                rows[named(change["kind"], change["key"])] = change["row"]
    return rows


DERIVED = {
    "actual_struggled",
    "actual_outcome_at",
    "intervention_offered",
    "intervention_accepted",
    "strategy_executed",
    "strategy_executed_at",
    "user_returned",
    "returned_at",
    "intervention_taken",
    "reminder_sent",
    "reminder_sent_at",
    "user_reviewed",
    "reviewed_at",
}
"""Outcome columns: what changes them is an outcome, not the kind's own topic."""


def without_outcomes(rows: View) -> View:
    return {
        key: {name: value for name, value in row.items() if name not in DERIVED} for key, row in rows.items()
    }


async def in_tables(url: str) -> View:
    """The rows that there are."""
    connection = await asyncpg.connect(plain_url(url), server_settings={"timezone": "UTC"})
    try:
        return {
            named(source.kind, body): body
            for source in sources().values()
            for row in await connection.fetch(
                f"SELECT row_to_json(t)::text AS body FROM {source.table.name} t "
                "WHERE log_partition IS NOT NULL"
            )
            for body in [orjson.loads(row["body"])]
        }
    finally:
        await connection.close()


def in_order(changes: Iterable[Told]) -> bool:
    """Whether each partition of each kind came in order, and nothing twice."""
    last: dict[tuple[str, int], tuple[int, bool, int]] = {}
    for change in changes:
        if change["operation"] == "reset":
            last.clear()
            continue
        place = (change["kind"], change["log_partition"])
        # Removals are numbered on their own.
        number = 0 if change["operation"] == "removed" else change["key"]["id"]
        here = (change["log_offset"], change["operation"] == "changed", number)
        if place in last and not (here > last[place] or (here == last[place] and number == 0)):
            return False
        last[place] = here
    return True


class Store:
    """Writes as a sink does, always allowed to."""

    def __init__(self, url: str, connection: asyncpg.Connection) -> None:
        self.url = url
        self.connection = connection
        self.writer = Writer(NAMES, lambda _: None)
        self._next = 0

    async def write(self, *records: Record) -> None:
        """One batch."""
        target = {Place(r.topic, r.partition): r.offset + 1 for r in records}
        async with self.connection.transaction():
            positions = await claim(self.connection, dict.fromkeys(target, 0))
        batch = self.writer.prepare(records)
        assert batch.refused == []
        assert await self.writer.store(self.connection, batch, positions, target)

    def place(self) -> int:
        """The next offset, with gaps, as transaction markers leave them."""
        self._next += 2
        return self._next

    async def predict(self, kind: str, *records: dict[str, Any], partition: int = 0) -> None:
        await self.write(*(prediction(kind, record, self.place(), partition) for record in records))

    async def bury(self, kind: str, record: dict[str, Any], partition: int = 0) -> None:
        key, _ = pair(kind, record)
        await self.write(Rec(NAMES.prediction(kind), partition, self.place(), key, None))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """A store of an empty database."""
    upgrade(url)
    connection = await asyncpg.connect(plain_url(url), server_settings={"timezone": "UTC"})
    try:
        yield Store(url, connection)
    finally:
        await connection.close()

"""The sink's writer on a database of its own."""

from __future__ import annotations

from typing import Any

import asyncpg

from lyo.storage.sink.offsets import Place, claim
from lyo.storage.sink.records import Record
from lyo.storage.sink.writer import Writer
from tests.support.sink.records import (
    NAMES,
)


class Store:
    """A writer on a database of its own, always allowed to write."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.writer = Writer(NAMES, lambda row: int.from_bytes(row[:1], "little") or None)

    async def write(self, *records: Record) -> None:
        """One batch."""
        batch = self.writer.prepare(records)
        assert batch.refused == []
        target = {Place(r.topic, r.partition): r.offset + 1 for r in records}
        async with self.connection.transaction():
            positions = await claim(self.connection, dict.fromkeys(target, 0))
        ahead = {place: max(offset, positions[place].next_offset + 1) for place, offset in target.items()}
        assert await self.writer.store(self.connection, batch, positions, ahead)

    async def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.connection.fetch(sql, *arguments)]

    async def clear(self) -> None:
        """Empty what the tests of orders write."""
        for table in (
            "struggle_predictions",
            "dropout_risk_scores",
            "learning_plateaus",
            "skill_regressions",
            "preferences",
            "outcome_facts",
            "content_outcomes",
            "sink_offsets",
        ):
            await self.connection.execute(f"DELETE FROM {table}")

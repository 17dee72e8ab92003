"""A deployment under test: topics, tables, worker and sink processes, a clock, and the oracle's verdict."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from lyo.models.events.decode import Kind
from lyo.storage.database import plain_url
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.clock import set_clock
from tests.support.faults.fleet import Fleet, fleet
from tests.support.faults.oracle import Report, expect, settled
from tests.support.learners.published import moment, newest, publish
from tests.support.processes import Environment, lag

QUICK = {
    "session_timeout_ms": 1_000,
    "transaction_timeout_ms": 6_000,
    "batch_records": 500,
    "poll_records": 500,
}
"""Settings under which a killed process's partitions move within seconds, and a file makes many batches."""
INSERT = "INSERT INTO outbox (topic, key, partition_key, value) VALUES ($1, $2, $3, $4)"
UNSENT = "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND error IS NULL"
LONGEST = 240.0


class Deployment:
    """Processes with topics and tables of their own, and the parts of a file that they were given."""

    def __init__(self, settings: Settings, running: Fleet, clock: Path) -> None:
        self.settings = settings
        self.fleet = running
        self.given: list[Path] = []
        self._clock = clock

    async def give(self, path: Path) -> int:
        """Publish a part of the events, with the clock at the newest of all that were given."""
        self.tell(path)
        return await self.publish(path)

    async def publish(self, path: Path) -> int:
        """Publish a file that is part of what was told."""
        return await publish(path, self.settings)

    def tell(self, path: Path) -> None:
        """Count a part as given, and set the clock to the newest event of all parts."""
        self.given.append(path)
        self.set_clock(newest(self.given))

    def set_clock(self, at: int) -> None:
        """Set the processes' clock (ms)."""
        set_clock(self._clock, moment(at))

    async def to_outbox(self, lines: Iterable[bytes]) -> int:
        """Write outcomes to the outbox, as the API does."""
        name = topics.names(self.settings).topic(Kind.OUTCOME)
        rows = []
        for line in lines:
            user = str(json.loads(line)["user_id"])
            rows.append((name, user, user, line.strip()))
        connection = await asyncpg.connect(plain_url(self.settings.database_url))
        try:
            await connection.executemany(INSERT, rows)
        finally:
            await connection.close()
        return len(rows)

    async def quiet(self, seconds: float = LONGEST) -> float:
        """Wait until everything is processed, relayed and stored; gives how long that took (s)."""
        began = time.monotonic()
        while not await self._nothing_left():
            if time.monotonic() - began > seconds:
                tails = "\n".join(f"{m.name}: {m.tail(800)}" for m in self.fleet.members.values())
                raise AssertionError(f"not everything was processed within {seconds:g} s\n{tails}")
            await asyncio.sleep(0.2)
        return time.monotonic() - began

    async def _nothing_left(self) -> bool:
        if await lag(self.settings) or await behind(self.settings):
            return False
        connection = await asyncpg.connect(plain_url(self.settings.database_url))
        try:
            return await connection.fetchval(UNSENT) == 0
        finally:
            await connection.close()

    async def verdict(self, seconds: float = 60.0) -> Report:
        """What the oracle says once everything is processed."""
        await self.quiet()
        write_layout = self.settings.write_layout
        expected = await asyncio.to_thread(expect, self.given, newest(self.given), write_layout)
        return await settled(expected, self.settings, seconds=seconds)


@asynccontextmanager
async def deployed(
    settings: Settings,
    environment: Environment,
    folder: Path,
    *,
    supervised: bool = False,
    through: dict[str, str] | None = None,
) -> AsyncIterator[Deployment]:
    """Topics and tables, and a fleet that has yet no members; ``through`` are addresses only they use."""
    clock = folder / "clock"
    set_clock(clock, "2026-01-01T00:00:00Z")
    settings = settings.model_copy(update={"clock": f"@{clock}"})
    # A broker that was started a moment ago on a busy machine may not take a connection at once.
    await clients.reach(settings, lambda: topic_admin.ensure(settings))
    upgrade(settings.database_url)
    variables = environment(settings) | (through or {})
    async with fleet(folder / "fleet", variables, supervised=supervised) as running:
        yield Deployment(settings, running, clock)

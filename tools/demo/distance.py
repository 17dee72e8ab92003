"""Measures how far the worker is behind the events, and Postgres behind the worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from lyo.storage.reads.stored_offsets import stored_offsets
from lyo.storage.sink.offsets import Place
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from lyo.streams import topics
from lyo.streams.clock import system_now
from lyo.streams.kafka import clients, offset_metadata
from lyo.streams.settings import Settings
from lyo.tools.demo.children import DemoError

POLL_SECONDS = 0.5
# A sweep begins within a second of the last event, so no lag for this long means that all is done.
QUIET_SECONDS = 2.5
# Without progress for this long something is stuck, even on a slow machine.
STUCK_SECONDS = 120.0
UNAVAILABLE = (KafkaError, OSError, TimeoutError, asyncpg.PostgresError, SQLAlchemyError)
"""Errors raised while Kafka or Postgres does not answer."""


@dataclass(frozen=True, slots=True)
class Distance:
    """Events that the worker has not read, and records that Postgres does not have.

    Both include transaction markers, so they measure a distance and are no exact counts.
    """

    unread: int
    unstored: int
    settling: bool = False
    """History has come so lately that nobody has been judged by it yet."""


class Gauge:
    """Measures the distance through connections that stay open."""

    def __init__(
        self,
        settings: Settings,
        admin: AIOKafkaAdminClient,
        reader: AIOKafkaConsumer,
        inputs: list[TopicPartition],
        outputs: list[TopicPartition],
    ) -> None:
        self._settings = settings
        self._admin, self._reader = admin, reader
        self._inputs, self._outputs = inputs, outputs

    async def read(self) -> Distance:
        """Measure now. Raises one of `UNAVAILABLE` if Kafka or Postgres does not answer."""
        committed = await clients.committed(self._admin, self._settings.app_id, self._inputs)
        done = {tp: max(entry.offset, 0) for tp, entry in committed.items()}
        settling = self._settling([entry.metadata for entry in committed.values()])
        stored = await stored_offsets(self._settings.database_url)
        ends = await self._reader.end_offsets([*self._inputs, *self._outputs])
        return Distance(
            sum(max(ends[tp] - done.get(tp, 0), 0) for tp in self._inputs),
            sum(max(ends[tp] - stored.get(Place(*tp), 0), 0) for tp in self._outputs),
            settling,
        )

    def _settling(self, texts: Iterable[str]) -> bool:
        """Whether history is to settle yet, by the metadata of the committed offsets."""
        counts = offset_metadata.newest(texts)
        if counts is None or counts.history is None:
            return False
        return system_now() < counts.history.recorded + self._settings.history_settle_seconds * 1000

    async def dead_letters(self) -> int:
        """How many dead letters there are: events that were refused, each with its reason."""
        places = await clients.partitions_of(self._settings, topics.names(self._settings).dead_letters)
        return sum([len(records) async for _, records in clients.read_to_end(self._reader, places)])

    async def settle(self, on_distance: Callable[[Distance], None]) -> None:
        """Wait until every event is read, every prediction is stored, and no more come.

        Raises:
            DemoError: there is no progress for two minutes.
        """
        quiet_since: float | None = None
        before, moved_at = None, time.monotonic()
        while quiet_since is None or time.monotonic() - quiet_since < QUIET_SECONDS:
            await asyncio.sleep(POLL_SECONDS)
            try:
                distance: Distance | None = await self.read()
            except UNAVAILABLE:
                distance = None
            if distance is not None:
                on_distance(distance)
            now = time.monotonic()
            if distance == Distance(0, 0):
                quiet_since = now if quiet_since is None else quiet_since
                continue
            quiet_since = None
            if distance is not None and distance != before:
                before, moved_at = distance, now
            elif now - moved_at > STUCK_SECONDS:
                raise DemoError(f"no progress for {STUCK_SECONDS:.0f} s, with {_left(before)}")


def _left(distance: Distance | None) -> str:
    return "an unknown lag" if distance is None else f"{distance.unread:,} events unread"


@asynccontextmanager
async def gauge(settings: Settings) -> AsyncIterator[Gauge]:
    """A gauge, its connections closed afterwards."""
    names = topics.names(settings)
    inputs = await clients.partitions_of(settings, *names.inputs)
    outputs = await clients.partitions_of(settings, *Writer(names, tenant_of).topics)
    reader = clients.consumer(settings)
    try:
        await reader.start()
        async with clients.admin(settings) as admin:
            yield Gauge(settings, admin, reader, inputs, outputs)
    finally:
        await reader.stop()

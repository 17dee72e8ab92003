"""Mirrors the sink's offsets from Postgres to its consumer group, for Kafka's tools.

The product reads the mirror only while Postgres is away, so a failed commit is just repeated. The offsets'
metadata say why the sink cannot store, which `lyo lag` and the monitor show: they never ask the sink itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from lyo.storage.sink.offsets import Place, Position
from lyo.streams.log import logger

EVERY_SECONDS: Final = 1.0
LAST_SECONDS: Final = 2.0
LONGEST: Final = 500
"""Characters of a reason. Kafka takes 4,096 bytes of metadata."""

Offset = tuple[int, str]

log = logger("sink")


class Mirror:
    """Commits the offsets of Postgres, at most once a second and concurrently with storing."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._committed: dict[TopicPartition, Offset] = {}
        self._running: asyncio.Task[None] | None = None
        self._next = 0.0

    def follow(self, positions: Mapping[Place, Position], why: str = "") -> None:
        """Begin to commit changed offsets, unless a commit is under way or the last one is too recent.

        ``why`` is why nothing can be stored; empty if it can.
        """
        if time.monotonic() < self._next or (self._running is not None and not self._running.done()):
            return
        changed = self._changed(positions, why)
        if changed or (why and not positions):
            self._next = time.monotonic() + EVERY_SECONDS
            work = self._commit(changed) if changed else self._tell(why)
            self._running = asyncio.create_task(work, name="mirror")

    async def last(self, positions: Mapping[Place, Position]) -> None:
        """Commit changed offsets before the partitions are given back, within seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                if self._running is not None:
                    # Not awaited directly: its cancellation would end aiokafka's coordination for good.
                    await asyncio.wait([self._running])
                changed = self._changed(positions)
                if changed:
                    await self._commit(changed)
        if self._running is not None:
            self._running.cancel()
        self._committed.clear()

    def _changed(self, positions: Mapping[Place, Position], why: str = "") -> dict[TopicPartition, Offset]:
        assigned = self._consumer.assignment()
        said = why[:LONGEST]
        stored = {
            TopicPartition(*place): (position.next_offset, said) for place, position in positions.items()
        }
        return {
            tp: offset
            for tp, offset in stored.items()
            if tp in assigned and self._committed.get(tp) != offset
        }

    async def _tell(self, why: str) -> None:
        """Commit the reason while nothing is claimed yet: with an offset that stays as it is."""
        tp = min(self._consumer.assignment(), default=None)
        if tp is None:
            return
        try:
            offset = await self._consumer.committed(tp)
            if offset is None:
                offset = (await self._consumer.beginning_offsets([tp]))[tp]
        except KafkaError as error:
            log.debug("offset not known: %r", error)
        else:
            await self._commit({tp: (offset, why[:LONGEST])})
            self._committed.pop(tp, None)

    async def _commit(self, offsets: dict[TopicPartition, Offset]) -> None:
        try:
            await self._consumer.commit(offsets)
        except KafkaError as error:
            # A rebalance has begun, or the broker is away: committed again with the next ones.
            log.debug("offsets not mirrored: %r", error)
        else:
            self._committed |= offsets

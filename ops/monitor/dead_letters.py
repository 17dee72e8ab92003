"""Follows the dead letters from their beginning: counts them, and keeps the newest without their contents."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from lyo.models.events.checks import PARTITION
from lyo.ops.monitor.broker import Logs
from lyo.ops.monitor.snapshot import DeadLetterEntry, DeadLetterSummary
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings

KEPT: Final = 100
AT_ONCE: Final = 5_000
LOOK_SECONDS: Final = 1.0


class _Body(msgspec.Struct):
    topic: str
    partition: int
    offset: int | None
    reason: str
    field: str | None
    failed_at: str


class DeadLetterFollower:
    """Reads some more at every look; the count is unknown until it has reached the end once."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._consumer: AIOKafkaConsumer | None = None
        self._counts: Counter[str] = Counter()
        self._misplaced: Counter[str] = Counter()
        self._newest: defaultdict[int, deque[DeadLetterEntry]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._caught_up = False

    async def look(self, logs: Logs) -> None:
        """Read on, for at most a second.

        Raises:
            aiokafka.errors.KafkaError, OSError: the broker does not answer.
        """
        numbers = logs.partitions.get(self._topic, ())
        wanted = [TopicPartition(self._topic, number) for number in numbers]
        if not wanted:
            return
        reader = await self._open(sorted(wanted))
        if [tp for tp in wanted if await reader.position(tp) > logs.ends.end[tp]]:
            # The topic was created again: the next look counts it from its beginning.
            await self.stop()
            return
        until = time.monotonic() + LOOK_SECONDS
        while behind := await clients.behind(reader, {tp: logs.ends.stable[tp] for tp in wanted}):
            if time.monotonic() > until:
                return
            for records in (await reader.getmany(*behind, timeout_ms=100, max_records=AT_ONCE)).values():
                for record in records:
                    self._take(record)
        self._caught_up = True

    @property
    def dead_letters(self) -> DeadLetterSummary:
        """The counts and the newest dead letters so far."""
        kept = (entry for of_partition in self._newest.values() for entry in of_partition)
        newest = sorted(kept, key=lambda entry: entry.failed_at, reverse=True)[:KEPT]
        total = self._counts.total() if self._caught_up else None
        return DeadLetterSummary(
            total=total,
            by_topic=dict(self._counts),
            misplaced=dict(self._misplaced),
            newest=tuple(newest),
        )

    async def stop(self) -> None:
        """Close the connection."""
        reader, self._consumer = self._consumer, None
        if reader is not None:
            await clients.stop(reader)

    async def _open(self, partitions: list[TopicPartition]) -> AIOKafkaConsumer:
        if self._consumer is None:
            # Read from the beginning again: the earlier counts may belong to another topic of that name.
            self._counts.clear()
            self._misplaced.clear()
            self._newest.clear()
            self._caught_up = False
            reader = clients.consumer(self._settings, fetch_max_wait_ms=100)
            await reader.start()
            reader.assign(partitions)
            await reader.seek_to_beginning(*partitions)
            self._consumer = reader
        return self._consumer

    def _take(self, record: ConsumerRecord) -> None:
        if record.value is None:
            return
        try:
            body = msgspec.json.decode(record.value, type=_Body)
        except msgspec.DecodeError:
            body = _Body("?", record.partition, record.offset, "a dead letter that cannot be read", None, "")
        self._counts[body.topic] += 1
        if body.field == PARTITION:
            self._misplaced[body.topic] += 1
        self._newest[record.partition].append(
            DeadLetterEntry(
                place=(record.partition, record.offset),
                topic=body.topic,
                partition=body.partition,
                offset=body.offset,
                reason=body.reason,
                field=body.field,
                failed_at=body.failed_at,
            )
        )

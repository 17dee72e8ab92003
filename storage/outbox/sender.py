"""Sends rows of the outbox to Kafka, in order per partition."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from lyo.models.events.decode import partition
from lyo.streams.kafka import clients, existence
from lyo.streams.producers.transactional_producer import OVERHEAD
from lyo.streams.settings import Settings

GRACE_SECONDS: Final = 3.0
# A topic may be about to be created, and a starting broker does not list all topics at once.
MISSING_SECONDS: Final = 10.0

REFUSED: Final = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTopicError,
    InvalidTimestampError,
    PolicyViolationError,
    TopicAuthorizationFailedError,
)
"""Errors for records that Kafka never accepts, however often they are sent."""


class Away(Exception):
    """Kafka does not answer, or the relay is to stop; the message says which."""


class Row(Protocol):
    """A row of the outbox."""

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(slots=True)
class Sent:
    """Results: the ids of acknowledged rows, and the reasons by id of rows that Kafka never accepts."""

    ids: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


class OutboxSender:
    """Owns the producer, and replaces it after every error, so that it sends nothing old later."""

    def __init__(self, settings: Settings, stop: asyncio.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._limit = settings.output_batch_bytes - OVERHEAD
        self._answer_seconds = 2 * settings.request_timeout_ms / 1000
        self._producer: AIOKafkaProducer | None = None
        self._counts: dict[str, int] = {}
        self._missing: dict[str, float] = {}

    @property
    def held(self) -> list[str]:
        """Topics that did not exist a moment ago; their rows wait until the next look."""
        return [topic for topic, until in self._missing.items() if time.monotonic() < until]

    async def send(self, rows: Sequence[Row], sent: Sent) -> None:
        """Send rows and record the results in `sent`; rows of missing topics get no result yet.

        Raises:
            Away: `sent` has the results up to then.
        """
        try:
            await self._know({row["topic"] for row in rows}, rows, sent)
            for (topic, number), of_partition in self._grouped(rows, sent).items():
                for batch in self._batches(of_partition):
                    await self._until_clear(topic, number, batch, sent)
        except Away:
            await self.close(abandon=True)
            raise
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close(abandon=True)
            raise Away(clients.explain(error)) from None

    async def close(self, *, abandon: bool = False) -> None:
        """Close the producer, and drop the known partition counts."""
        producer, self._producer = self._producer, None
        self._counts.clear()
        if producer is not None:
            await (clients.abandon(producer) if abandon else clients.stop(producer))

    # ------------------------------------------------------------ topics

    async def _know(self, topics: Iterable[str], rows: Sequence[Row], sent: Sent) -> None:
        """Read the partition counts of new topics; refuse the rows of a topic that stays missing."""
        new = {topic for topic in topics if topic not in self._counts}
        if not new:
            return
        async with asyncio.timeout(self._answer_seconds):
            async with clients.admin(self._settings) as admin:
                entries = await existence.described(admin, new)
                hidden = set(existence.hidden_among(entries or []))
                existing = new & set(await admin.list_topics()) | hidden
                self._counts |= await clients.partition_counts(admin, existing - hidden)
        for topic in hidden:
            reason = str(existence.TopicHidden([topic]))
            sent.refused |= {row["id"]: reason for row in rows if row["topic"] == topic}
        for topic in new - existing:
            if topic not in self._missing:
                self._missing[topic] = time.monotonic() + MISSING_SECONDS
            elif time.monotonic() >= self._missing[topic]:
                del self._missing[topic]
                sent.refused |= {
                    row["id"]: f"there is no topic {topic}" for row in rows if row["topic"] == topic
                }
        for topic in existing:
            self._missing.pop(topic, None)

    def _grouped(self, rows: Sequence[Row], sent: Sent) -> dict[tuple[str, int], list[Row]]:
        """The rows by topic-partition, in order, without those that cannot be sent."""
        grouped: dict[tuple[str, int], list[Row]] = defaultdict(list)
        for row in rows:
            topic = row["topic"]
            if topic not in self._counts:
                continue
            try:
                number = self._placed(row)
            except ValueError as error:
                sent.refused[row["id"]] = str(error)
            else:
                grouped[topic, number].append(row)
        return grouped

    def _placed(self, row: Row) -> int:
        if not row["partition_key"].isdecimal():
            raise ValueError(f"partition_key {row['partition_key'][:40]!r} is not a user id")
        if _size(row) > self._limit:
            raise ValueError(f"a record of {_size(row)} bytes is larger than {self._limit}")
        number = partition(int(row["partition_key"]), self._settings.partitions)
        count = self._counts[row["topic"]]
        if number >= count:
            raise ValueError(
                f"topic {row['topic']} has {count} partitions; this record belongs into {number}"
            )
        return number

    # ------------------------------------------------------------ batches

    def _batches(self, rows: Iterable[Row]) -> list[list[Row]]:
        """The rows in order, in as few batches as possible."""
        batches: list[list[Row]] = []
        room = 0
        for row in rows:
            needed = _size(row) + OVERHEAD
            if needed > room:
                batches.append([])
                room = self._settings.output_batch_bytes
            batches[-1].append(row)
            room -= needed
        return batches

    async def _until_clear(self, topic: str, number: int, rows: Sequence[Row], sent: Sent) -> None:
        """Send a batch; if it is refused, find the record by bisection."""
        try:
            await self._send(topic, number, rows)
        except REFUSED as error:
            # A failed batch leaves a gap in the producer's sequence numbers.
            await self.close(abandon=True)
            if len(rows) == 1:
                sent.refused[rows[0]["id"]] = clients.explain(error)
                return
            half = len(rows) // 2
            await self._until_clear(topic, number, rows[:half], sent)
            await self._until_clear(topic, number, rows[half:], sent)
        else:
            sent.ids += [row["id"] for row in rows]

    async def _send(self, topic: str, number: int, rows: Sequence[Row]) -> None:
        producer = await self._started()
        batch = producer.create_batch()
        stamp = time.time_ns() // 1_000_000
        for row in rows:
            added = batch.append(timestamp=stamp, key=row["key"].encode(), value=row["value"])
            assert added is not None, "a batch has room for the rows that were chosen for it"
        async with asyncio.timeout(self._answer_seconds):
            answer = await producer.send_batch(batch, topic, partition=number)
        await self._answered(answer)

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = clients.producer(self._settings)
            try:
                async with asyncio.timeout(self._answer_seconds):
                    await producer.start()
            except BaseException:
                await clients.stop(producer)
                raise
            self._producer = producer
        return self._producer

    async def _answered(self, answer: asyncio.Future[Any]) -> None:
        """Wait for Kafka's answer; after a stop only a moment longer, so that little is sent twice."""
        stopping: asyncio.Future[Any] = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait(
                {answer, stopping}, timeout=self._answer_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not answer.done() and stopping.done():
                await asyncio.wait({answer}, timeout=GRACE_SECONDS)
        finally:
            stopping.cancel()
        if not answer.done():
            raise Away("no answer to a record that was sent")
        answer.result()


def _size(row: Row) -> int:
    return len(row["key"].encode()) + len(row["value"])

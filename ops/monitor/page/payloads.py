"""Shows a dead letter's contents and retries its record: for operators only, one dead letter at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiokafka import TopicPartition

from lyo.streams import topics
from lyo.streams.dead_letters.reader import DeadLetterReader, decode
from lyo.streams.dead_letters.retry import Retrier
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings

READ_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 60.0
LONGEST_PREVIEW: Final = 4_000


@dataclass(frozen=True, slots=True)
class Payload:
    """A dead letter with the beginning of its record's value."""

    topic: str
    partition: int
    offset: int | None
    key: str | None
    reason: str
    field: str | None
    failed_at: str
    size: str
    preview: str

    @property
    def id(self) -> str:
        """The dead letter's key on its topic, which is its name for `lyo dlq`."""
        return f"{self.topic}/{self.partition}/{'-' if self.offset is None else self.offset}"


class Outcome(NamedTuple):
    """Whether a record is in its topic now, and what was done or why not."""

    done: bool
    text: str


async def read(settings: Settings, partition: int, offset: int) -> Payload | None:
    """The dead letter at a place of its topic; None if there is none.

    Raises:
        aiokafka.errors.KafkaError, OSError, TimeoutError: Kafka does not answer.
    """
    tp = TopicPartition(topics.names(settings).dead_letters, partition)
    reader = clients.consumer(settings, fetch_max_wait_ms=100)
    try:
        async with asyncio.timeout(READ_SECONDS):
            await reader.start()
            if partition not in (reader.partitions_for_topic(tp.topic) or await _numbers(settings, tp.topic)):
                return None
            first, end = (await reader.beginning_offsets([tp]))[tp], (await reader.end_offsets([tp]))[tp]
            if not first <= offset < end:
                return None
            reader.assign([tp])
            reader.seek(tp, offset)
            while await clients.behind(reader, {tp: offset + 1}):
                for record in (await reader.getmany(tp, timeout_ms=100, max_records=1)).get(tp, []):
                    return _payload(record.value) if record.offset == offset else None
            return None
    finally:
        await clients.stop(reader)


async def _numbers(settings: Settings, topic: str) -> range:
    async with clients.admin(settings) as admin:
        return range((await clients.partition_counts(admin, [topic])).get(topic, 0))


def _payload(value: bytes | None) -> Payload | None:
    dead_letter = None if value is None else decode(value)
    if dead_letter is None:
        return None
    value_bytes = dead_letter.payload
    return Payload(
        topic=dead_letter.topic,
        partition=dead_letter.partition,
        offset=dead_letter.offset,
        key=dead_letter.key,
        reason=dead_letter.reason,
        field=dead_letter.field,
        failed_at=dead_letter.failed_at,
        size="no value" if value_bytes is None else f"{len(value_bytes):,} bytes",
        preview=_preview(value_bytes),
    )


def _preview(value: bytes | None) -> str:
    if value is None:
        return "The dead letter carries no value."
    text = value[: 4 * LONGEST_PREVIEW].decode("utf-8", "backslashreplace")
    return text if len(text) <= LONGEST_PREVIEW else f"{text[:LONGEST_PREVIEW]} …"


async def retry(settings: Settings, payload: Payload) -> Outcome:
    """Send a dead letter's record to its topic again, as `lyo dlq retry` does.

    Raises:
        aiokafka.errors.KafkaError, OSError, TimeoutError: Kafka does not answer.
        lyo.streams.topics.TopicError: a topic has another number of partitions than the settings say.
    """
    async with asyncio.timeout(RETRY_SECONDS), Retrier(settings) as retrier:
        dead_letters = [dead_letter async for dead_letter in DeadLetterReader(settings).read()]
        chosen = [dead_letter for dead_letter in dead_letters if dead_letter.id == payload.id]
        if not chosen:
            return Outcome(done=False, text="The dead letter is no longer on its topic.")
        (tried,) = await retrier.retry(chosen[-1:], dead_letters)
    return Outcome(done=tried.status.settled, text=f"{tried.status.value}: {tried.detail}")

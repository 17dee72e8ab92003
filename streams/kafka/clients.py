"""Kafka clients made from the settings, and reading topics to their end."""

from __future__ import annotations

import asyncio
import functools
import importlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import chain
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition, codec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupLoadInProgressError,
    KafkaConnectionError,
    KafkaError,
    UnknownTopicOrPartitionError,
)
from aiokafka.record import default_records
from aiokafka.structs import OffsetAndMetadata

from lyo.streams.kafka import existence, protocol
from lyo.streams.kafka.security import refusal, security
from lyo.streams.settings import Settings

T = TypeVar("T")

# Kafka 4 answers a transaction begun right after another with NotEnoughReplicas until it has verified the
# partitions: a short backoff retries soon.
RETRY_BACKOFF_MS: Final = 10


STOP_SECONDS: Final = 3.0
ABANDON_SECONDS: Final = 0.5
_LZ4_LEVEL: Final = 1
_POLL_SECONDS: Final = 0.2
RECORDS_AT_ONCE: Final = 2_000
"""Most records of a poll that leaves the event loop to others in between."""


class Stalled(RuntimeError):
    """A topic-partition has more records, but none arrives."""


class Unreachable(RuntimeError):
    """Kafka did not answer within the time the settings allow."""


def connection(settings: Settings) -> dict[str, Any]:
    """The arguments with which every aiokafka client reaches Kafka and signs in.

    Raises:
        lyo.streams.kafka.security.SecurityError: a certificate or key that a setting names cannot be used.
    """
    return security(settings) | {
        "bootstrap_servers": settings.servers,
        "request_timeout_ms": settings.request_timeout_ms,
    }


@asynccontextmanager
async def admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client."""
    client = AIOKafkaAdminClient(**connection(settings))
    try:
        await client.start()
        yield client
    finally:
        await client.close()


def consumer(settings: Settings, *topics: str, **more: Any) -> AIOKafkaConsumer:
    """A read-committed consumer, not started; groupless and from the beginning, unless ``more`` differs."""
    arguments = connection(settings) | {
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "max_partition_fetch_bytes": settings.fetch_bytes,
        "retry_backoff_ms": 50,
        "client_rack": settings.client_rack,
    }
    return AIOKafkaConsumer(*topics, **(arguments | more))


def producer(settings: Settings, transactional_id: str | None = None, **more: Any) -> AIOKafkaProducer:
    """A producer, not started: transactional if named, idempotent in any case."""
    use_fast_lz4()
    arguments = connection(settings) | {
        "compression_type": None if settings.compression == "none" else settings.compression,
        "max_batch_size": settings.output_batch_bytes,
        "retry_backoff_ms": RETRY_BACKOFF_MS,
        "enable_idempotence": True,
    }
    if transactional_id is not None:
        arguments["transactional_id"] = transactional_id
        arguments["transaction_timeout_ms"] = settings.transaction_timeout_ms
    return AIOKafkaProducer(**(arguments | more))


async def stop(client: AIOKafkaConsumer | AIOKafkaProducer, seconds: float = STOP_SECONDS) -> None:
    """Stop a client within so many seconds, in any state of its connections.

    While the broker is away, aiokafka's ``stop`` raises the CancelledError of its own inner tasks.
    """
    stopping = asyncio.ensure_future(client.stop())
    done, _ = await asyncio.wait({stopping}, timeout=seconds)
    if not done:
        stopping.cancel()
    elif not stopping.cancelled():
        # Retrieve the error, so that asyncio does not report it.
        stopping.exception()


async def close(client: AIOKafkaAdminClient, seconds: float = STOP_SECONDS) -> None:
    """Close an admin client within so many seconds, in any state of its connections."""
    with suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            await client.close()


async def abandon(producer: AIOKafkaProducer) -> None:
    """Stop a producer at once; records that it has not sent yet are never sent."""
    # Its own `stop` flushes first. While the broker is away that never ends, and sender and client keep
    # running.
    sender = producer._sender  # noqa: SLF001 - not public
    if sender is not None:
        closing = asyncio.ensure_future(sender.close())
        await asyncio.wait({closing}, timeout=ABANDON_SECONDS)
        # It waits for requests that are retried for ever; cancelling it cancels them.
        closing.cancel()
        await asyncio.wait({closing}, timeout=ABANDON_SECONDS)
        _give_up(producer)
    await stop(producer)


def _give_up(producer: AIOKafkaProducer) -> None:
    """Fail the unsent batches, so that nothing waits for them."""
    unsent = producer._message_accumulator  # noqa: SLF001 - not public
    for batch in (*chain.from_iterable(unsent._batches.values()), *unsent._pending_batches):  # noqa: SLF001
        take_error(batch.future)
        take_error(batch._drain_waiter)  # noqa: SLF001
    unsent.fail_all(KafkaError("given up"))


def take_error(future: asyncio.Future[Any]) -> None:
    """Retrieve a future's error when it is done, so that asyncio does not report it."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())


def explain(error: BaseException) -> str:
    """An error in words, beginning with its name; aiokafka's errors have it in their text."""
    name, text = type(error).__name__, str(error)
    return text if name in text else f"{name}: {text}" if text else name


def use_fast_lz4() -> None:
    """Let aiokafka compress with lz4's fast level.

    aiokafka always uses level 9 and has no setting for it. On learner rows that gives 17 MB/s instead of
    1,700, with batches two thirds of the size; it took most of a worker's time.
    """
    for module in (default_records, _fast_records()):
        if module is not None and module.lz4_encode is codec.lz4_encode:
            module.lz4_encode = functools.partial(codec.lz4_encode, level=_LZ4_LEVEL)


def _fast_records() -> Any:
    """Aiokafka's compiled record batches, where they are installed."""
    try:
        return importlib.import_module("aiokafka.record._crecords.default_records")
    except ImportError:
        return None


async def partition_counts(client: AIOKafkaAdminClient, topics: Iterable[str]) -> dict[str, int]:
    """The number of partitions of those of the topics that exist.

    Raises:
        lyo.streams.kafka.existence.TopicHidden: the user may not describe one of them.
    """
    wanted = sorted(set(topics))
    described = await existence.existing(client, wanted) if wanted else []
    if described is None:
        described = await client.describe_topics(sorted(set(await client.list_topics()) & set(wanted)))
    # A topic with a partition without a leader cannot be read or written yet.
    return {
        entry["topic"]: len(entry["partitions"])
        for entry in described
        if entry["error_code"] == 0 and all(part["leader"] >= 0 for part in entry["partitions"])
    }


async def topic_ids(client: AIOKafkaAdminClient | AIOKafkaConsumer, topics: Iterable[str]) -> dict[str, str]:
    """The ids of those of the topics that exist: a topic that is created again has another id.

    Empty if the broker gives no ids (before Kafka 2.8).

    Raises:
        aiokafka.errors.KafkaError: Kafka cannot be reached.
    """
    return protocol.topic_ids(await existence.described(client, topics) or [])


async def partitions_of(settings: Settings, *topics: str) -> list[TopicPartition]:
    """Every partition of the topics.

    Raises:
        UnknownTopicOrPartitionError: a topic does not exist; the message names it.
    """
    async with admin(settings) as client:
        counts = await partition_counts(client, topics)
    for topic in topics:
        if topic not in counts:
            raise UnknownTopicOrPartitionError(f"topic {topic} does not exist")
    return [TopicPartition(topic, number) for topic in topics for number in range(counts[topic])]


async def read_to_end(
    reader: AIOKafkaConsumer,
    partitions: Iterable[TopicPartition],
    *,
    max_records: int | None = None,
    stalled_seconds: float | None = None,
) -> AsyncIterator[tuple[TopicPartition, list[ConsumerRecord]]]:
    """Read the partitions from their beginning to their current end, one list per poll and partition.

    The reader's position decides the end, not the last record: the last offset may be a transaction marker,
    which is never delivered. ``reader`` is started and has no group. It stays assigned to the partitions, so
    the caller can read on.

    Raises:
        Stalled: nothing has arrived for ``stalled_seconds`` although there is more to read.
    """
    wanted = list(partitions)
    reader.assign(wanted)
    await reader.seek_to_beginning(*wanted)
    ends = await reader.end_offsets(wanted)
    reading = read_up_to(reader, ends, max_records=max_records, stalled_seconds=stalled_seconds)
    async for tp, records in reading:
        yield tp, records


async def read_up_to(
    reader: AIOKafkaConsumer,
    ends: dict[TopicPartition, int],
    *,
    max_records: int | None = None,
    stalled_seconds: float | None = None,
) -> AsyncIterator[tuple[TopicPartition, list[ConsumerRecord]]]:
    """Read the assigned partitions from the reader's position up to the given offsets."""
    # Polls are counted, not the clock's time: a process that was frozen did not wait for the broker.
    waited = 0.0
    while left := await behind(reader, ends):
        polled = await reader.getmany(timeout_ms=round(_POLL_SECONDS * 1000), max_records=max_records)
        for tp, records in polled.items():
            yield tp, records
        waited = 0.0 if polled else waited + _POLL_SECONDS
        if stalled_seconds is not None and waited > stalled_seconds:
            tp = left[0]
            raise Stalled(
                f"{tp.topic}/{tp.partition} was read up to {await reader.position(tp)} of {ends[tp]}, and "
                f"nothing more has come for {stalled_seconds:g} s"
            )


async def log_end_offsets(
    settings: Settings, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """The log end offsets of the partitions: records of open transactions are included."""
    reader = consumer(settings, isolation_level="read_uncommitted")
    await reader.start()
    try:
        ends: dict[TopicPartition, int] = await reader.end_offsets(list(partitions))
    finally:
        await stop(reader)
    return ends


async def behind(reader: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> list[TopicPartition]:
    """The partitions that are read to an offset below the given one."""
    return [tp for tp, end in ends.items() if await reader.position(tp) < end]


async def committed(
    client: AIOKafkaAdminClient, group: str, wanted: list[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """The committed offset of each partition, with its metadata; -1 if the group never committed one.

    Raises:
        GroupLoadInProgressError: Kafka did not answer for every partition. aiokafka ignores an error of the
            whole answer (the coordinator is loading or has moved) and gives no partitions. Taken for "never
            committed", this would read and count everything again from the beginning.
    """
    entries: dict[TopicPartition, OffsetAndMetadata] = await client.list_consumer_group_offsets(
        group, partitions=wanted
    )
    missing = [tp for tp in wanted if tp not in entries]
    if missing:
        raise GroupLoadInProgressError(f"Kafka does not say where {group} stands in {missing[0].topic}")
    return entries


async def persist(attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Run ``attempt`` until it succeeds; after so many seconds raise its last error."""
    until = time.monotonic() + seconds
    pause = 0.1
    while True:
        try:
            return await attempt()
        except (KafkaError, OSError, TimeoutError):
            if time.monotonic() + pause > until:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, 2.0)


async def reach(settings: Settings, attempt: Callable[[], Awaitable[T]]) -> T:
    """Run ``attempt`` until Kafka answers, at most for the settings' time.

    Raises:
        Unreachable: with the addresses and the last error; at once if Kafka refuses the connection.
        lyo.streams.kafka.security.SecurityError: a certificate or key that a setting names cannot be used.
    """
    reason = ""

    async def once() -> T:
        nonlocal reason
        try:
            return await attempt()
        except KafkaConnectionError:
            reason, final = await refusal(settings)
            if final:
                raise Unreachable(f"Kafka at {settings.bootstrap_servers} refuses us: {reason}") from None
            raise

    try:
        return await persist(once, settings.connect_seconds)
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unreachable(
            f"Kafka at {settings.bootstrap_servers} did not answer within "
            f"{settings.connect_seconds:g} s: {explain(error)}{f' ({reason})' if reason else ''}"
        ) from None

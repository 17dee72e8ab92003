"""Copies the log of events into a new set of topics, which may have another number of partitions.

``LYO_TOPIC_PREFIX=lyo2. LYO_PARTITIONS=32 python -m lyo.ops.deploy.copy_log --from lyo.`` See
docs/runbook.md, "Changing the partition count". Kafka's timestamps are copied as well: how far a partition
may be swept depends on them.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from lyo.models.events.decode import Kind, partition
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings, load_settings
from lyo.streams.topics import Names, TopicError

AT_ONCE: Final = 5_000
KINDS: Final = tuple(Kind)


class CopyError(RuntimeError):
    """Why the log is not copied, in one line."""


async def copy(
    settings: Settings,
    source: str,
    *,
    stopped: asyncio.Event | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Counter[str]:
    """Copy every event of the topics that begin with ``source`` into those of the settings.

    Args:
        settings: of the target: prefix, partitions.
        source: the prefix of the topics that are copied.
        stopped: continues with what is still published until it is set, and copies what was published before
            that; None: ends where the topics end now.
        say: called when the copy has caught up and continues.

    Returns:
        How many records of each kind were copied.

    Raises:
        CopyError: source and target are the same, or the target has records already.
        aiokafka.errors.KafkaError: Kafka cannot be reached, or a source topic does not exist.
    """
    if source == settings.topic_prefix:
        raise CopyError(f"LYO_TOPIC_PREFIX is {source!r}, too: a log is copied into topics of its own")
    await topic_admin.ensure(settings)
    before, after = Names(source), topics.names(settings)
    await _check_empty(settings, [after.topic(kind) for kind in KINDS])
    kinds = {before.topic(kind): kind for kind in KINDS}
    reader, producer = clients.consumer(settings), clients.producer(settings)
    await reader.start()
    await producer.start()
    copied: Counter[str] = Counter()
    try:
        partitions = await clients.partitions_of(settings, *kinds)
        async for tp, records in _records(reader, partitions, copied, stopped, say):
            await _send(producer, settings, kinds[tp.topic], records)
            copied[kinds[tp.topic]] += len(records)
    finally:
        await clients.stop(producer)
        await clients.stop(reader)
    return copied


async def _records(
    reader: AIOKafkaConsumer,
    partitions: Sequence[TopicPartition],
    copied: Counter[str],
    stopped: asyncio.Event | None,
    say: Callable[[str], object],
) -> AsyncIterator[tuple[TopicPartition, Sequence[ConsumerRecord]]]:
    """What the source topics hold now and, until ``stopped`` is set, what is published meanwhile."""
    async for tp, records in clients.read_to_end(reader, partitions, max_records=AT_ONCE):
        yield tp, records
    if stopped is None:
        return
    say(f"caught up after {copied.total()} records; copying what is published until stopped")
    while not stopped.is_set():
        for tp, records in (await reader.getmany(timeout_ms=500, max_records=AT_ONCE)).items():
            yield tp, records
    ends = await reader.end_offsets(partitions)
    async for tp, records in clients.read_up_to(reader, ends, max_records=AT_ONCE):
        yield tp, records


async def _check_empty(settings: Settings, names: Sequence[str]) -> None:
    reader = clients.consumer(settings)
    await reader.start()
    try:
        ends = await reader.end_offsets(await clients.partitions_of(settings, *names))
    finally:
        await clients.stop(reader)
    for tp, end in ends.items():
        if end:
            raise CopyError(f"topic {tp.topic} has records already: copy into a new LYO_TOPIC_PREFIX")


async def _send(
    producer: AIOKafkaProducer, settings: Settings, kind: Kind, records: Sequence[ConsumerRecord]
) -> None:
    """Send records of one partition in order, and wait until Kafka has them."""
    topic = topics.names(settings).topic(kind)
    sent = [
        await producer.send(
            topic,
            record.value,
            record.key,
            partition=_number(settings, kind, record.key, record.partition),
            timestamp_ms=record.timestamp,
        )
        for record in records
    ]
    await asyncio.gather(*sent)


def _number(settings: Settings, kind: Kind, key: bytes | None, before: int) -> int:
    """The target partition of a record. A record whose key is no user id is refused in any partition."""
    if kind in {Kind.CONTENT, Kind.ORGANIZATION}:
        return 0
    if key is None or not key.isdigit():
        return before % settings.partitions
    return partition(int(key), settings.partitions)


async def _main(settings: Settings, source: str, *, follow: bool) -> Counter[str]:
    stopped = asyncio.Event() if follow else None
    if stopped is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return await copy(settings, source, stopped=stopped, say=lambda line: sys.stderr.write(f"{line}\n"))


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m lyo.ops.deploy.copy_log", description=__doc__)
    parser.add_argument("--from", dest="source", required=True, help="prefix of the topics to copy")
    parser.add_argument("--follow", action="store_true", help="go on with what is published, until stopped")
    given = parser.parse_args()
    settings = load_settings()
    try:
        copied = asyncio.run(_main(settings, given.source, follow=given.follow))
    except (CopyError, TopicError, KafkaError, OSError) as error:
        sys.exit(f"not copied: {error}")
    for kind, count in sorted(copied.items()):
        sys.stdout.write(f"{kind}: {count}\n")


if __name__ == "__main__":
    main()

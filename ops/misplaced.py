"""Moves what lies in partitions of other learners, and says what does.

Earlier versions counted events wherever a client's partitioner had put them. Such events are sent to the
partition where they belong, as dead letters are retried. What was computed from them there is deleted.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
from aiokafka import ConsumerRecord, TopicPartition

from lyo.models.erasure import ErasureMarkers
from lyo.models.events.checks import PARTITION
from lyo.models.events.decode import Kind, partition
from lyo.models.events.identity import name_of
from lyo.storage.database import plain_url
from lyo.storage.reads.placement import astray
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from lyo.streams import topics
from lyo.streams.dead_letters import misplaced
from lyo.streams.dead_letters.encode import timestamp
from lyo.streams.dead_letters.misplaced import Keys
from lyo.streams.dead_letters.reader import DeadLetter, DeadLetterReader
from lyo.streams.dead_letters.retry import Retrier
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings

__all__ = ["Report", "look", "move"]

AT_ONCE: Final = 500
OnRecords = Callable[[int], None]


@dataclass(slots=True)
class Report:
    """What was found, and what was done about it.

    Attributes:
        events: input records in a wrong partition by topic and by what becomes of them (`Status` of a retry).
        keys: current rows and outputs in a wrong partition, by topic.
        rows: learners with rows in Postgres that come from a wrong partition, by table.
    """

    events: dict[str, Counter[str]] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing is left to be moved."""
        waiting = any(status != "counted" for counts in self.events.values() for status in counts)
        return not waiting and not self.keys and not self.rows


async def look(settings: Settings, on_records: OnRecords | None = None) -> Report:
    """Say what lies in wrong partitions; changes nothing.

    Raises:
        aiokafka.errors.KafkaError, lyo.streams.topics.TopicError: Kafka or a topic is missing.
        asyncpg.PostgresError, OSError: Postgres is away.
    """
    return await _run(settings, on_records, dry_run=True)


async def move(settings: Settings, on_records: OnRecords | None = None) -> Report:
    """Send events where they belong, delete what was computed elsewhere; gives what was found before.

    It may be repeated. Workers of this version may run; those of earlier versions would write it again.

    Raises:
        As `look`.
    """
    return await _run(settings, on_records, dry_run=False)


async def _run(settings: Settings, on_records: OnRecords | None, *, dry_run: bool) -> Report:
    report, names = Report(), topics.names(settings)
    async with Retrier(settings, dry_run=dry_run) as retrier:
        markers = await _markers(settings, names)
        letters = [letter async for letter in DeadLetterReader(settings).read()]
        for topic in names.inputs:
            events = await _events(settings, topic, markers, on_records)
            tried = await retrier.retry(events, [*letters, *events])
            if tried:
                report.events[topic] = Counter(result.status.value for result in tried)
    found = await misplaced.find(settings, misplaced.derived(names, settings.partitions), on_records)
    report.keys = dict(misplaced.by_topic(found))
    connection = await asyncpg.connect(plain_url(settings.database_url))
    try:
        stored = await astray(connection, settings.partitions)
        report.rows = {table: len(users) for table, users in stored.items()}
        if not dry_run:
            users = {user for of_table in stored.values() for user in of_table}
            await _put_right(settings, names, connection, users)
    finally:
        await connection.close()
    if not dry_run:
        await _delete(settings, found)
    return report


async def _markers(settings: Settings, names: topics.Names) -> ErasureMarkers:
    markers = ErasureMarkers()
    partitions = await clients.partitions_of(settings, names.topic(Kind.ERASURE))
    async for _, records in misplaced.read_whole(settings, partitions):
        for record in records:
            markers.put(record.key, record.value, record.timestamp)
    return markers


async def _events(
    settings: Settings, topic: str, markers: ErasureMarkers, on_records: OnRecords | None
) -> list[DeadLetter]:
    """The records of a topic in wrong partitions, as if they were refused; not of erased learners."""
    partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
    found: list[ConsumerRecord] = []
    async for tp, records in misplaced.read_whole(settings, partitions, on_records):
        out = misplaced.elsewhere(records, tp.partition, settings.partitions)
        found += [
            record
            for record, is_out in zip(records, out, strict=True)
            if is_out and not _is_erased(markers, misplaced.user_of(record.key))
        ]
    return [_letter(record) for record in sorted(found, key=lambda record: int(record.timestamp))]


def _is_erased(markers: ErasureMarkers, user: int) -> bool:
    marker = markers.get(user)
    return marker is not None and not marker.is_open


def _letter(record: ConsumerRecord) -> DeadLetter:
    value = None if record.value is None else base64.b64encode(record.value).decode("ascii")
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key.decode(),
        value=value,
        reason=PARTITION,
        failed_at=timestamp(record.timestamp),
        field=PARTITION,
    )


async def _put_right(
    settings: Settings, names: topics.Names, connection: Any, users: Collection[int]
) -> None:
    """Let Postgres hold of these learners what their own partitions do."""
    numbers = {user: partition(user, settings.partitions) for user in users}
    if not numbers:
        return
    homes = set(numbers.values())
    wanted = [tp for tp in misplaced.derived(names, settings.partitions) if tp.partition in homes]
    newest: dict[tuple[str, bytes], ConsumerRecord] = {}
    async for tp, records in misplaced.read_whole(settings, wanted):
        for record in records:
            name = name_of(record.key)
            if name.isdigit() and numbers.get(int(name)) == tp.partition:
                newest[tp.topic, record.key] = record
    current: Sequence[ConsumerRecord] = [record for record in newest.values() if record.value is not None]
    await Writer(names, tenant_of).put_right(connection, current, numbers)


async def _delete(settings: Settings, keys: Keys) -> None:
    """Write a tombstone for each key, where it lies."""
    producer = clients.producer(settings)
    await producer.start()
    try:
        places = [(tp, key) for tp, of_partition in keys.items() for key in of_partition]
        for start in range(0, len(places), AT_ONCE):
            sent = [
                await producer.send(tp.topic, None, key, partition=tp.partition)
                for tp, key in places[start : start + AT_ONCE]
            ]
            await asyncio.gather(*sent)
    finally:
        await clients.stop(producer)

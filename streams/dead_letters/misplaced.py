"""Finds what topics hold of learners in partitions where they do not belong.

Earlier versions counted an event wherever a client's partitioner had put it. So a learner could have rows and
predictions in a second partition number. No worker of this version reads or writes them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

from aiokafka import ConsumerRecord, TopicPartition

from lyo.models.events.identity import homes, name_of
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.streams.topics import Names

__all__ = [
    "Keys",
    "MisplacedKeys",
    "by_topic",
    "derived",
    "elsewhere",
    "find",
    "note",
    "read_whole",
    "user_of",
]

Keys = dict[TopicPartition, dict[bytes, int]]
"""Keys with a value by topic-partition, each with its learner."""


def derived(names: Names, partitions: int) -> list[TopicPartition]:
    """Every partition of the topics with rows and outputs of learners."""
    topics = (*names.predictions.values(), names.interventions, names.learner_rows, names.skill_rows)
    return [TopicPartition(topic, number) for topic in topics for number in range(partitions)]


def user_of(key: bytes) -> int:
    """The learner of a key that has a home."""
    return int(name_of(key))


def elsewhere(records: Sequence[ConsumerRecord], number: int, partitions: int) -> list[bool]:
    """Which records of a partition number are of learners that belong to another one."""
    right = homes([record.key for record in records], partitions)
    found: list[bool] = ((right >= 0) & (right != number)).tolist()
    return found


def by_topic(keys: Keys, users: Collection[int] | None = None) -> Counter[str]:
    """How many keys there are by topic, of these learners or of all."""
    counts: Counter[str] = Counter()
    for tp, of_partition in keys.items():
        counts[tp.topic] += sum(users is None or user in users for user in of_partition.values())
    return +counts


async def read_whole(
    settings: Settings, wanted: Iterable[TopicPartition], read: Callable[[int], None] | None = None
) -> AsyncIterator[tuple[TopicPartition, list[ConsumerRecord]]]:
    """Read topic-partitions up to their log end offsets, waiting for open transactions.

    Kafka answers a commit before the partitions know of it, so the last stable offset may lie before a
    transaction that is already committed. ``read`` is called with numbers of records.
    """
    partitions = list(wanted)
    if not partitions:
        return
    ends = await clients.log_end_offsets(settings, partitions)
    reader = clients.consumer(settings, fetch_max_wait_ms=100)
    await reader.start()
    try:
        reader.assign(partitions)
        await reader.seek_to_beginning(*partitions)
        async for tp, records in clients.read_up_to(reader, ends, max_records=clients.RECORDS_AT_ONCE):
            yield tp, records
            if read is not None:
                read(len(records))
    finally:
        await clients.stop(reader)


def note(keys: Keys, tp: TopicPartition, records: Sequence[ConsumerRecord], partitions: int) -> None:
    """Add to ``keys`` those of records of learners that belong elsewhere; a tombstone takes one away."""
    for record, is_elsewhere in zip(records, elsewhere(records, tp.partition, partitions), strict=True):
        if is_elsewhere and record.value is None:
            keys.get(tp, {}).pop(record.key, None)
        elif is_elsewhere:
            keys.setdefault(tp, {})[record.key] = user_of(record.key)


async def find(
    settings: Settings, wanted: Iterable[TopicPartition], read: Callable[[int], None] | None = None
) -> Keys:
    """Read topic-partitions whole for keys of learners that belong elsewhere."""
    keys: Keys = {}
    async for tp, records in read_whole(settings, wanted, read):
        note(keys, tp, records, settings.partitions)
    return {tp: of_partition for tp, of_partition in keys.items() if of_partition}


class MisplacedKeys:
    """What topics hold of learners elsewhere than where they belong: read whole once, when first asked.

    Workers of this version add nothing to it, so it is not read again.
    """

    def __init__(self, settings: Settings, names: Names) -> None:
        self._settings = settings
        self._names = names
        self._keys: Keys | None = None
        self._reading = asyncio.Lock()

    async def of(self, users: Collection[int], read: Callable[[int], None] | None = None) -> Keys:
        """Those of these learners.

        Raises:
            aiokafka.errors.KafkaError: Kafka does not answer.
        """
        async with self._reading:
            if self._keys is None:
                partitions = derived(self._names, self._settings.partitions)
                self._keys = await find(self._settings, partitions, read)
        mine = {
            tp: {key: user for key, user in keys.items() if user in users} for tp, keys in self._keys.items()
        }
        return {tp: keys for tp, keys in mine.items() if keys}

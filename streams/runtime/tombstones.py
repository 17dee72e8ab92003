"""What the topics still hold of learners who are erased: found by reading, deleted by tombstones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord, TopicPartition

from lyo.models.erasure import (
    AppliedErasure,
    ErasureMarker,
    ErasureMarkers,
    applied_key,
    encode_applied,
    record_of,
)
from lyo.models.events.decode import Kind, partition
from lyo.streams.dead_letters import encode
from lyo.streams.kafka import clients
from lyo.streams.log import logger
from lyo.streams.producers.transactional_producer import TransactionalProducer
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.ports import Changes, Engine
from lyo.streams.runtime.restore import RECORDS_AT_ONCE
from lyo.streams.settings import Settings
from lyo.streams.topics import Names

log = logger("erasing")


@dataclass(slots=True)
class StoredKeys:
    """Keys that still have a value and are about some learners, by topic-partition.

    Attributes:
        keys: of each topic-partition, with the learner whose they are.
        records: how many records with values there are of each learner and topic: those that compaction has
            not removed yet count, too.
    """

    keys: dict[TopicPartition, dict[bytes, int]] = field(default_factory=dict)
    records: Counter[tuple[int, str]] = field(default_factory=Counter)

    def tombstones(self) -> dict[TopicPartition, list[tuple[bytes, None]]]:
        """A record without a value for each key."""
        return {tp: [(key, None) for key in keys] for tp, keys in self.keys.items() if keys}

    def removed(self, user: int) -> dict[str, int]:
        """How many keys of a learner, by topic."""
        counts: Counter[str] = Counter()
        for tp, keys in self.keys.items():
            counts[tp.topic] += sum(owner == user for owner in keys.values())
        return {topic: count for topic, count in counts.items() if count}


def output_partitions(names: Names, number: int, count: int) -> list[TopicPartition]:
    """Where something of the learners of partition ``number`` of ``count`` may be: rows, outputs, letters."""
    outputs = (*names.predictions.values(), names.interventions, names.learner_rows, names.skill_rows)
    return [
        *(TopicPartition(topic, number) for topic in outputs),
        # A letter about a record with another learner's key lies in that one's partition.
        *(TopicPartition(names.dead_letters, other) for other in range(count)),
    ]


async def stored_keys(
    settings: Settings,
    names: Names,
    wanted: Iterable[TopicPartition],
    users: Collection[int],
    read: Callable[[int], None] | None = None,
) -> StoredKeys:
    """Read topic-partitions whole for what they hold of these learners; ``read`` is told of records as read.

    What was written is waited for until it is decided: Kafka answers a commit before the partitions know of
    it, so the end of what is committed may lie before a transaction that is over, even one of our own.
    """
    found, partitions = StoredKeys(), list(wanted)
    ends = await clients.log_end_offsets(settings, partitions)
    reader = clients.consumer(settings, fetch_max_wait_ms=100)
    await reader.start()
    try:
        reader.assign(partitions)
        await reader.seek_to_beginning(*partitions)
        async for tp, records in clients.read_up_to(reader, ends, max_records=RECORDS_AT_ONCE):
            keys = found.keys.setdefault(tp, {})
            if read is not None:
                read(len(records))
            for record in records:
                if record.value is None:
                    keys.pop(record.key, None)
                elif (user := _owner(names, record, users)) is not None:
                    keys[record.key] = user
                    found.records[user, tp.topic] += 1
    finally:
        await clients.stop(reader)
    return found


def _owner(names: Names, record: encode.SourceRecord, users: Collection[int]) -> int | None:
    """Which of these learners a record with a value is about."""
    if record.topic == names.dead_letters:
        found = encode.learners_of(record.value or b"", names.catalogue)
        return next((user for user in found if user in users), None)
    name = (record.key or b"").partition(b"|")[0]
    user = int(name) if name.isdigit() else None
    return user if user in users else None


def applied_records(
    pending: dict[int, ErasureMarker], found: StoredKeys, now: int
) -> list[tuple[bytes, bytes]]:
    """The records that say that these erasure markers are carried out; ``now`` in ms."""
    return [
        (
            applied_key(user),
            encode_applied(
                AppliedErasure(
                    user_id=user,
                    erased_at=marker.erased_at,
                    consented_at=marker.consented_at,
                    organization_id=marker.organization or None,
                    done_at=now,
                    removed=found.removed(user),
                )
            ),
        )
        for user, marker in pending.items()
    ]


def is_erased(markers: ErasureMarkers, names: Names, record: encode.SourceRecord) -> bool:
    """Whether a record is about a learner who is to stay forgotten: then no letter is kept of it."""
    if not len(markers) or record.topic in names.catalogue:
        return False
    found = [markers.get(user) for user in encode.learners(record.key, record.value)]
    return any(marker is not None and not marker.is_open for marker in found)


class Eraser:
    """Carries out the erasure markers of one partition number's learners, in its task's transactions."""

    def __init__(self, number: int, context: TaskContext, read: Callable[[int], None]) -> None:
        self._number = number
        self._context = context
        self._read = read
        self._seen = -1

    @property
    def due(self) -> bool:
        """Whether an erasure marker may have come since the last time."""
        markers = self._context.markers
        return len(markers) > 0 and self._seen != markers.revision

    def is_erased(self, record: ConsumerRecord) -> bool:
        """Whether no letter is kept of a record."""
        return is_erased(self._context.markers, self._context.names, record)

    async def carry_out(self, engine: Engine, producer: TransactionalProducer) -> Changes:
        """Forget learners, and delete all that the topics hold of them, in one transaction.

        What was committed before is all that there can be: from here on the engine says nothing of them.
        """
        context, now = self._context, self._context.clock.now()
        seen = context.markers.revision
        pending = engine.pending(self._number, context.settings.partitions)
        changes: Changes = engine.erase(pending)
        found = StoredKeys()
        if changes.erased:
            where = output_partitions(context.names, self._number, context.settings.partitions)
            found = await stored_keys(context.settings, context.names, where, set(changes.erased), self._read)
        anew = [record_of(user, marker) for user, marker in self._overtaken()]
        if pending or anew:
            rows = {context.names.learner_rows: applied_records(pending, found, now)} if pending else {}
            outputs = {context.names.topic(Kind.ERASURE): anew} if anew else {}
            await producer.transact(outputs, rows, {}, now, found.tombstones())
            deleted = sum(map(len, found.keys.values()))
            context.counts["erased_keys"] += deleted
            log.info("task=%d erased learners=%d keys=%d", self._number, len(changes.erased), deleted)
        engine.commit(changes)
        self._seen = seen
        return changes

    def _overtaken(self) -> list[tuple[int, ErasureMarker]]:
        """This number's markers that the topic no longer says, since an older record came after them."""
        markers, many = self._context.markers, self._context.settings.partitions
        mine = [user for user, _ in markers.items() if partition(user, many) == self._number]
        return [
            (user, marker) for user in markers.overtaken(mine) if (marker := markers.get(user)) is not None
        ]

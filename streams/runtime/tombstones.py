"""Deletes erased learners from the topics: reads which keys they still have, and writes tombstones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord, TopicPartition

from lyo.models.backfill import HISTORY_KEY
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
from lyo.streams.dead_letters.misplaced import read_whole
from lyo.streams.log import logger
from lyo.streams.producers.transactional_producer import TransactionalProducer
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.ports import Changes, Engine
from lyo.streams.settings import Settings
from lyo.streams.topics import Names

log = logger("erasing")


@dataclass(slots=True)
class StoredKeys:
    """Keys of some learners that still have a value.

    Attributes:
        keys: by topic-partition, each with its learner.
        records: the number of records with a value by learner and topic, including those that compaction has
            not removed yet.
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
    """Partitions with rows, outputs or dead letters of learners of partition ``number`` of ``count``."""
    outputs = (*names.predictions.values(), names.interventions, names.learner_rows, names.skill_rows)
    return [
        *(TopicPartition(topic, number) for topic in outputs),
        # A dead letter about a record with another learner's key is in the partition of that key.
        *(TopicPartition(names.dead_letters, other) for other in range(count)),
    ]


async def stored_keys(
    settings: Settings,
    names: Names,
    wanted: Iterable[TopicPartition],
    users: Collection[int],
    read: Callable[[int], None] | None = None,
) -> StoredKeys:
    """Read topic-partitions whole for keys of these learners; ``read`` is called with numbers of records."""
    stored = StoredKeys()
    async for tp, records in read_whole(settings, wanted, read):
        keys = stored.keys.setdefault(tp, {})
        for record in records:
            if record.value is None:
                keys.pop(record.key, None)
            elif (user := _owner(names, record, users)) is not None:
                keys[record.key] = user
                stored.records[user, tp.topic] += 1
    return stored


def _owner(names: Names, record: encode.SourceRecord, users: Collection[int]) -> int | None:
    """The learner, of these, that a record with a value is about."""
    if record.topic == names.dead_letters:
        owners = encode.learners_of(record.value or b"", names.catalogue)
        return next((user for user in owners if user in users), None)
    name = (record.key or b"").removeprefix(HISTORY_KEY).partition(b"|")[0]
    user = int(name) if name.isdigit() else None
    return user if user in users else None


def applied_records(
    pending: dict[int, ErasureMarker], stored: StoredKeys, now: int
) -> list[tuple[bytes, bytes]]:
    """Changelog records which record that these erasure markers are applied; ``now`` in ms."""
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
                    removed=stored.removed(user),
                )
            ),
        )
        for user, marker in pending.items()
    ]


def is_erased(markers: ErasureMarkers, names: Names, record: encode.SourceRecord) -> bool:
    """Whether a record is about a learner who stays erased: no dead letter is written about it."""
    if not len(markers) or record.topic in names.catalogue:
        return False
    markers_of = [markers.get(user) for user in encode.learners(record.key, record.value)]
    return any(marker is not None and not marker.is_open for marker in markers_of)


class Eraser:
    """Applies the erasure markers of one partition number's learners, in its task's transactions."""

    def __init__(self, number: int, context: TaskContext, read: Callable[[int], None]) -> None:
        self._number = number
        self._context = context
        self._read = read
        self._seen = -1

    @property
    def due(self) -> bool:
        """Whether there may be a new erasure marker since the last time."""
        markers = self._context.markers
        return len(markers) > 0 and self._seen != markers.revision

    def is_erased(self, record: ConsumerRecord) -> bool:
        """Whether a record is about a learner who stays erased."""
        return is_erased(self._context.markers, self._context.names, record)

    async def carry_out(self, engine: Engine, producer: TransactionalProducer) -> Changes:
        """Erase learners from the engine and delete their keys from the topics, in one transaction.

        The topics hold at most what was committed before: the engine writes nothing of these learners any
        more.
        """
        context, now = self._context, self._context.clock.now()
        seen = context.markers.revision
        pending = engine.pending(self._number, context.settings.partitions)
        changes: Changes = engine.erase(pending)
        stored = StoredKeys()
        if changes.erased:
            partitions = output_partitions(context.names, self._number, context.settings.partitions)
            users = set(changes.erased)
            stored = await stored_keys(context.settings, context.names, partitions, users, self._read)
            # Of other numbers' partitions only what lies in a wrong one, which their tasks never touch.
            for tp, keys in (await context.misplaced.of(users, self._read)).items():
                stored.keys.setdefault(tp, {}).update(keys)
        overruled = [record_of(user, marker) for user, marker in self._overtaken()]
        if pending or overruled:
            rows = {context.names.learner_rows: applied_records(pending, stored, now)} if pending else {}
            outputs = {context.names.topic(Kind.ERASURE): overruled} if overruled else {}
            await producer.transact(outputs, rows, {}, now, stored.tombstones())
            deleted = sum(map(len, stored.keys.values()))
            context.counts["erased_keys"] += deleted
            log.info("task=%d erased learners=%d keys=%d", self._number, len(changes.erased), deleted)
        engine.commit(changes)
        self._seen = seen
        return changes

    def _overtaken(self) -> list[tuple[int, ErasureMarker]]:
        """Markers of this number that the topic lost: an older record of the key came after them."""
        markers, many = self._context.markers, self._context.settings.partitions
        mine = [user for user, _ in markers.items() if partition(user, many) == self._number]
        return [
            (user, marker) for user in markers.overtaken(mine) if (marker := markers.get(user)) is not None
        ]

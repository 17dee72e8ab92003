"""Restores a partition number from its changelogs, and checks its committed offsets against them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from lyo.models.state.layout import LayoutError
from lyo.streams.dead_letters.misplaced import elsewhere
from lyo.streams.kafka import clients, existence, offset_metadata
from lyo.streams.kafka.offset_metadata import EventCounts
from lyo.streams.runtime.ports import Engine
from lyo.streams.settings import Settings
from lyo.streams.topics import Names

# Rows have about 4 KB.
FIRST_GROUP_SECONDS = 15.0


REBUILD = "stop every worker and sink, run `lyo rebuild`, and start them again (docs/rebuild.md)"
OFFSETS_KEY = b"#offsets"
"""Key of the changelog's offsets record: the next input offset after the rows, and the topics' ids."""
# Topic names never contain these. An earlier version takes `TOPIC#ID` and `TOPIC/NUMBER` for more offsets,
# and keeps them.
_ID = "#"
_NUMBER = "/"
UNREADABLE = (LayoutError, ValueError, KeyError, msgspec.MsgspecError, RecursionError)


class OffsetError(RuntimeError):
    """Committed offsets, topics and rows contradict one another: one was reset or created again."""


class OffsetsBehind(OffsetError):
    """The committed offsets are older than the rows: reset, or a broker that just started lacks them."""


class RestoreError(RuntimeError):
    """A partition number's rows cannot be restored; the message names the record and says what to do."""


class Restored(NamedTuple):
    """The result of a restore.

    Attributes:
        rows: the number of records read.
        offsets: the next input offsets after the rows; empty if there is no offsets record.
        blank: whether the changelog of the learners has never held a record.
        topics: ids of topics when the rows were written, as far as the offsets record has them.
        followed: where the dead letters of content, organizations and erasures end; of number 0 only.
        misplaced: the number of keys of learners that belong to another partition number: left out.
    """

    rows: int
    offsets: dict[TopicPartition, int]
    blank: bool
    topics: Mapping[str, str] = MappingProxyType({})
    followed: Mapping[TopicPartition, int] = MappingProxyType({})
    misplaced: int = 0


def offsets_record(
    offsets: Mapping[TopicPartition, int],
    topics: Mapping[str, str] | None = None,
    followed: Mapping[TopicPartition, int] | None = None,
) -> tuple[bytes, bytes]:
    """The changelog's offsets record, written in the transaction that commits the offsets.

    It also holds the topics' ids: a topic that was created again has another one. And up to which offsets of
    the ``followed`` topics dead letters are written: the group does not subscribe to these topics, so Kafka
    lets its offsets of them expire.
    """
    body = {tp.topic: offset for tp, offset in sorted(offsets.items())}
    body |= {f"{topic}{_ID}{topic_id}": 0 for topic, topic_id in sorted((topics or {}).items())}
    body |= {f"{tp.topic}{_NUMBER}{tp.partition}": at for tp, at in sorted((followed or {}).items())}
    return OFFSETS_KEY, orjson.dumps(body)


async def restore(
    settings: Settings, names: Names, number: int, engine: Engine, read: Callable[[int], None] | None = None
) -> Restored:
    """Fill the engine from the partition number's changelogs; ``read`` is called with numbers of records.

    The producer must be started before: then the earlier owner is fenced and can write nothing more.

    Raises:
        RestoreError: a topic is missing, does not answer, or holds a record that this version cannot read.
    """
    learner = TopicPartition(names.learner_rows, number)
    skill = TopicPartition(names.skill_rows, number)
    struggle = TopicPartition(names.prediction("struggle"), number)
    interventions = TopicPartition(names.interventions, number)
    sources = (learner, skill, struggle, interventions)
    reader = clients.consumer(settings, fetch_max_wait_ms=100)
    count = 0
    misplaced: set[tuple[str, bytes]] = set()
    offsets: dict[TopicPartition, int] = {}
    known: dict[str, str] = {}
    followed: dict[TopicPartition, int] = {}
    await reader.start()
    try:
        await _check_existence(reader, sources)
        reading = clients.read_to_end(
            reader, sources, max_records=clients.RECORDS_AT_ONCE, stalled_seconds=settings.stalled_seconds / 2
        )
        async for tp, records in reading:
            for record in records:
                if tp == learner and record.key == OFFSETS_KEY and record.value is not None:
                    offsets, known, followed = _offsets(record, number)
            kept = _at_home(records, tp, settings.partitions, misplaced)
            _load(engine, sources, tp, [record for record in kept if record.key != OFFSETS_KEY])
            count += len(records)
            if read is not None:
                read(len(records))
        blank = (await reader.end_offsets([learner]))[learner] == 0
    except clients.Stalled as error:
        raise RestoreError(f"{error}: is the broker that leads it up? Start it, or {REBUILD}") from None
    finally:
        await clients.stop(reader)
    engine.loaded()
    return Restored(count, offsets, blank, known, followed, len(misplaced))


def _at_home(
    records: Sequence[ConsumerRecord], tp: TopicPartition, partitions: int, misplaced: set[tuple[str, bytes]]
) -> list[ConsumerRecord]:
    """The records without those of other partition numbers' learners, whose keys go into ``misplaced``."""
    kept = []
    for record, is_out in zip(records, elsewhere(records, tp.partition, partitions), strict=True):
        if not is_out:
            kept.append(record)
        else:
            (misplaced.discard if record.value is None else misplaced.add)((tp.topic, record.key))
    return kept


async def _check_existence(reader: AIOKafkaConsumer, sources: Iterable[TopicPartition]) -> None:
    """Refuse a missing topic: a consumer would wait for it for ever. One that may not be seen is not missing.

    Raises:
        RestoreError: a topic is missing, or the user may not describe it.
    """
    try:
        found = await existence.existing(reader, {tp.topic for tp in sources})
    except existence.TopicHidden as hidden:
        raise RestoreError(str(hidden)) from None
    there = await reader.topics() if found is None else {entry["topic"] for entry in found}
    for tp in sources:
        if tp.topic not in there:
            raise RestoreError(f"topic {tp.topic} is missing, and with it what was kept in it: {REBUILD}")


def _load(
    engine: Engine, sources: Sequence[TopicPartition], tp: TopicPartition, records: Sequence[ConsumerRecord]
) -> None:
    """Hand records to the engine; if one cannot be read, find out which.

    Raises:
        RestoreError: naming topic, partition and offset.
    """

    def load(chunk: Sequence[ConsumerRecord]) -> None:
        pairs = [(record.key, record.value) for record in chunk]
        engine.load(*(pairs if tp == source else [] for source in sources))

    try:
        load(records)
    except UNREADABLE as error:
        bad, reason = records[0], error
        for record in records:
            try:
                load([record])
            except UNREADABLE as cause:
                bad, reason = record, cause
                break
        raise _unreadable(bad, reason) from None


def _unreadable(record: ConsumerRecord, error: Exception) -> RestoreError:
    where = f"{record.topic}/{record.partition} offset {record.offset}"
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    # The message of a LayoutError names the version that reads the record.
    remedy = "" if isinstance(error, LayoutError) else "it was written by another program, or is damaged; "
    return RestoreError(f"{where} cannot be read back ({reason}): {remedy}to go on without it, {REBUILD}")


def _offsets(
    record: ConsumerRecord, number: int
) -> tuple[dict[TopicPartition, int], dict[str, str], dict[TopicPartition, int]]:
    """The offsets, topic ids and followed topics' offsets of an offsets record."""
    offsets, ids, followed = {}, {}, {}
    try:
        for name, offset in orjson.loads(record.value).items():
            topic, is_id, topic_id = str(name).partition(_ID)
            where, is_followed, followed_number = topic.partition(_NUMBER)
            if is_id:
                ids[topic] = topic_id
            elif is_followed:
                followed[TopicPartition(where, int(followed_number))] = int(offset)
            else:
                offsets[TopicPartition(topic, number)] = int(offset)
    except (ValueError, TypeError, AttributeError) as error:
        raise _unreadable(record, error) from None
    return offsets, ids, followed


async def same_topics(admin: AIOKafkaAdminClient, names: Names, restored: Restored) -> dict[str, str]:
    """The ids of the topics that rows are computed from or stored in; called after the restore.

    Raises:
        OffsetError: a topic was created again since the rows were written.
    """
    current = await clients.topic_ids(admin, names.lasting)
    known = restored.topics
    changed = [
        f"{topic} (id {current[topic]}, was {known[topic]})"
        for topic in names.lasting
        if topic in current and known.get(topic, current[topic]) != current[topic]
    ]
    if changed:
        raise OffsetError(
            f"{', '.join(changed)}: created again since the rows were written, and its records are gone; "
            f"{REBUILD}"
        )
    return {**known, **current}


async def committed_counts(
    admin: AIOKafkaAdminClient, settings: Settings, partitions: Iterable[TopicPartition]
) -> EventCounts:
    """The event counts in the metadata of a partition number's committed offsets; 0 at first."""
    committed = await _committed(admin, settings, list(partitions))
    return offset_metadata.newest(entry.metadata for entry in committed.values()) or EventCounts()


async def committed_offsets(
    admin: AIOKafkaAdminClient,
    reader: AIOKafkaConsumer,
    settings: Settings,
    partitions: Iterable[TopicPartition],
    restored: Restored | None = None,
) -> dict[TopicPartition, int]:
    """The next offset to read of each partition: the group's committed one, else the first.

    Raises:
        OffsetError: a committed offset is outside of its partition, or differs from the offset that was
            restored with the rows; `OffsetsBehind` if it is lower.
    """
    wanted = list(partitions)
    committed = await _committed(admin, settings, wanted)
    first = await reader.beginning_offsets(wanted)
    last = await reader.end_offsets(wanted)
    offsets: dict[TopicPartition, int] = {}
    for tp in wanted:
        known = None if committed[tp].offset < 0 else committed[tp].offset
        offset = first[tp] if known is None else known
        if not first[tp] <= offset <= last[tp]:
            raise OffsetError(
                f"{tp.topic}/{tp.partition}: the group {settings.app_id} has committed {offset}, but the "
                f"topic has {first[tp]} to {last[tp]}: it was created again or has lost records; {REBUILD}"
            )
        if restored is not None:
            _compare(tp, settings.app_id, known, first[tp], restored)
        offsets[tp] = offset
    return offsets


def _compare(tp: TopicPartition, group: str, committed: int | None, first: int, restored: Restored) -> None:
    """Refuse a committed offset that differs from the rows' one: events would be counted twice, or never.

    Both are written in the same transaction, so they differ only if one of them was changed afterwards.
    """
    recorded = restored.offsets.get(tp)
    where = f"{tp.topic}/{tp.partition}"
    if recorded is None:
        if restored.blank and committed is not None and committed > first:
            raise OffsetError(
                f"{where}: the group {group} has committed {committed}, but the changelog of the learners' "
                f"rows is empty: it was created again; {REBUILD}"
            )
        return
    if committed is None:
        raise OffsetsBehind(
            f"{where}: the group {group} has no offset, but the rows hold everything up to {recorded}: "
            f"the topic was created again, or the offsets were deleted or have expired; {REBUILD}"
        )
    if committed != recorded:
        raise (OffsetsBehind if committed < recorded else OffsetError)(
            f"{where}: the group {group} has committed {committed}, but the rows hold everything up to "
            f"{recorded}: the offsets or the rows were reset; {REBUILD}"
        )


async def _committed(
    admin: AIOKafkaAdminClient, settings: Settings, wanted: list[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    # The first group of a cluster waits until Kafka has created the offsets topic.
    return await clients.persist(
        lambda: clients.committed(admin, settings.app_id, wanted), FIRST_GROUP_SECONDS
    )

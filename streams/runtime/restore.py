"""Opening a partition number: its rows and its memory from the log, and where its inputs stand."""

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
from lyo.streams.kafka import clients, offset_metadata
from lyo.streams.kafka.offset_metadata import EventCounts
from lyo.streams.runtime.ports import Engine
from lyo.streams.settings import Settings
from lyo.streams.topics import Names

# Of rows of 4 KB; all tasks of a process may read at once.
RECORDS_AT_ONCE = 2_000
FIRST_GROUP_SECONDS = 15.0


REBUILD = "stop every worker and sink, run `lyo rebuild`, and start them again (docs/rebuild.md)"
OFFSETS_KEY = b"#offsets"
"""Key of the changelog's record that says up to where the inputs are in the rows, and of which topics."""
# No topic's name has this in it: an earlier version takes `TOPIC#ID` for one more offset, and hands it on.
_ID = "#"
UNREADABLE = (LayoutError, ValueError, KeyError, msgspec.MsgspecError, RecursionError)


class OffsetError(RuntimeError):
    """Committed offsets, topics and rows do not fit together: one of them was set back or made anew."""


class OffsetsBehind(OffsetError):
    """The group stands before its rows: set back, or a broker that was just started does not know yet."""


class RestoreError(RuntimeError):
    """A partition number's rows cannot be read back; the message says which record and what to do."""


class Restored(NamedTuple):
    """What a restore has found.

    Attributes:
        rows: the number of records read.
        offsets: up to where the rows say that the inputs are in them; empty if they do not say.
        blank: the changelog of the learners has never held anything.
        topics: the ids that the topics had when the rows were written; of those that the rows say.
    """

    rows: int
    offsets: dict[TopicPartition, int]
    blank: bool
    topics: Mapping[str, str] = MappingProxyType({})


def offsets_record(
    offsets: Mapping[TopicPartition, int], topics: Mapping[str, str] | None = None
) -> tuple[bytes, bytes]:
    """The changelog's record of the inputs' offsets, written in the transaction that commits them.

    It also says the ids of the topics, which are others where one was made anew.
    """
    said = {tp.topic: offset for tp, offset in sorted(offsets.items())}
    said |= {f"{topic}{_ID}{given}": 0 for topic, given in sorted((topics or {}).items())}
    return OFFSETS_KEY, orjson.dumps(said)


async def restore(
    settings: Settings, names: Names, number: int, engine: Engine, read: Callable[[int], None] | None = None
) -> Restored:
    """Fill the engine from the partition number's changelogs; ``read`` is told of records as they are read.

    Called after the producer was started, so that nothing of an earlier owner's can still be added.

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
    offsets: dict[TopicPartition, int] = {}
    known: dict[str, str] = {}
    await reader.start()
    try:
        await _look_for(reader, sources)
        reading = clients.read_to_end(
            reader, sources, max_records=RECORDS_AT_ONCE, stalled_seconds=settings.stalled_seconds / 2
        )
        async for tp, records in reading:
            for record in records:
                if tp == learner and record.key == OFFSETS_KEY and record.value is not None:
                    offsets, known = _offsets(record, number)
            _load(engine, sources, tp, [record for record in records if record.key != OFFSETS_KEY])
            count += len(records)
            if read is not None:
                read(len(records))
        blank = (await reader.end_offsets([learner]))[learner] == 0
    except clients.Stalled as error:
        raise RestoreError(f"{error}: is the broker that leads it up? Start it, or {REBUILD}") from None
    finally:
        await clients.stop(reader)
    engine.loaded()
    return Restored(count, offsets, blank, known)


async def _look_for(reader: AIOKafkaConsumer, sources: Iterable[TopicPartition]) -> None:
    """Refuse a topic that is not there: a consumer would wait for it for ever."""
    there = await reader.topics()
    for tp in sources:
        if tp.topic not in there:
            raise RestoreError(f"topic {tp.topic} is missing, and with it what was kept in it: {REBUILD}")


def _load(
    engine: Engine, sources: Sequence[TopicPartition], tp: TopicPartition, records: Sequence[ConsumerRecord]
) -> None:
    """Hand records to the engine; where one cannot be read, find out which.

    Raises:
        RestoreError: naming topic, partition and offset.
    """

    def hand(some: Sequence[ConsumerRecord]) -> None:
        pairs = [(record.key, record.value) for record in some]
        engine.load(*(pairs if tp == source else [] for source in sources))

    try:
        hand(records)
    except UNREADABLE as error:
        bad, reason = records[0], error
        for record in records:
            try:
                hand([record])
            except UNREADABLE as why:
                bad, reason = record, why
                break
        raise _unreadable(bad, reason) from None


def _unreadable(record: ConsumerRecord, error: Exception) -> RestoreError:
    where = f"{record.topic}/{record.partition} offset {record.offset}"
    said = " ".join(str(error).split())[:200] or type(error).__name__
    # An error of the layout says itself which version reads it.
    remedy = "" if isinstance(error, LayoutError) else "it was written by another program, or is damaged; "
    return RestoreError(f"{where} cannot be read back ({said}): {remedy}to go on without it, {REBUILD}")


def _offsets(record: ConsumerRecord, number: int) -> tuple[dict[TopicPartition, int], dict[str, str]]:
    """Offsets and topic ids of an `offsets_record`."""
    offsets, ids = {}, {}
    try:
        for name, at in orjson.loads(record.value).items():
            topic, is_id, given = str(name).partition(_ID)
            if is_id:
                ids[topic] = given
            else:
                offsets[TopicPartition(topic, number)] = int(at)
    except (ValueError, TypeError, AttributeError) as error:
        raise _unreadable(record, error) from None
    return offsets, ids


async def same_topics(admin: AIOKafkaAdminClient, names: Names, restored: Restored) -> dict[str, str]:
    """The ids of the topics that the rows follow from or lie in; to be asked for after the restore.

    Raises:
        OffsetError: a topic is not the one that the rows were written with.
    """
    found = await clients.topic_ids(admin, names.lasting)
    known = restored.topics
    changed = [
        f"{topic} (id {found[topic]}, was {known[topic]})"
        for topic in names.lasting
        if topic in found and known.get(topic, found[topic]) != found[topic]
    ]
    if changed:
        raise OffsetError(
            f"{', '.join(changed)}: created anew since the rows were written, and what was in it is gone; "
            f"{REBUILD}"
        )
    return {**known, **found}


async def committed_counts(
    admin: AIOKafkaAdminClient, settings: Settings, partitions: Iterable[TopicPartition]
) -> EventCounts:
    """The counts that the committed offsets of a partition number carry; none at first."""
    committed = await _committed(admin, settings, list(partitions))
    return offset_metadata.newest(entry.metadata for entry in committed.values()) or EventCounts()


async def committed_offsets(
    admin: AIOKafkaAdminClient,
    reader: AIOKafkaConsumer,
    settings: Settings,
    partitions: Iterable[TopicPartition],
    restored: Restored | None = None,
) -> dict[TopicPartition, int]:
    """The next offset to read of each partition: as the group committed, else the first.

    Raises:
        OffsetError: a committed offset lies outside of its partition, or is not the one that the rows which
            were restored say; `OffsetsBehind` if it is before that one.
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
                f"{tp.topic}/{tp.partition}: the group {settings.app_id} stands at {offset}, but the topic "
                f"has {first[tp]} to {last[tp]}: it was created anew or has lost records; {REBUILD}"
            )
        if restored is not None:
            _compare(tp, settings.app_id, known, first[tp], restored)
        offsets[tp] = offset
    return offsets


def _compare(tp: TopicPartition, group: str, committed: int | None, first: int, restored: Restored) -> None:
    """Refuse offsets that are not those of the rows: events would be counted twice, or never.

    Both are written in the same transaction, so that they differ only where someone has changed one of them.
    """
    recorded = restored.offsets.get(tp)
    where = f"{tp.topic}/{tp.partition}"
    if recorded is None:
        if restored.blank and committed is not None and committed > first:
            raise OffsetError(
                f"{where}: the group {group} stands at {committed}, but the changelog of the learners' rows "
                f"is empty: it was created anew; {REBUILD}"
            )
        return
    if committed is None:
        raise OffsetsBehind(
            f"{where}: the group {group} has no offset, but the rows hold everything up to {recorded}: "
            f"the topic was created anew, or the offsets were deleted or have expired; {REBUILD}"
        )
    if committed != recorded:
        raise (OffsetsBehind if committed < recorded else OffsetError)(
            f"{where}: the group {group} stands at {committed}, but the rows hold everything up to "
            f"{recorded}: the offsets or the rows were set back; {REBUILD}"
        )


async def _committed(
    admin: AIOKafkaAdminClient, settings: Settings, wanted: list[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    # A cluster's first group waits until Kafka has made the topic of its offsets.
    return await clients.persist(
        lambda: clients.committed(admin, settings.app_id, wanted), FIRST_GROUP_SECONDS
    )

"""Opening a partition number: its rows and its memory from the log, and where its inputs stand."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams import kafka, tally
from streams.ports import Engine
from streams.settings import Settings
from streams.tally import Tally
from streams.topics import Names

RECORDS_AT_ONCE = 20_000
FIRST_GROUP_SECONDS = 15.0


class OffsetError(RuntimeError):
    """Committed offsets and topics do not fit together: a topic was created anew, or lost records."""


async def restore(settings: Settings, names: Names, number: int, engine: Engine) -> int:
    """Fill the engine from the partition number's changelogs; gives the number of records read.

    Called after the producer was started, so that nothing of an earlier owner's can still be added.
    """
    learner = TopicPartition(names.learner_rows, number)
    skill = TopicPartition(names.skill_rows, number)
    struggle = TopicPartition(names.prediction("struggle"), number)
    interventions = TopicPartition(names.interventions, number)
    sources = (learner, skill, struggle, interventions)
    reader = kafka.consumer(settings, fetch_max_wait_ms=100)
    count = 0
    await reader.start()
    try:
        async for tp, records in kafka.read_to_end(reader, sources, max_records=RECORDS_AT_ONCE):
            pairs = [(record.key, record.value) for record in records]
            engine.load(*(pairs if tp == source else [] for source in sources))
            count += len(pairs)
    finally:
        await kafka.stop(reader)
    engine.loaded()
    return count


async def tally_of(
    admin: AIOKafkaAdminClient, settings: Settings, partitions: Iterable[TopicPartition]
) -> Tally:
    """The counts that the committed offsets of a partition number carry; none at first."""
    committed = await admin.list_consumer_group_offsets(settings.app_id, partitions=list(partitions))
    return tally.newest(entry.metadata for entry in committed.values()) or Tally()


async def standing(
    admin: AIOKafkaAdminClient,
    reader: AIOKafkaConsumer,
    settings: Settings,
    partitions: Iterable[TopicPartition],
) -> dict[TopicPartition, int]:
    """The next offset to read of each partition: as the group committed, else the first.

    Raises:
        OffsetError: a committed offset lies outside of its partition.
    """
    wanted = list(partitions)
    # A cluster's first group waits until Kafka has made the topic of its offsets.
    committed = await kafka.persist(
        lambda: admin.list_consumer_group_offsets(settings.app_id, partitions=wanted), FIRST_GROUP_SECONDS
    )
    first = await reader.beginning_offsets(wanted)
    last = await reader.end_offsets(wanted)
    offsets: dict[TopicPartition, int] = {}
    for tp in wanted:
        entry = committed.get(tp)
        offset = first[tp] if entry is None or entry.offset < 0 else entry.offset
        if not first[tp] <= offset <= last[tp]:
            raise OffsetError(
                f"{tp.topic}/{tp.partition}: the group {settings.app_id} stands at {offset}, but the topic "
                f"has {first[tp]} to {last[tp]}: it was created anew or has lost records"
            )
        offsets[tp] = offset
    return offsets

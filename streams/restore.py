"""Opening a partition number: its rows and its memory from the log, and where its inputs stand."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupLoadInProgressError

from streams import kafka
from streams.ports import Engine
from streams.settings import Settings
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
    committed = await kafka.persist(lambda: _committed(admin, settings.app_id, wanted), FIRST_GROUP_SECONDS)
    first = await reader.beginning_offsets(wanted)
    last = await reader.end_offsets(wanted)
    offsets: dict[TopicPartition, int] = {}
    for tp in wanted:
        offset = first[tp] if committed[tp] < 0 else committed[tp]
        if not first[tp] <= offset <= last[tp]:
            raise OffsetError(
                f"{tp.topic}/{tp.partition}: the group {settings.app_id} stands at {offset}, but the topic "
                f"has {first[tp]} to {last[tp]}: it was created anew or has lost records"
            )
        offsets[tp] = offset
    return offsets


async def _committed(
    admin: AIOKafkaAdminClient, group: str, wanted: list[TopicPartition]
) -> dict[TopicPartition, int]:
    """The group's committed offset of each partition, -1 where Kafka says that there is none.

    Raises:
        GroupLoadInProgressError: Kafka did not say. aiokafka looks at no error of the answer as a whole
            (the coordinator is loading, or has moved) and gives no partition at all; taken for "never
            committed", everything would be read and counted again from the beginning.
    """
    found = await admin.list_consumer_group_offsets(group, partitions=wanted)
    missing = [tp for tp in wanted if tp not in found]
    if missing:
        raise GroupLoadInProgressError(f"Kafka does not say where {group} stands in {missing[0].topic}")
    return {tp: found[tp].offset for tp in wanted}

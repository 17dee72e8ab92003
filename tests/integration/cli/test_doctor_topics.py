"""What `lyo doctor` finds in topics, and what it mends there."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka import TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from lyo.ops.doctor.examine import examine, put_right
from lyo.ops.doctor.findings import well
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.servers.doctor import bad, execute

pytestmark = pytest.mark.integration


async def delete_topic(settings: Settings, name: str) -> None:
    """Delete a topic and wait until the broker knows nothing of it any more."""
    async with clients.admin(settings) as client:
        await client.delete_topics([name])
        until = time.monotonic() + 30
        while name in await client.list_topics():
            assert time.monotonic() < until
            await asyncio.sleep(0.05)


async def configure(settings: Settings, name: str, config: dict[str, str]) -> None:
    """Give a topic these settings and wait until the broker tells them."""
    resource = ConfigResource(ConfigResourceType.TOPIC, name, config)
    async with clients.admin(settings) as client:
        await client.alter_configs([resource])
        until = time.monotonic() + 30
        while True:
            (answer,) = await client.describe_configs([resource])
            told = {entry[0]: entry[1] for entry in answer.resources[0][4]}
            if config.items() <= told.items():
                return
            assert time.monotonic() < until, told
            await asyncio.sleep(0.05)


def spec_of(settings: Settings, name: str) -> topics.TopicSpec:
    return next(spec for spec in topics.specs(settings) if spec.name == name)


async def committed(settings: Settings, offsets: dict[TopicPartition, int]) -> None:
    reader = clients.consumer(settings, group_id=settings.app_id)
    await reader.start()
    try:
        reader.assign(list(offsets))
        await reader.commit(offsets)
    finally:
        await reader.stop()


# ---------------------------------------------------------------- Kafka


async def test_a_missing_topic_is_named_and_only_that_one_is_created(ready: Settings) -> None:
    name = topics.names(ready).predictions["timing"]
    await delete_topic(ready, name)
    found = await examine(ready)
    assert set(bad(found)) == {("topics.there", name)}
    assert await put_right(ready, found) == [f"created {name}"]
    assert well(await examine(ready))


async def test_a_changelog_that_is_missing_with_events_counted_is_not_created_empty(ready: Settings) -> None:
    names = topics.names(ready)
    sessions = TopicPartition(next(iter(names.inputs)), 0)
    async with clients.producer(ready) as producer:
        for _ in range(5):
            await producer.send_and_wait(sessions.topic, b"{}", partition=0)
    await committed(ready, {sessions: 5})
    await delete_topic(ready, names.learner_rows)
    found = await examine(ready)
    finding = bad(found)["topics.there", names.learner_rows]
    assert "5 records were already counted" in finding.found
    assert await put_right(ready, found) == []
    assert bad(await examine(ready))


async def test_a_wrong_number_of_partitions_is_told_with_both_numbers(ready: Settings) -> None:
    more = ready.model_copy(update={"partitions": 6})
    found = bad(await examine(more))
    name = topics.names(ready).learner_rows
    assert found["topics.partitions", name].found == "4 partitions where the settings say 6"
    catalogue = set(topics.names(ready).catalogue)
    assert {about for check, about in found if check == "topics.partitions"} == {
        spec.name for spec in topics.specs(ready) if spec.name not in catalogue
    }
    assert "topics.co-partitioned" not in {check for check, _ in found}


async def test_topics_that_are_not_co_partitioned_are_told_apart_by_their_numbers(ready: Settings) -> None:
    name = topics.names(ready).skill_rows
    spec = spec_of(ready, name)
    await delete_topic(ready, name)
    await topic_admin.create(ready, [topics.TopicSpec(name, 3, spec.replication, spec.config)])
    found = bad(await examine(ready))
    assert {check for check, _ in found} == {"topics.partitions", "topics.co-partitioned"}
    together = next(one for (check, _), one in found.items() if check == "topics.co-partitioned")
    assert f"3: {name};" in together.found


@pytest.mark.parametrize(
    ("key", "value", "of"),
    [
        ("cleanup.policy", "delete", "learner_rows"),
        ("cleanup.policy", "compact", "inputs"),
        ("retention.ms", "3600000", "inputs"),
    ],
)
async def test_a_setting_that_loses_records_is_an_error_with_the_command_that_mends_it(
    ready: Settings, key: str, value: str, of: str
) -> None:
    names = topics.names(ready)
    name = names.learner_rows if of == "learner_rows" else next(iter(names.inputs))
    config = spec_of(ready, name).config
    await configure(ready, name, config | {key: value})
    found = await examine(ready)
    assert set(bad(found)) == {("topics.settings", name)}
    finding = bad(found)["topics.settings", name]
    assert finding.found.startswith(f"{key}={value} where {config[key]} is specified: ")
    assert finding.to_do.endswith(f"--entity-name {name} --add-config {key}={config[key]}")
    assert await put_right(ready, found) == [], "--fix changes nothing that is there"


async def test_a_topic_kept_for_longer_than_specified_is_well(ready: Settings) -> None:
    name = topics.names(ready).dead_letters
    await configure(ready, name, spec_of(ready, name).config | {"retention.ms": "-1"})
    assert well(await examine(ready))


async def test_more_replicas_than_brokers_are_refused_before_anything_is_created(settings: Settings) -> None:
    wanting = settings.model_copy(update={"replication": 3})
    found = await examine(wanting)
    finding = bad(found)["kafka.replication", "1 broker"]
    assert "LYO_REPLICATION=3, and there is 1 broker" in finding.found
    done = await put_right(wanting, found)
    refused = [line for line in done if line.startswith("could not create")]
    assert len(refused) == len(topics.specs(settings))
    assert "InvalidReplicationFactor" in refused[0]


async def test_a_broker_that_refuses_our_time_outs_is_found(ready: Settings) -> None:
    slow = ready.model_copy(update={"session_timeout_ms": 1_800_001})
    found = next(one for (check, _), one in bad(await examine(slow)).items() if check == "kafka.settings")
    assert "group.max.session.timeout.ms=1800000 is less than LYO_SESSION_TIMEOUT_MS=1800001" in found.found


async def test_committed_offsets_beyond_a_topic_made_anew_are_found(ready: Settings) -> None:
    name = next(iter(topics.names(ready).inputs))
    await committed(ready, {TopicPartition(name, 1): 7})
    found = bad(await examine(ready))
    assert set(found) == {("kafka.offsets", name)}
    assert "partition 1 at 7, records 0 to 0" in found["kafka.offsets", name].found


async def test_the_sinks_offsets_beyond_a_topic_made_anew_are_found(ready: Settings) -> None:
    name = topics.names(ready).learner_rows
    insert = f"INSERT INTO sink_offsets (topic, partition, next_offset, epoch) VALUES ('{name}', 2, 9, 1)"
    await execute(ready.database_url, insert)
    found = bad(await examine(ready))
    assert set(found) == {("postgres.offsets", name)}
    assert "lyo sink --rebuild" in found["postgres.offsets", name].to_do

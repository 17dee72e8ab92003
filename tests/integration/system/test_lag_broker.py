"""Lag against a real broker: equal to its own tool, exact on idle partitions, empty topics and log gaps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from lyo.models.events.decode import Kind
from lyo.ops.monitor.snapshot import Status
from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.monitor.watching import partition, seen, watching, workers
from tests.support.servers import broker_tool
from tests.support.worker.running import events, publish, publisher

pytestmark = [pytest.mark.integration]


@pytest.fixture
async def member(ready: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """A member of the workers' group that processes nothing by itself."""
    reader = clients.consumer(ready, *topics.names(ready).inputs, group_id=ready.app_id)
    await reader.start()
    yield reader
    await reader.stop()


def inputs(settings: Settings) -> list[TopicPartition]:
    names = topics.names(settings).inputs
    return [TopicPartition(name, number) for name in names for number in range(settings.partitions)]


async def test_lag_is_what_the_brokers_own_tool_says(ready: Settings, member: AIOKafkaConsumer) -> None:
    async with publisher(ready) as producer:
        await publish(ready, producer, events(300, users=40))
    ends = await member.end_offsets(inputs(ready))
    await member.commit({tp: end // (2 + tp.partition) for tp, end in ends.items()})
    async with watching(ready) as monitor:
        await seen(monitor, lambda shown: workers(shown).state == "Stable", "a member")
        group = workers(await monitor.look())
    said = await asyncio.to_thread(broker_tool.describe, ready.bootstrap_servers, ready.app_id)
    ours = {(one.topic, one.partition): (one.position, one.end, one.events) for one in group.partitions}
    assert ours == {place: (row.current, row.end, row.lag) for place, row in said.items()}
    assert group.events == sum(row.lag or 0 for row in said.values())
    assert 0 < group.events < 300


async def test_lag_in_seconds_is_the_age_of_the_first_record_that_waits(
    ready: Settings, member: AIOKafkaConsumer
) -> None:
    now = time.time_ns() // 1_000_000
    topic = topics.names(ready).topic(Kind.SESSION)
    async with publisher(ready) as producer:
        for age in (3_600, 1_800, 60):
            await producer.send_and_wait(topic, b"{}", partition=1, timestamp_ms=now - age * 1_000)
    async with watching(ready) as monitor:
        for done, age in ((0, 3_600), (1, 1_800), (2, 60)):
            await member.commit({TopicPartition(topic, 1): done})
            snapshot = await monitor.look()
            found = partition(workers(snapshot), topic, 1)
            assert found.events == 3 - done
            assert found.seconds == (snapshot.at - (now - age * 1_000)) / 1000
            assert found.status is Status.LAGGING
        await member.commit({TopicPartition(topic, 1): 3})
        idle = partition(workers(await monitor.look()), topic, 1)
        assert (idle.events, idle.seconds, idle.status) == (0, 0.0, Status.OK)


async def test_empty_topics_are_zero_behind_and_missing_ones_unknown(
    settings: Settings, ready: Settings, member: AIOKafkaConsumer
) -> None:
    async with watching(ready) as monitor:
        group = workers(await seen(monitor, lambda shown: workers(shown).status is Status.OK, "ok"))
        assert {(one.events, one.seconds) for one in group.partitions} == {(0, 0.0)}
    elsewhere = ready.model_copy(update={"topic_prefix": f"{ready.topic_prefix}none."})
    async with watching(elsewhere) as monitor:
        missing = workers(await monitor.look())
    assert {(one.events, one.seconds, one.status) for one in missing.partitions} == {
        (None, None, Status.UNKNOWN)
    }
    assert len(missing.partitions) == len(inputs(ready))


async def test_markers_of_transactions_are_no_wait(ready: Settings, member: AIOKafkaConsumer) -> None:
    topic = topics.names(ready).topic(Kind.SESSION)
    place = TopicPartition(topic, 0)
    producer = clients.producer(ready, f"{ready.app_id}-outside")
    await producer.start()
    try:
        for abort in (True, False, True):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"{}", partition=0)
            await (producer.abort_transaction() if abort else producer.commit_transaction())
        # Offsets: aborted 0, its marker 1, committed 2, marker 3, aborted 4, marker 5.
        async with watching(ready) as monitor:
            found = partition(workers(await monitor.look()), topic, 0)
            assert found.events == 6
            assert (found.seconds or 0) > 0
            await member.commit({place: 3})
            found = partition(workers(await monitor.look()), topic, 0)
            assert (found.events, found.seconds, found.status) == (3, 0.0, Status.OK)
    finally:
        await producer.stop()


async def test_a_record_of_an_open_transaction_waits_until_it_is_decided(
    ready: Settings, member: AIOKafkaConsumer
) -> None:
    topic = topics.names(ready).topic(Kind.SESSION)
    producer = clients.producer(ready, f"{ready.app_id}-outside")
    await producer.start()
    try:
        await producer.begin_transaction()
        stamp = time.time_ns() // 1_000_000 - 30_000
        await producer.send_and_wait(topic, b"{}", partition=0, timestamp_ms=stamp)
        async with watching(ready) as monitor:
            await member.commit({TopicPartition(topic, 0): 0})
            snapshot = await monitor.look()
            found = partition(workers(snapshot), topic, 0)
            assert found.seconds == (snapshot.at - stamp) / 1000
            assert "open" in found.why
            await producer.abort_transaction()
            found = partition(
                workers(await seen(monitor, lambda shown: workers(shown).seconds == 0.0, "aborted")), topic, 0
            )
            assert found.status is Status.OK
    finally:
        await producer.stop()


async def test_records_deleted_from_the_logs_beginning_are_not_waited_for(
    ready: Settings, member: AIOKafkaConsumer
) -> None:
    topic = topics.names(ready).topic(Kind.SESSION)
    place = TopicPartition(topic, 2)
    now = time.time_ns() // 1_000_000
    async with publisher(ready) as producer:
        for age in (900, 600, 300):
            await producer.send_and_wait(topic, b"{}", partition=2, timestamp_ms=now - age * 1_000)
    await member.commit({place: 1})
    async with watching(ready) as monitor:
        await monitor.look()
        async with clients.admin(ready) as client:
            await client.delete_records({place: _up_to(2)})
        snapshot = await seen(
            monitor, lambda shown: partition(workers(shown), topic, 2).first == 2, "records are gone"
        )
        found = partition(workers(snapshot), topic, 2)
        assert found.status is Status.REWOUND
        assert found.seconds == (snapshot.at - (now - 300_000)) / 1000
        async with clients.admin(ready) as client:
            await client.delete_records({place: _up_to(3)})
        await member.commit({place: 3})
        idle = await seen(monitor, lambda shown: workers(shown).status is Status.OK, "an idle partition")
        assert partition(workers(idle), topic, 2).seconds == 0.0


def _up_to(offset: int) -> object:
    from aiokafka.admin import RecordsToDelete

    return RecordsToDelete(before_offset=offset)


async def test_a_group_that_is_gone_is_stopped_and_one_never_seen_too(ready: Settings) -> None:
    async with watching(ready) as monitor:
        group = workers(await monitor.look())
        assert (group.status, group.members) == (Status.STOPPED, 0)
        reader = clients.consumer(ready, *topics.names(ready).inputs, group_id=ready.app_id)
        await reader.start()
        try:
            await seen(monitor, lambda shown: workers(shown).status is Status.OK, "a member")
        finally:
            await reader.stop()
        await seen(monitor, lambda shown: workers(shown).status is Status.STOPPED, "no member")


async def test_a_broker_that_cannot_be_reached_leaves_everything_unknown(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    async with watching(nowhere) as monitor:
        snapshot = await monitor.look()
    assert not snapshot.kafka.ok
    assert snapshot.sink_delay_seconds is None
    for group in snapshot.groups:
        assert (group.status, group.events, group.seconds) == (Status.UNKNOWN, None, None)
        assert len(group.partitions) > settings.partitions

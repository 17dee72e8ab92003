"""A task's state is what was committed, and only the newest owner of a number can add to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced

from lyo.models.events.decode import Kind, Rejected
from lyo.streams import topic_admin, topics
from lyo.streams.failpoints import Failpoints
from lyo.streams.kafka import clients
from lyo.streams.producers.transactional_producer import RecordTooLarge, TransactionalProducer
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.global_topics import CatalogueFollower
from lyo.streams.runtime.restore import OffsetError, committed_offsets, restore
from lyo.streams.runtime.task import Task
from lyo.streams.settings import Settings
from tests.support.worker.counting_worker import CountingEngine
from tests.support.worker.running import publisher, read, until

pytestmark = pytest.mark.integration


def opened(settings: Settings, number: int = 1) -> TransactionalProducer:
    return TransactionalProducer(settings, number, topics.names(settings).dead_letters, Failpoints())


async def test_restore_reads_what_was_committed_and_nothing_that_was_aborted(
    kafka_settings: Settings,
) -> None:
    await topic_admin.ensure(kafka_settings)
    names = topics.names(kafka_settings)
    rows = names.learner_rows
    first = opened(kafka_settings)
    await first.start()
    await first.transact({}, {rows: [(b"4", b"[1,10]"), (b"16", b"[1,20]")]}, {}, 0)
    await first.transact({}, {rows: [(b"4", b"[2,30]")]}, {}, 0)
    lost = clients.producer(kafka_settings, f"{kafka_settings.app_id}-other")
    await lost.start()
    await lost.begin_transaction()
    await lost.send_and_wait(rows, b"[99,99]", b"16", partition=1)
    await lost.abort_transaction()
    await lost.stop()
    await first.transact({}, {rows: [(b"24", b"[7,40]")]}, {}, 0)
    await first.stop()
    engine = CountingEngine()
    assert (await restore(kafka_settings, names, 1, engine)).rows == 4
    assert engine.users == {4: (2, 30), 16: (1, 20), 24: (7, 40)}
    other = CountingEngine()
    assert (await restore(kafka_settings, names, 2, other)).rows == 0
    assert other.users == {}


async def test_an_earlier_owner_of_a_number_is_refused_by_the_broker(kafka_settings: Settings) -> None:
    await topic_admin.ensure(kafka_settings)
    rows = topics.names(kafka_settings).learner_rows
    stale, newer = opened(kafka_settings), opened(kafka_settings)
    await stale.start()
    await stale.transact({}, {rows: [(b"1", b"[1,1]")]}, {}, 0)
    await newer.start()
    await newer.transact({}, {rows: [(b"1", b"[2,2]")]}, {}, 0)
    with pytest.raises(ProducerFenced):
        await stale.transact({}, {rows: [(b"1", b"[9,9]")]}, {}, 0)
    await newer.stop()
    await stale.stop()
    assert [record.value for record in await read(kafka_settings, rows)] == [b"[1,1]", b"[2,2]"]


async def test_an_owner_learns_from_the_broker_whether_it_still_is_one(kafka_settings: Settings) -> None:
    await topic_admin.ensure(kafka_settings)
    inputs = [TopicPartition(name, 1) for name in topics.names(kafka_settings).inputs]
    first = opened(kafka_settings)
    await first.start()
    await first.transact({}, {}, {inputs[0]: 7}, 0)
    await first.prove(inputs)
    second = opened(kafka_settings)
    await second.start()
    with pytest.raises(ProducerFenced):
        await first.prove(inputs)
    await second.prove(inputs)
    await first.stop()
    await second.stop()
    async with clients.admin(kafka_settings) as admin:
        found = await admin.list_consumer_group_offsets(kafka_settings.app_id, partitions=inputs)
    assert {tp: entry.offset for tp, entry in found.items()} == dict.fromkeys(inputs, -1) | {inputs[0]: 7}


class Awaiting(TransactionalProducer):
    """Hands over a batch only when the broker has answered the one before."""

    async def _submit(self, producer: object, batch: object, topic: str, number: int | None) -> None:
        await asyncio.gather(*self._futures, return_exceptions=True)
        await super()._submit(producer, batch, topic, number)


async def test_an_owner_fenced_while_it_hands_over_a_transaction_is_told_that_it_is_fenced(
    kafka_settings: Settings,
) -> None:
    await topic_admin.ensure(kafka_settings)
    names = topics.names(kafka_settings)
    stale = Awaiting(kafka_settings, 1, names.dead_letters, Failpoints())
    newer = opened(kafka_settings)
    await stale.start()
    await newer.start()
    with pytest.raises(ProducerFenced):
        await stale.transact(
            {}, {names.learner_rows: [(b"1", b"[1,1]")], names.skill_rows: [(b"1|a", b"b")]}, {}, 0
        )
    await newer.stop()
    await stale.stop()
    assert await read(kafka_settings, names.learner_rows) == []


class Nowhere:
    """A group's reader that reads nothing."""

    async def seek_to(self, offsets: object) -> None: ...

    def resume(self, partitions: object) -> None: ...


async def test_offsets_are_read_when_no_earlier_owner_can_move_them_any_more(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await topic_admin.ensure(kafka_settings)
    names = topics.names(kafka_settings)
    tp = TopicPartition(names.topic(Kind.SESSION), 1)
    earlier = opened(kafka_settings)
    await earlier.start()

    class Late(TransactionalProducer):
        """The earlier owner's last batch comes in the moment before it is fenced."""

        async def start(self) -> None:
            await earlier.transact({}, {names.learner_rows: [(b"4", b"[2,20]")]}, {tp: 2}, 0)
            await super().start()

    monkeypatch.setattr("lyo.streams.runtime.task.TransactionalProducer", Late)
    offsets = clients.consumer(kafka_settings)
    await offsets.start()
    try:
        async with publisher(kafka_settings) as producer, clients.admin(kafka_settings) as client:
            for _ in range(3):
                await producer.send_and_wait(tp.topic, b"{}", b"4", partition=1)
            context = TaskContext(
                kafka_settings,
                names,
                engine=cast("Any", CountingEngine),
                catalogue=cast("Any", None),
                reader=cast("Any", Nowhere()),
                offsets=offsets,
                admin=client,
            )
            task = Task(1, context)
            await task._open()
            assert task.input.expected[tp] == 2
            assert cast("Any", task.engine).users == {4: (2, 20)}
            await task._discard()
    finally:
        await offsets.stop()
        await earlier.stop()


async def test_a_prediction_too_large_becomes_a_dead_letter_and_a_row_too_large_an_error(
    kafka_settings: Settings,
) -> None:
    await topic_admin.ensure(kafka_settings)
    names = topics.names(kafka_settings)
    topic = names.prediction("timing")
    sender = opened(kafka_settings)
    await sender.start()
    large = b"x" * 2_000_000
    await sender.transact({topic: [(b"1", large), (b"2", b"fits")]}, {}, {}, 0)
    with pytest.raises(RecordTooLarge):
        await sender.transact({}, {names.learner_rows: [(b"1", large)]}, {}, 0)
    await sender.stop()
    assert [record.key for record in await read(kafka_settings, topic)] == [b"2"]
    (letter,) = await read(kafka_settings, names.dead_letters)
    assert b"2000000 bytes" in letter.value
    assert topic.encode() in letter.value


async def test_a_committed_offset_beyond_a_topic_created_anew_is_refused(kafka_settings: Settings) -> None:
    await topic_admin.ensure(kafka_settings)
    names = topics.names(kafka_settings)
    tp = TopicPartition(names.topic(Kind.SESSION), 1)
    async with publisher(kafka_settings) as producer:
        await producer.send_and_wait(tp.topic, b"{}", b"1", partition=1)
    sender = opened(kafka_settings)
    await sender.start()
    reader = clients.consumer(kafka_settings)
    await reader.start()
    try:
        async with clients.admin(kafka_settings) as client:

            def stands_at(offset: int) -> Callable[[], Awaitable[bool]]:
                async def there() -> bool:
                    found = await client.list_consumer_group_offsets(kafka_settings.app_id, partitions=[tp])
                    return tp in found and found[tp].offset == offset

                return there

            assert await committed_offsets(client, reader, kafka_settings, [tp]) == {tp: 0}
            await sender.transact({names.prediction("timing"): [(b"1", b"a")]}, {}, {tp: 1}, 0)
            # The broker answers a commit before its marker has reached the topic of the offsets.
            await until(stands_at(1), 30, "the first committed offset is there")
            await sender.transact({names.prediction("timing"): [(b"1", b"b")]}, {}, {tp: 5}, 0)
            await until(stands_at(5), 30, "the second one is there")
            with pytest.raises(OffsetError, match="has committed 5, but the topic has 0 to 1"):
                await committed_offsets(client, reader, kafka_settings, [tp])
    finally:
        await reader.stop()
        await sender.stop()


class Contents:
    """Remembers the keys it was given."""

    def __init__(self) -> None:
        self.keys: list[bytes | None] = []

    def put(self, kind: Kind, key: bytes | None, value: bytes | None) -> Rejected | None:
        self.keys.append(key)
        return None


async def test_content_acknowledged_before_a_batch_is_seen_by_it(kafka_settings: Settings) -> None:
    await topic_admin.ensure(kafka_settings)
    names = topics.names(kafka_settings)
    contents = Contents()
    follower = CatalogueFollower(kafka_settings, names, contents)
    ends = clients.consumer(kafka_settings)
    await ends.start()
    try:
        async with publisher(kafka_settings) as producer:
            await producer.send_and_wait(names.topic(Kind.CONTENT), b"{}", b"before", partition=0)
            await follower.start(ends)
            assert contents.keys == [b"before"]
            for number in range(30):
                kind = (Kind.CONTENT, Kind.ORGANIZATION)[number % 2]
                await producer.send_and_wait(names.topic(kind), b"{}", b"%d" % number, partition=0)
                await follower.catch_up()
                assert contents.keys[-1] == b"%d" % number
    finally:
        await follower.stop()
        await ends.stop()

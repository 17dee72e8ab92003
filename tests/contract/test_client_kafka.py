"""The publishers' client on a real Kafka: where events go, what is acknowledged, and what is flushed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from lyo.models.events.decode import Kind, decode, decode_content, decode_organization, partition
from lyo.models.state.layout import decode_learners
from lyo.predictive.client import (
    AnyEvent,
    BufferFull,
    DeliveryError,
    InvalidEvent,
    Publisher,
    TopicError,
    Unreachable,
    content,
    lesson_completion,
    organization,
    publish_all,
    sentiment,
)
from lyo.predictive.client import session as stay
from lyo.streams import topic_admin, topics
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka
from tests.support.contract.client_events import FULL, build
from tests.support.processes import process
from tests.support.worker.running import all_done, read

pytestmark = pytest.mark.integration


@pytest.fixture
async def ready(kafka_settings: Settings) -> Settings:
    """Settings whose topics are there."""
    await topic_admin.ensure(kafka_settings)
    return kafka_settings


async def log(settings: Settings, kind: Kind) -> list[ConsumerRecord]:
    """Everything on the topic of a kind."""
    return await read(settings, topics.names(settings).topic(kind))


def values(records: list[ConsumerRecord], kind: Kind) -> list[Any]:
    """The events of some records, read as the worker reads them."""
    if kind in topics.CATALOGUE_KINDS:
        reader: Callable[..., Any] = decode_content if kind is Kind.CONTENT else decode_organization
        return [reader(record.key, record.value) for record in records]
    columns, rejected = decode(
        kind,
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
    )
    assert rejected == []
    return columns.rows


async def test_every_kind_is_keyed_and_partitioned_as_the_worker_reads_it(ready: Settings) -> None:
    made = {name: build(name, **arguments) for name, arguments in FULL.items()}
    async with Publisher(settings=ready) as events:
        receipts = {name: await events.publish(event) for name, event in made.items()}
    for name, event in made.items():
        kind, receipt = Kind(name), receipts[name]
        [record] = await log(ready, kind)
        assert values([record], kind) == [event]
        assert (record.topic, record.partition, record.offset) == (
            receipt.topic,
            receipt.partition,
            receipt.offset,
        )
        user = getattr(event, "user_id", None)
        assert record.partition == (0 if user is None else partition(user, ready.partitions))


async def test_the_typed_methods_publish_and_return_where_it_stands(ready: Settings) -> None:
    async with Publisher(settings=ready) as events:
        receipt = await events.lesson_completion(user_id=7, content_id="c", skills=["s"], score=0.5)
        again = await events.lesson_completion(user_id=7, content_id="c", skills=["s"], event_id="mine")
    assert (receipt.kind, receipt.offset, again.offset, again.id) == (Kind.LESSON_COMPLETION, 0, 1, "mine")
    rows = values(await log(ready, Kind.LESSON_COMPLETION), Kind.LESSON_COMPLETION)
    assert [row.event_id for row in rows] == [receipt.id, "mine"]


async def test_many_awaited_at_once_keep_their_order_and_know_their_offsets(ready: Settings) -> None:
    made = [sentiment(user_id=n % 40 + 1, value=0.0, event_id=f"e{n}") for n in range(3_000)]
    async with Publisher(settings=ready) as events:
        receipts = await asyncio.gather(*(events.publish(event) for event in made))
    found = {(r.partition, r.offset): r for r in await log(ready, Kind.SENTIMENT)}
    assert len(found) == len(made)
    for event, receipt in zip(made, receipts, strict=True):
        record = found[receipt.partition, receipt.offset]
        assert f'"event_id":"{event.event_id}"'.encode() in record.value
    for user in range(1, 41):
        offsets = [r.offset for e, r in zip(made, receipts, strict=True) if e.user_id == user]
        assert offsets == sorted(offsets)


async def test_a_program_without_an_event_loop_publishes_too(ready: Settings) -> None:
    made = [sentiment(user_id=user, value=0.0) for user in range(1, 101)]
    receipts = await asyncio.to_thread(publish_all, made, settings=ready, buffer=30)
    assert [receipt.id for receipt in receipts] == [event.event_id for event in made]
    with pytest.raises(InvalidEvent):
        await asyncio.to_thread(publish_all, [made[0], sentiment(user_id=1, value=9)], settings=ready)
    assert len(await log(ready, Kind.SENTIMENT)) == 101


async def test_a_small_buffer_holds_back_and_loses_nothing(ready: Settings) -> None:
    async with Publisher(settings=ready, buffer=3) as events:
        for number in range(200):
            await events.send(sentiment(user_id=number + 1, value=0.0))
    assert len(await log(ready, Kind.SENTIMENT)) == 200


async def test_send_nowait_says_when_there_is_no_room(ready: Settings) -> None:
    event = sentiment(user_id=7, value=0.0)
    async with Publisher(settings=ready, buffer=2) as events:
        deliveries = [events.send_nowait(event), events.send_nowait(event)]
        with pytest.raises(BufferFull, match="2 events"):
            events.send_nowait(event)
        assert not deliveries[0].done
        await events.flush()
        assert [(await delivery).offset for delivery in deliveries] == [0, 1]
        assert (await events.send_nowait(event)).offset == 2


async def test_an_exception_in_the_block_still_flushes_what_was_accepted(ready: Settings) -> None:
    async def failing() -> None:
        async with Publisher(settings=ready) as events:
            for user in range(1, 501):
                events.send_nowait(sentiment(user_id=user, value=0.0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert len(await log(ready, Kind.SENTIMENT)) == 500


async def test_a_task_that_is_cancelled_still_flushes_what_was_accepted(ready: Settings) -> None:
    accepted = asyncio.Event()

    async def publishing() -> None:
        async with Publisher(settings=ready) as events:
            events.send_nowait(sentiment(user_id=7, value=0.0))
            accepted.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(publishing())
    await accepted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await log(ready, Kind.SENTIMENT)) == 1


async def test_an_event_that_is_refused_stops_nothing_else(ready: Settings) -> None:
    async with Publisher(settings=ready) as events:
        results = await asyncio.gather(
            events.sentiment(user_id=7, value=0.1),
            events.sentiment(user_id=7, value=7),
            events.sentiment(user_id=7, value=0.2),
            return_exceptions=True,
        )
    assert [type(result).__name__ for result in results] == ["Receipt", "InvalidEvent", "Receipt"]
    assert isinstance(results[1], InvalidEvent)
    assert len(await log(ready, Kind.SENTIMENT)) == 2


async def test_the_catalogue_is_there_before_what_comes_after_it(ready: Settings) -> None:
    async with Publisher(settings=ready) as events:
        sent: list[AnyEvent] = [
            organization(organization_id=3),
            content(content_id="c", skills=["s"]),
            lesson_completion(user_id=7, content_id="c", skills=["s"]),
        ]
        deliveries = [events.send_nowait(event) for event in sent]
        await deliveries[2]
        assert deliveries[0].done
        assert deliveries[1].done
    stamps = [(await log(ready, kind))[0].timestamp for kind in (Kind.CONTENT, Kind.LESSON_COMPLETION)]
    assert stamps == sorted(stamps)


async def test_the_topics_own_number_of_partitions_counts(ready: Settings) -> None:
    unsaid: dict[str, Any] = {
        "bootstrap_servers": ready.bootstrap_servers,
        "topic_prefix": ready.topic_prefix,
    }
    async with Publisher(**unsaid) as events:
        receipts = [await events.sentiment(user_id=user, value=0.0) for user in range(1, 21)]
    assert [r.partition for r in receipts] == [partition(user, ready.partitions) for user in range(1, 21)]
    with pytest.raises(TopicError, match="partitions"):
        await Publisher(**unsaid, partitions=ready.partitions + 1).start()


async def test_missing_topics_are_named(kafka_settings: Settings) -> None:
    with pytest.raises(TopicError, match=rf"{kafka_settings.topic_prefix}[a-z-]+ does not exist"):
        await Publisher(settings=kafka_settings).start()


async def test_a_kafka_that_is_not_there_is_said() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9 did not answer within 0\.2 s"):
        await Publisher(bootstrap_servers="127.0.0.1:9", connect_seconds=0.2).start()


async def test_a_broker_that_goes_away_is_said_with_the_events_and_they_count_once_when_sent_again(
    own_kafka: LocalKafka,
) -> None:
    settings = Settings(bootstrap_servers=own_kafka.bootstrap_servers, partitions=2)
    await topic_admin.ensure(settings)
    made = [sentiment(user_id=user, value=0.0) for user in range(1, 6)]
    events = Publisher(settings=settings, patience=5.0)
    await events.start()
    await events.publish(made[0])
    await asyncio.to_thread(own_kafka.kill)
    with pytest.raises(DeliveryError, match=r"sentiment [0-9a-f-]+: .*within 5 s") as one:
        await events.publish(made[1])
    assert one.value.events == [made[1]]
    for event in made[2:]:
        events.send_nowait(event)
    with pytest.raises(DeliveryError, match="3 events were not acknowledged") as three:
        await events.close()
    assert three.value.events == made[2:]
    await asyncio.to_thread(own_kafka.start)
    async with Publisher(settings=settings) as later:
        await asyncio.gather(*(later.publish(event) for event in made[1:]))
    rows = values(await log(settings, Kind.SENTIMENT), Kind.SENTIMENT)
    assert {row.event_id for row in rows} == {event.event_id for event in made}


async def test_a_broker_that_is_back_in_time_gets_everything_once(own_kafka: LocalKafka) -> None:
    settings = Settings(bootstrap_servers=own_kafka.bootstrap_servers, partitions=2)
    await topic_admin.ensure(settings)
    made = [
        stay(user_id=user, started_at=sentiment(user_id=1, value=0).occurred_at) for user in range(1, 300)
    ]
    async with Publisher(settings=settings) as events:
        for event in made[:100]:
            await events.send(event)
        await asyncio.to_thread(own_kafka.kill)
        for event in made[100:]:
            await events.send(event)
        await asyncio.to_thread(own_kafka.start)
    rows = values(await log(settings, Kind.SESSION), Kind.SESSION)
    assert sorted(row.user_id for row in rows) == list(range(1, 300))


@pytest.mark.slow
async def test_an_event_that_is_sent_twice_is_counted_once(
    ready: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    one, other = (lesson_completion(user_id=7, content_id="c", skills=["s"], score=0.5) for _ in range(2))
    async with Publisher(settings=ready) as events:
        await events.publish(one)
        await events.publish(one)
        await events.publish(other)
    async with Publisher(settings=ready) as events:
        await events.publish(one)
    assert len(await log(ready, Kind.LESSON_COMPLETION)) == 4
    async with process("worker", environment(ready), tmp_path / "worker.log"):
        await all_done(ready, 4)
    rows = await read(ready, topics.names(ready).learner_rows)
    newest = [record.value for record in rows if record.key == b"7"][-1]
    assert decode_learners([newest])["completions"].tolist() == [2]
    assert await read(ready, topics.names(ready).dead_letters) == []

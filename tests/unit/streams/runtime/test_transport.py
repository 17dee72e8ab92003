"""What is overridden of Faust is what it was written against, and polls come through it whole."""

from __future__ import annotations

import hashlib
import inspect
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka import TopicPartition

from lyo import agents
from lyo.models.events.decode import Kind
from lyo.streams import topics
from lyo.streams.runtime.transport import (
    OVERRIDDEN,
    Poll,
    PollSchema,
    PollTransport,
    create_app,
    input_topics,
)
from lyo.streams.runtime.worker import Worker, WorkerError
from lyo.streams.settings import Settings
from tests.support.worker.counting_worker import CountingEngine, EmptyCatalogue

WRITTEN_AGAINST = {
    "App._new_transport": "42db531312dd776f",
    "App._create_directories": "a9f571c3b04abec3",
    "AIOKafkaConsumerThread._create_worker_consumer": "c2701bfc3e6f6cad",
    "AIOKafkaConsumerThread.getmany": "26fc5fc9f3b667e1",
    "AIOKafkaConsumerThread._fetch_records": "39a2c6c79fc1455a",
    "Consumer._new_consumer_thread": "0870ec53dea75083",
    "Consumer._drain_messages": "44a2500309e83c63",
    "Consumer.getmany": "4b168d84882a70d6",
    "Consumer._wait_next_records": "6218e1969a636b3f",
    "Consumer.force_commit": "cc094614d22c70fb",
    "ThreadDelegateConsumer._getmany": "f9d47aa9010b5ff2",
    "ConsumerThread.getmany": "cc67dcb583c2a8d9",
    "Schema.compile": "d46eec5ce3195b2c",
}


def fingerprint(function: Any) -> str:
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]


@pytest.mark.parametrize("function", OVERRIDDEN, ids=lambda function: function.__qualname__)
def test_an_overridden_method_has_not_changed(function: Any) -> None:
    found = fingerprint(function)
    assert WRITTEN_AGAINST[function.__qualname__] == found, (
        f"faust-streaming {faust.__version__} changed {function.__qualname__}: compare it with "
        f"streams/runtime/transport.py, then write {found!r} here"
    )


def worker(**settings: Any) -> Worker:
    return Worker(
        Settings(**settings), catalogue=EmptyCatalogue(), engine=CountingEngine, register=agents.register
    )


def test_the_app_uses_our_transport_and_starts_no_producer_and_no_web_server() -> None:
    app = create_app(Settings())
    boot: Any = app.boot_strategy
    assert isinstance(app.transport, PollTransport)
    assert list(boot.web_server()) == []
    assert list(boot.kafka_producer()) == []
    assert not app.in_transaction
    assert not app.conf.topic_allow_declare


def test_each_input_topic_has_one_agent_and_none_is_acked() -> None:
    app = create_app(Settings())
    agents.register(app, lambda _: None)
    assert {name.rpartition(".")[2] for name in app.agents} == {
        "lesson_completions",
        "sessions",
        "sentiment",
        "outcomes",
        "preferences",
        "struggle_requests",
    }
    read = {topic for agent in app.agents.values() for topic in agent.channel.topics}
    assert read == set(topics.names(Settings()).inputs)
    assert not any(topic.acks for topic in input_topics(app).values())


async def test_a_poll_passes_through_the_schema_as_it_is() -> None:
    poll = Poll(TopicPartition("t", 0), 5, 9, [])
    app = SimpleNamespace(create_event=lambda *parts: parts)
    decode = PollSchema().compile(app)
    message = SimpleNamespace(value=poll)
    _, value, _, given = await decode(message, propagate=True)
    assert value is poll
    assert given is message


async def test_an_agent_hands_over_every_poll() -> None:
    delivered: list[Poll] = []
    polls = [Poll(TopicPartition("t", 0), number, number + 1, []) for number in range(3)]

    async def stream() -> Any:
        for poll in polls:
            yield poll

    await agents.agent(delivered.append)(stream())
    assert delivered == polls


def test_an_assignment_that_is_not_co_partitioned_is_refused() -> None:
    one = worker()
    whole = [TopicPartition(name, number) for name in one.names.inputs for number in (0, 3)]
    assert one.co_partitioned(whole) == {0, 3}
    assert one.co_partitioned([]) == set()
    lacking = [tp for tp in whole if tp != TopicPartition(topics.topic(Kind.SESSION), 3)]
    with pytest.raises(WorkerError, match=r"partition 3 without lyo\.sessions"):
        one.co_partitioned(lacking)
    added = [*whole, TopicPartition(topics.topic(Kind.SESSION), one.settings.partitions)]
    with pytest.raises(WorkerError, match=r"^lyo\.sessions got more partitions than LYO_PARTITIONS="):
        one.co_partitioned(added)

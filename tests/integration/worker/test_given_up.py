"""A producer that is given up while Kafka is away leaves nothing behind that goes on in the background."""

from __future__ import annotations

import asyncio

import pytest

from lyo.streams import topic_admin, topics
from lyo.streams.failpoints import Failpoints
from lyo.streams.producers.transactional_producer import TransactionalProducer
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka

pytestmark = pytest.mark.integration


async def test_nothing_is_left_of_a_transaction_that_kafka_was_away_for(own_kafka: LocalKafka) -> None:
    settings = Settings(bootstrap_servers=own_kafka.bootstrap_servers, partitions=1)
    await topic_admin.ensure(settings)
    names = topics.names(settings)
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    tasks = asyncio.all_tasks()
    producer = TransactionalProducer(settings, 0, names.dead_letters, Failpoints())
    await producer.start()
    rows = {names.learner_rows: [(b"1", b"row")]}
    await producer.transact({}, rows, {}, 0)
    own_kafka.kill()
    in_vain = asyncio.create_task(producer.transact({}, rows, {}, 0))
    await asyncio.wait({in_vain}, timeout=2)
    assert in_vain.cancel()
    await asyncio.wait({in_vain})
    assert asyncio.all_tasks() > tasks
    await producer.stop()
    assert asyncio.all_tasks() == tasks
    assert told == []

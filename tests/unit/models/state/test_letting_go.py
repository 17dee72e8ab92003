"""A state that a worker has let go of leaves its memory, though the collector does not come by itself."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import psutil
import pytest
from aiokafka.errors import KafkaError
from aiokafka.producer.transaction_manager import TransactionManager

from lyo.models.arrays.zones import DAY
from lyo.streams.bootstrap import create_worker
from lyo.streams.failpoints import Failpoints
from lyo.streams.memory import give_back
from lyo.streams.producers.transactional_producer import TransactionalProducer
from lyo.streams.runtime.ports import Engine
from lyo.streams.settings import Settings
from tests.support.learners.building import START, Stream
from tests.support.learners.sampled import lives


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """As in a worker, which collects so seldom that it may not come in an hour."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_an_engine_refers_to_nothing_that_refers_to_it() -> None:
    stream = Stream()
    stream.feed(lives(3, 200))
    stream.sweep(START + 60 * DAY)
    again = stream.restored()
    engines = [weakref.ref(stream.engine), weakref.ref(again.engine)]
    del stream, again
    assert [engine() for engine in engines] == [None, None]


@pytest.mark.usefixtures("_no_collector")
async def test_what_an_error_keeps_of_a_state_is_gone_before_the_next_is_read_back() -> None:
    worker = create_worker(Settings(), lambda _app, _deliver: None)

    async def batch(engine: Engine) -> None:
        # The error is the future's, as in aiokafka's producer, and this frame, which has both, the error's.
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(KafkaError("gone"))
        assert engine is not None
        await answer

    engine = weakref.ref(first := worker._engine())
    with suppress(KafkaError):
        await batch(first)
    del first
    assert engine() is not None, "nothing kept it: the test says nothing"
    worker._engine()
    assert engine() is None


class FailingProducer:
    """A producer with aiokafka's own account of its transaction, which Kafka refuses to commit."""

    def __init__(self) -> None:
        self._txn_manager = TransactionManager("lyo-0", 1_000)
        self._txn_manager.set_pid_and_epoch(1, 0)

    async def begin_transaction(self) -> None:
        self._txn_manager.begin_transaction()

    async def commit_transaction(self) -> None:
        error = KafkaError("gone")
        self._txn_manager.fatal_error(error)
        raise error


async def test_a_producer_that_failed_is_let_go_of_without_a_word() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    producer = TransactionalProducer(Settings(), 0, "lyo.dead-letters", Failpoints())
    producer._producer = cast("Any", FailingProducer())
    with pytest.raises(KafkaError, match="gone"):
        await producer.transact({}, {}, {}, 0)
    del producer
    gc.collect()
    assert told == []


def test_freed_memory_between_what_is_still_used_is_given_back() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("a C library without it")
    process = psutil.Process()
    size = 4_096
    rows = [bytes([number % 251 + 1]) * size for number in range(20_000)]
    kept = rows[::100]
    del rows
    before = process.memory_info().rss
    give_back()
    assert before - process.memory_info().rss > len(kept) * 100 * size / 2

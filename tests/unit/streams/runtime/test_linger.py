"""Little that comes soon after a transaction waits for more; what comes after a rest, or much, does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from lyo.streams.producers import linger
from lyo.streams.producers.linger import FACTOR, MOST_SECONDS, Linger
from lyo.streams.runtime.record_buffer import RecordBuffer
from lyo.streams.runtime.transport import Poll


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(linger, "time", clock)
    return clock


def test_the_first_transaction_does_not_wait(clock: SimpleNamespace) -> None:
    assert Linger().remaining <= 0
    clock.now = 0.0
    assert Linger().remaining <= 0


def test_the_next_waits_for_a_multiple_of_what_the_last_one_took(clock: SimpleNamespace) -> None:
    pacing = Linger()
    pacing.took(0.02)
    assert pacing.remaining == pytest.approx(0.02 * FACTOR)
    clock.now += 0.02 * FACTOR
    assert pacing.remaining == pytest.approx(0)


@pytest.mark.usefixtures("clock")
def test_no_rest_is_longer_than_the_longest() -> None:
    pacing = Linger()
    pacing.took(10.0)
    assert pacing.remaining == MOST_SECONDS


def poll(records: int) -> Poll:
    return Poll(TopicPartition("t", 0), 0, records, [None] * records)


async def test_a_buffer_is_waited_for_until_it_holds_enough() -> None:
    buffer = RecordBuffer(1_000)
    waiting = asyncio.create_task(buffer.fill(3, 3_600))
    for _ in range(2):
        buffer.put(poll(1))
        await asyncio.sleep(0)
        assert not waiting.done()
    buffer.put(poll(1))
    await waiting


async def test_a_buffer_is_waited_for_no_longer_than_said() -> None:
    buffer = RecordBuffer(1_000)
    buffer.put(poll(1))
    await buffer.fill(3, 0.0)
    await buffer.fill(3, -1.0)
    assert buffer.records == 1


async def test_one_that_is_woken_is_not_waited_for_any_more() -> None:
    buffer = RecordBuffer(1_000)
    waiting = asyncio.create_task(buffer.fill(3, 3_600))
    await asyncio.sleep(0)
    buffer.wake()
    await waiting
    await buffer.fill(3, 3_600)
    await buffer.wait(3_600)

"""Little that comes soon after a transaction waits for more; what comes after a rest, or much, does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from lyo.streams.runtime import linger
from lyo.streams.runtime.linger import MOST_SECONDS, REST, Pace
from lyo.streams.runtime.record_buffer import Inbox
from lyo.streams.runtime.transport import Poll


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(linger, "time", clock)
    return clock


def test_the_first_transaction_does_not_wait(clock: SimpleNamespace) -> None:
    assert Pace().rest <= 0
    clock.now = 0.0
    assert Pace().rest <= 0


def test_the_next_waits_for_a_multiple_of_what_the_last_one_took(clock: SimpleNamespace) -> None:
    pacing = Pace()
    pacing.took(0.02)
    assert pacing.rest == pytest.approx(0.02 * REST)
    clock.now += 0.02 * REST
    assert pacing.rest == pytest.approx(0)


@pytest.mark.usefixtures("clock")
def test_no_rest_is_longer_than_the_longest() -> None:
    pacing = Pace()
    pacing.took(10.0)
    assert pacing.rest == MOST_SECONDS


def poll(records: int) -> Poll:
    return Poll(TopicPartition("t", 0), 0, records, [None] * records)


async def test_an_inbox_is_waited_for_until_it_holds_enough() -> None:
    inbox = Inbox(1_000)
    waiting = asyncio.create_task(inbox.fill(3, 3_600))
    for _ in range(2):
        inbox.put(poll(1))
        await asyncio.sleep(0)
        assert not waiting.done()
    inbox.put(poll(1))
    await waiting


async def test_an_inbox_is_waited_for_no_longer_than_said() -> None:
    inbox = Inbox(1_000)
    inbox.put(poll(1))
    await inbox.fill(3, 0.0)
    await inbox.fill(3, -1.0)
    assert inbox.records == 1


async def test_one_that_is_woken_is_not_waited_for_any_more() -> None:
    inbox = Inbox(1_000)
    waiting = asyncio.create_task(inbox.fill(3, 3_600))
    await asyncio.sleep(0)
    inbox.wake()
    await waiting
    await inbox.fill(3, 3_600)
    await inbox.wait(3_600)

"""When a task sweeps, and how far."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lyo.streams.runtime.task import Task
from tests.support.worker.counting_worker import CountingEngine
from tests.support.worker.fake_task import (
    CLOCK,
    SENTIMENT,
    SESSIONS,
    FakeEnds,
    opened,
    poll,
)


@pytest.mark.parametrize(("waiting", "pause"), [(set(), 0.0), ({5}, 1.0)])
async def test_a_sweep_goes_on_at_once_unless_events_of_another_number_wait(
    task: Task, monkeypatch: pytest.MonkeyPatch, waiting: set[int], pause: float
) -> None:
    async def more_is_due() -> bool:
        return True

    monkeypatch.setattr(task, "_sweep", more_is_due)
    task.context.waiting |= waiting
    began = time.monotonic()
    await task._turn()
    assert began + pause <= task._next_sweep <= time.monotonic() + pause


class AlwaysDue(CountingEngine):
    def __init__(self) -> None:
        super().__init__()
        self.pieces = 0

    def due(self, limit: int, read_until: int = 0) -> bool:
        return True

    def sweep(self, limit: int, most: int = 5000, read_until: int = 0) -> Any:
        self.pieces += 1
        return super().sweep(limit, most)


@pytest.mark.parametrize(("waiting", "pieces"), [(set(), 2), ({5}, 1)])
async def test_while_events_wait_sweeps_get_a_small_share_of_the_time(
    task: Task, monkeypatch: pytest.MonkeyPatch, waiting: set[int], pieces: int
) -> None:
    async def sent(*_: object) -> None:
        pass

    times = iter(range(100))
    monkeypatch.setattr("lyo.streams.runtime.task.time.monotonic", lambda: float(next(times)))
    monkeypatch.setattr(task, "_transact", sent)
    engine = AlwaysDue()
    task._open_state = opened(engine)
    task.context.waiting |= waiting
    assert await task._sweep()
    assert await task._sweep(), "more is due"
    assert engine.pieces == pieces
    task.context.sweeps_from = 0.0
    assert await task._sweep()
    assert engine.pieces == pieces + 1


async def limit(task: Task) -> int | None:
    found = await task.input.sweep_limit(task.buffer)
    return None if found is None else found.until


async def test_the_sweep_goes_up_to_the_clock_when_everything_is_read(task: Task, ends: FakeEnds) -> None:
    task.input.expected[SESSIONS] = ends.ends[SESSIONS] = 7
    assert await limit(task) == CLOCK


async def test_the_sweep_stops_at_the_oldest_unread_record(task: Task, ends: FakeEnds) -> None:
    ends.ends = {SESSIONS: 5, SENTIMENT: 9}
    task.buffer.put(poll(0, 5, at=CLOCK - 50_000))
    task.buffer.put(poll(0, 5, SENTIMENT, at=CLOCK - 90_000))
    assert await limit(task) == CLOCK - 90_000


async def test_the_last_record_read_is_the_bound_while_the_next_is_unknown(
    task: Task, ends: FakeEnds
) -> None:
    ends.ends = {SESSIONS: 5}
    assert await limit(task) is None, "nothing is known of the backlog's age"
    task.input._last_timestamp[SESSIONS] = CLOCK - 1_000
    assert await limit(task) == CLOCK - 1_000
    task.input._last_timestamp[SESSIONS] = CLOCK + 1_000
    assert await limit(task) == CLOCK, "never beyond the clock"


async def test_what_waits_behind_a_gap_is_not_the_oldest_unread_record(task: Task, ends: FakeEnds) -> None:
    ends.ends = {SESSIONS: 9}
    task.buffer.put(poll(5, 9, at=CLOCK - 1_000))
    assert await limit(task) is None, "0 to 4 were lost on their way, and nobody knows how old they are"
    task.input.expected[SESSIONS] = 5
    assert await limit(task) == CLOCK - 1_000

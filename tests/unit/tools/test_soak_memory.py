"""What a soak calls growth: memory that stays, not what an opening takes for a moment."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.faults.storm import Memory

EVERY = 5.0


def watched(growth: float, seconds: float = 2_400.0) -> Memory:
    """A worker of 100 MB that grows by so many MB an hour; each four minutes it takes 90 MB for a minute."""
    fleet: Any = None
    memory = Memory(fleet, ["worker"], warm_up=1 / 3)
    times = [number * EVERY for number in range(int(seconds / EVERY))]
    memory.samples["worker"] = {
        1: [
            (at, int((100 + growth * at / 3600 + (90 if at % 240 >= 180 or at > seconds - 30 else 0)) * 1e6))
            for at in times
        ],
        2: [(seconds, 500_000_000)],
    }
    return memory


def test_what_an_opening_takes_for_a_moment_is_no_growth() -> None:
    memory = watched(0.0)
    assert memory.slope("worker") == pytest.approx(0.0, abs=1.0)
    assert memory.said("worker").startswith("worker: least of each 5 minutes 100 100 100 100 100 100")
    assert "at most 190 MB" in memory.said("worker")


@pytest.mark.parametrize("growth", [30.0, 60.0, -20.0])
def test_what_stays_is_growth(growth: float) -> None:
    assert watched(growth).slope("worker") == pytest.approx(growth, abs=3.0)


def test_of_a_moment_nothing_can_be_said() -> None:
    memory = watched(60.0, 60.0)
    assert memory.slope("worker") == 0.0

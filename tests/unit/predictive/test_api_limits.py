"""How often a caller may ask, under a clock of the test's own."""

from __future__ import annotations

import pytest

from lyo.predictive.api.access.limits import SWEEP_EVERY, RateLimit, Windows
from lyo.predictive.api.problems import Problem, field_name


class Ticks:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_caller_is_stopped_at_the_limit_and_goes_on_in_the_next_window() -> None:
    clock = Ticks()
    limit = RateLimit("3/minute", clock)
    left = [limit.count("a")["RateLimit"] for _ in range(3)]
    assert left == ['"caller";r=2;t=60', '"caller";r=1;t=60', '"caller";r=0;t=60']
    clock.now += 20.5
    with pytest.raises(Problem) as caught:
        limit.count("a")
    assert caught.value.status == 429
    assert caught.value.headers == {
        "RateLimit-Policy": '"caller";q=3;w=60',
        "RateLimit": '"caller";r=0;t=40',
        "Retry-After": "40",
    }
    clock.now += 39.5
    assert limit.count("a")["RateLimit"] == '"caller";r=2;t=60'


def test_callers_are_counted_apart() -> None:
    limit = RateLimit("1/hour", Ticks())
    limit.count("a")
    limit.count("b")
    with pytest.raises(Problem):
        limit.count("a")


def test_counters_that_have_ended_are_forgotten() -> None:
    clock = Ticks()
    windows = Windows(clock)
    for number in range(10):
        windows.incr(str(number), 60)
    clock.now += 61
    assert windows.get("0") == 0
    for _ in range(SWEEP_EVERY + 2):
        windows.incr("x", 60)
    assert windows.get("x") == SWEEP_EVERY + 2
    assert windows.reset() == 1
    assert windows.check()
    windows.incr("y", 60)
    windows.clear("y")
    assert windows.get_expiry("y") == clock.now


@pytest.mark.parametrize(
    ("location", "name"),
    [
        (("query", "at"), "at"),
        (("body",), "body"),
        (("body", "content_metadata", "prerequisites", 2), "content_metadata.prerequisites[2]"),
        (("body", "contents", 0, "content_id"), "contents[0].content_id"),
    ],
)
def test_a_field_is_named_by_its_path(location: tuple[int | str, ...], name: str) -> None:
    assert field_name(location) == name

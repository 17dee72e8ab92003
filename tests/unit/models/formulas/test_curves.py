"""Forgetting curves, the review date, and activity by local hour and weekday."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas import curves, regression
from lyo.models.formulas.heatmap import week
from lyo.models.state.history import history
from lyo.models.state.regression_span import LOSS
from lyo.models.state.skill import Attempts, empty_skills, fold_attempts
from tests.support.learners.building import (
    START,
    completion,
    learner_row,
    ms,
    preferences,
    run,
    session,
    skill_row,
)

MASTERED = [completion(1, START + day * DAY, "algebra", score=0.95) for day in range(6)]
LAST = START + 5 * DAY


def states(*scores: float, days: float = 1.0) -> NDArray[np.void]:
    """One skill practised with these scores, so many days apart."""
    rows = empty_skills(np.array([1]))
    many = len(scores)
    attempts = Attempts(
        at=START + (np.arange(many) * days * DAY).astype(np.int64),
        id=np.arange(1, many + 1).astype(np.uint64),
        item=np.ones(many, np.uint32),
        score=np.rint(np.array(scores) * 10_000).astype(np.int16),
        seconds=np.full(many, 65_535, np.uint16),
        struggled=(np.array(scores) < 0.5).astype(np.int8),
    )
    fold_attempts(rows, np.zeros(many, np.int64), attempts)
    found: NDArray[np.void] = rows["now"]
    return found


def at(moment: int) -> NDArray[np.int64]:
    return np.array([moment], np.int64)


def one(found: curves.Curves, name: str) -> int:
    return int(getattr(found, name)[0])


def test_the_numbers_of_a_mastered_skill() -> None:
    state = skill_row(run(MASTERED), 1, "algebra")["now"]
    found = curves.forgetting(state, at(LAST + 3 * DAY))
    assert one(found, "last") == LAST
    assert one(found, "peak") == one(found, "learned") > one(found, "now") > one(found, "next_week") > 0
    assert one(found, "limit") == one(found, "peak") - LOSS // 10_000


@given(
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=12),
    gap=st.floats(0.01, 20),
    later=st.integers(0, 400),
)
def test_the_review_date_is_where_the_curve_meets_the_limit(
    scores: list[float], gap: float, later: int
) -> None:
    """From then on, and not before, the skill counts as regressed."""
    state = states(*scores, days=gap)
    last = int(state["last_at"][0])
    found = curves.forgetting(state, at(last + later * DAY))
    review, limit = one(found, "review"), one(found, "limit")
    if limit < 0:
        assert review == -1
        assert not regression.predict(state, at(last + later * DAY)).active[0]
        return
    assert review >= last
    assert regression.predict(state, at(review + HOUR)).active[0]
    if review > last:
        level = curves.points(state, at(review))[0] * 100
        assert level == pytest.approx(limit, abs=0.51)
        assert not regression.predict(state, at(review - 1)).active[0]


@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=12), gap=st.floats(0.01, 20))
def test_a_curve_starts_at_what_was_learned_and_only_falls(scores: list[float], gap: float) -> None:
    state = states(*scores, days=gap)
    last = int(state["last_at"][0])
    drawn = curves.points(state, last + np.arange(0, 200) * DAY)
    assert (np.diff(drawn) <= 0).all()
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert round(drawn[0] * 100 + 1e-7) == pytest.approx(
        one(curves.forgetting(state, at(last)), "learned"), abs=1
    )


def test_the_curve_agrees_with_the_regression_that_goes_out() -> None:
    state = states(*[0.95] * 6)
    for days in (0, 3, 10, 40, 200):
        now = at(int(state["last_at"][0]) + days * DAY)
        curve, lost = curves.forgetting(state, now), regression.predict(state, now)
        assert one(curve, "now") == lost.current[0]
        assert one(curve, "next_week") == lost.next_week[0]
        assert one(curve, "peak") == lost.peak[0]


def test_two_lucky_answers_have_no_peak_and_no_review_date() -> None:
    found = curves.forgetting(states(1.0, 1.0), at(START + 30 * DAY))
    assert (one(found, "peak"), one(found, "limit"), one(found, "review")) == (-1, -1, -1)


def test_a_moment_before_the_last_practice_is_read_as_the_last_practice() -> None:
    state = states(*[0.9] * 4)
    assert one(curves.forgetting(state, at(START)), "now") == one(
        curves.forgetting(state, at(START)), "learned"
    )


# -- the week ----------------------------------------------------------------------------------------------


def grid(events: list[Any], zone: str, moment: int) -> NDArray[np.int64]:
    rows = learner_row(run([preferences(1, START, timezone=zone), *events]), 1)
    zones = Zones([zone])
    return week(history(rows, at(moment), zones), zones)[0]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York", "Pacific/Auckland"])
def test_an_evening_is_at_its_local_hour_and_weekday(zone: str) -> None:
    """Fridays from 20:00 to 21:00 local time, over both changes to daylight saving."""
    fridays = [datetime(2026, 3, 6 + 7 * n, 20, tzinfo=ZoneInfo(zone)) for n in range(4)]
    events = [session(1, ms(each.isoformat()), 60) for each in fridays]
    found = grid(events, zone, ms(fridays[-1].isoformat()) + DAY)
    busy = {(int(day), int(hour)) for day, hour in zip(*np.nonzero(found), strict=True)}
    # A session that ends on the hour ends in its last half hour; an offset of 45 minutes shifts the halves.
    assert busy <= {(4, 19), (4, 20), (4, 21)}
    assert found[4, 20] >= 4


def test_each_half_hour_counts_once_however_much_was_done_in_it() -> None:
    moment = ms("2026-03-02T10:05:00Z")
    events = [completion(1, moment + n * 60_000, "a") for n in range(9)]
    found = grid(events, "UTC", moment + DAY)
    assert found.sum() == found[0, 10] == 1


def test_midnight_belongs_to_the_new_day() -> None:
    late = datetime(2026, 3, 3, 23, 45, tzinfo=UTC)
    found = grid([session(1, ms(late.isoformat()), 40)], "UTC", ms(late.isoformat()) + DAY)
    assert found[1, 23] == 1
    assert found[2, 0] == 1


def test_nothing_done_is_nothing_found() -> None:
    assert grid([], "Europe/Berlin", START + DAY).sum() == 0

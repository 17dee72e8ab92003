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
from lyo.models.formulas.recall import Calibration, calibrate
from lyo.models.state.history import history
from lyo.models.state.plateau_window import GAP
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
from tests.support.learners.engines import fading

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


def memory(slope: float = 0.4, offset: float = 1.0, usual: float = 2.0) -> Calibration:
    """How a learner remembers."""
    return Calibration(np.array([slope]), np.array([offset]), np.array([usual]))


KINDS = st.builds(memory, st.floats(0.1, 1.5), st.floats(-2, 4), st.floats(-2, 5))


def test_the_numbers_of_a_mastered_skill() -> None:
    stream = run(MASTERED)
    state = skill_row(stream, 1, "algebra")["now"]
    learner = calibrate(learner_row(stream, 1), at(LAST + 3 * DAY))
    found = curves.forgetting(state, at(LAST + 3 * DAY), learner)
    assert one(found, "last") == LAST
    assert one(found, "peak") == one(found, "learned") >= one(found, "now") >= one(found, "next_week") > 90


@given(
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=12),
    gap=st.floats(0.01, 20),
    later=st.integers(0, 400),
    learner=KINDS,
)
def test_the_review_date_is_where_the_curve_meets_the_limit(
    scores: list[float], gap: float, later: int, learner: Calibration
) -> None:
    """From then on, and not before, the skill counts as regressed, unless it is on a plateau."""
    state = states(*scores, days=gap)
    last = int(state["last_at"][0])
    found = curves.forgetting(state, at(last + later * DAY), learner)
    review, limit = one(found, "review"), one(found, "limit")
    if limit < 0:
        assert review == -1
        assert not regression.predict(state, at(last + later * DAY), learner).active[0]
        return
    assert review >= last
    free = max(review + HOUR, last + GAP + 1)
    assert regression.predict(state, at(free), learner).active[0]
    if review > last:
        level = curves.points(state, at(review), learner)[0] * 100
        assert level == pytest.approx(limit, abs=0.51)
        assert not regression.predict(state, at(review - 1), learner).active[0]


@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=12), gap=st.floats(0.01, 20), learner=KINDS)
def test_a_curve_starts_at_what_was_learned_and_only_falls(
    scores: list[float], gap: float, learner: Calibration
) -> None:
    state = states(*scores, days=gap)
    last = int(state["last_at"][0])
    drawn = curves.points(state, last + np.arange(0, 200) * DAY, learner)
    assert (np.diff(drawn) <= 0).all()
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert round(drawn[0] * 100 + 1e-7) == pytest.approx(
        one(curves.forgetting(state, at(last), learner), "learned"), abs=1
    )


@given(scores=st.lists(st.floats(0, 1), min_size=3, max_size=9), learner=KINDS)
def test_the_curve_agrees_with_the_regression_that_goes_out(
    scores: list[float], learner: Calibration
) -> None:
    state = states(*scores)
    for days in (0, 3, 10, 40, 200):
        now = at(int(state["last_at"][0]) + days * DAY)
        curve, lost = curves.forgetting(state, now, learner), regression.predict(state, now, learner)
        assert one(curve, "now") == lost.current[0]
        assert one(curve, "next_week") == lost.next_week[0]
        assert one(curve, "peak") == lost.peak[0]
        if lost.active[0]:
            assert lost.peak[0] - lost.current[0] >= curves.LOSS * 100 - 1
            assert lost.detected[0] <= now[0]


def test_a_due_date_uses_only_reviews_of_the_days_before_it_is_set() -> None:
    """What the learner does at other skills from that day on moves later due dates, and not this one."""
    set_at = START + 9 * DAY
    others = [completion(1, set_at + day * DAY, "other", score=0.1) for day in range(7)]
    events = fading(START)
    streams = run(events), run([*events, *others])
    state = skill_row(streams[0], 1, "s")["now"]
    assert skill_row(streams[1], 1, "s")["now"].tobytes() == state.tobytes()

    def due(moment: int) -> list[int]:
        known = [calibrate(learner_row(stream, 1), at(moment)) for stream in streams]
        return [one(curves.forgetting(state, at(moment), learner), "review") for learner in known]

    assert due(set_at)[0] == due(set_at)[1] > set_at
    assert due(set_at + 7 * DAY)[0] != due(set_at + 7 * DAY)[1]


def test_two_lucky_answers_have_no_peak_and_no_review_date() -> None:
    found = curves.forgetting(states(1.0, 1.0), at(START + 30 * DAY), memory())
    assert (one(found, "peak"), one(found, "limit"), one(found, "review")) == (-1, -1, -1)


def test_a_moment_before_the_last_practice_is_read_as_the_last_practice() -> None:
    found = curves.forgetting(states(*[0.9] * 4), at(START), memory())
    assert one(found, "now") == one(found, "learned")


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

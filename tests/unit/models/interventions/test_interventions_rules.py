"""The rules of docs/decisions/043-interventions.md one by one, where the longer stories do not hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.formulas import regression
from lyo.models.interventions import candidates, policy
from tests.support.learners.building import (
    MINUTE,
    START,
    Stream,
    iso,
    ms,
    preferences,
    sentiment,
    session,
)
from tests.support.learners.interventions import DAWN, day_by_day, fading, habit, of_dropout, stuck, to_come

# -- limits set after the decision -------------------------------------------------------------------------

QUIET: dict[str, Any] = {"quiet_hours": {"from": "08:00", "to": "12:00"}}
NONE: dict[str, Any] = {"max_nudges_per_day": 0}


def status(stream: Stream) -> tuple[str, str | None]:
    (nudge,) = of_dropout(stream, type="gentle_nudge")
    return nudge["status"], nudge["reason"]


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (QUIET, "its time now lies within quiet hours"),
        (NONE, "no interventions are wanted any more"),
        (QUIET | NONE, "its time now lies within quiet hours"),
    ],
)
def test_who_opts_out_is_not_reached_any_more(limits: dict[str, Any], why: str) -> None:
    stream, midnight = to_come()
    stream.feed([preferences(1, midnight + 3 * HOUR, **limits)])
    assert status(stream) == ("retracted", why)
    stream = stream.restored()
    stream.sweep(midnight + DAY + DAWN)
    assert status(stream) == ("retracted", why)
    # One decision per reason: it is not decided again when the limits are lifted.
    stream.feed([preferences(1, midnight + DAY + 3 * HOUR, quiet_hours=None, max_nudges_per_day=None)])
    stream.sweep(midnight + 2 * DAY + DAWN)
    assert status(stream) == ("retracted", why)


def test_until_the_day_ends_lifting_the_limits_takes_that_back() -> None:
    stream, midnight = to_come()
    stream.feed([preferences(1, midnight + 3 * HOUR, **NONE)])
    stream = stream.restored()
    stream.feed([preferences(1, midnight + 4 * HOUR, max_nudges_per_day=1)])
    assert status(stream) == ("active", None)


@pytest.mark.parametrize(
    "limits", [{"quiet_hours": {"from": "09:01", "to": "12:00"}}, {"max_nudges_per_day": 1}]
)
def test_limits_that_its_time_satisfies_leave_it(limits: dict[str, Any]) -> None:
    stream, midnight = to_come()
    stream.feed([preferences(1, midnight + 3 * HOUR, **limits)])
    assert status(stream) == ("active", None)


def critical() -> tuple[Stream, int]:
    """A silent learner on the day on which the risk has become critical, and that day's midnight."""
    stream = Stream()
    stream.feed(habit(1, 6))
    day = 6
    while not of_dropout(stream, level="critical"):
        # After the boundary and before its sweep, so that an educator's time is later than the boundary.
        stream.feed([sentiment(1, START + day * DAY + 100 * MINUTE, 0.0)])
        day_by_day(stream, day, day)
        day += 1
    return stream, START + (day - 1) * DAY


def statuses(stream: Stream) -> dict[str, str]:
    return {one["audience"]: one["status"] for one in of_dropout(stream, level="critical")}


def test_an_educator_is_told_whatever_the_learner_sets() -> None:
    stream, midnight = critical()
    assert statuses(stream) == {"learner": "active", "educator": "active"}
    hours = {"from": "00:00", "to": "23:59"}
    stream.feed([preferences(1, midnight + 3 * HOUR, quiet_hours=hours, max_nudges_per_day=0)])
    assert statuses(stream) == {"learner": "retracted", "educator": "active"}


def test_what_was_told_on_an_earlier_day_is_not_taken_back() -> None:
    stream, midnight = critical()
    stream.sweep(midnight + DAY + DAWN)
    stream.feed([preferences(1, midnight + DAY + 3 * HOUR, **QUIET, **NONE)])
    assert statuses(stream) == {"learner": "active", "educator": "active"}


def test_a_zone_that_moves_its_time_into_quiet_hours_counts() -> None:
    stream, midnight = to_come(organization_id=7)
    stream.feed([preferences(1, midnight + 3 * HOUR, quiet_hours={"from": "22:00", "to": "07:00"})])
    assert status(stream) == ("active", None)
    stream.feed([preferences(1, midnight + 4 * HOUR, timezone="America/New_York")])
    assert status(stream) == ("retracted", "its time now lies within quiet hours")


def test_both_reasons_in_one_day_read_the_same_however_they_are_cut() -> None:
    """Who opts out and then studies: what is gone is the reason."""
    nudged = Stream()
    nudged.feed(habit(1, 14))
    day_by_day(nudged, 14, 14)
    found = []
    for cut in (1, 2):
        stream = nudged.restored()
        events = [
            preferences(1, START + 14 * DAY + 3 * HOUR, name="out", **NONE),
            session(1, START + 14 * DAY + 9 * HOUR, name="in"),
        ]
        for start in range(0, 2, cut):
            stream.feed(events[start : start + cut])
        found.append(stream.interventions)
        (nudge,) = stream.decided(type="optimal_timing_nudge")
        assert (nudge["status"], nudge["reason"]) == ("retracted", "the learner has studied today")
    assert found[0] == found[1]


# -- timing nudges at midnight -----------------------------------------------------------------------------


def nudged(stream: Stream) -> list[tuple[str, str, str]]:
    found = stream.decided(type="optimal_timing_nudge")
    return [(one["not_before"], one["episode_start"], one["status"]) for one in found]


def midnight(day: int, status: str = "active") -> tuple[str, str, str]:
    return iso(START + day * DAY), iso(START + day * DAY), status


def test_who_learns_at_midnight_alone_is_nudged_for_the_next_one() -> None:
    stream = Stream()
    stream.feed(habit(1, 14, hour=0))
    assert stream.one("timing", "1")["peak_hours"] == [0]
    day_by_day(stream, 13, 15)
    assert nudged(stream) == [midnight(14), midnight(15), midnight(16)]
    # Who studied on the slot's day is not nudged for it any more; the day before does not matter.
    stream.feed([session(1, START + 15 * DAY + 20 * HOUR)])
    assert nudged(stream)[2] == midnight(16)
    stream.feed([session(1, START + 16 * DAY + 5 * MINUTE, 20)])
    assert nudged(stream)[2] == midnight(16, "retracted")


def test_it_is_the_slots_day_that_must_be_usual() -> None:
    """Mondays and Tuesdays only."""
    stream = Stream()
    for week in range(6):
        stream.feed(habit(1, 2, first=7 * week, hour=0))
    day_by_day(stream, 36, 44)
    assert nudged(stream) == [midnight(42), midnight(43)]


def test_who_learns_until_midnight_is_nudged_when_that_begins() -> None:
    stream = Stream()
    stream.feed([session(1, START + day * DAY + 23 * HOUR, 90) for day in range(14)])
    assert stream.one("timing", "1")["peak_hours"] == [0, 23]
    day_by_day(stream, 15, 16)
    evening = [iso(START + day * DAY + 23 * HOUR) for day in (15, 16)]
    assert [slot for slot, _, _ in nudged(stream)] == evening


def test_a_late_sweep_leaves_the_next_day_to_its_own() -> None:
    stream = Stream()
    stream.feed(habit(1, 14))
    stream.feed([sentiment(1, START + 14 * DAY + 19 * HOUR, 0.0)])
    stream.sweep(START + 14 * DAY + 20 * HOUR)
    assert nudged(stream) == []
    day_by_day(stream, 15, 15)
    assert [slot for slot, _, _ in nudged(stream)] == [iso(START + 15 * DAY + 18 * HOUR)]


# -- cool-downs, hysteresis and caps -----------------------------------------------------------------------

Score = Callable[[int], None]


@pytest.fixture
def risk(monkeypatch: pytest.MonkeyPatch) -> Score:
    """Sets everybody's dropout risk, in hundredths."""
    true_at, given = candidates.LearnerColumns.at.__func__, [0]  # type: ignore[attr-defined]

    def at(cls: Any, state: Any, slots: Any) -> Any:
        look = true_at(cls, state, slots)
        look.score[:] = given[0]
        return look

    monkeypatch.setattr(candidates.LearnerColumns, "at", classmethod(at))
    return lambda score: given.__setitem__(0, score)


def slots(stream: Stream, **wanted: Any) -> list[int]:
    """The times of what was decided, in hours since the start."""
    return sorted((ms(one["not_before"]) - START) // HOUR for one in stream.decided(**wanted))


def each_day(stream: Stream, days: int, risk: Score, score: int) -> list[int]:
    """The days of what is decided of somebody whose risk is as high each night, and is gone each evening."""
    for day in range(days):
        risk(0)
        stream.feed([session(1, START + day * DAY + 18 * HOUR)])
        risk(score)
        day_by_day(stream, day + 1, day + 1)
    return sorted({hours // 24 for hours in slots(stream)})


def test_an_educator_is_told_of_a_learner_at_most_once_a_week(risk: Score) -> None:
    stream = Stream()
    stream.feed([preferences(1, START, max_nudges_per_day=0)])
    assert each_day(stream, 20, risk, 75) == [1, 8, 15]


def test_gentle_nudges_lie_three_days_apart(risk: Score) -> None:
    assert each_day(Stream(), 9, risk, 35) == [1, 4, 7, 10]


def test_other_approaches_lie_seven_days_apart() -> None:
    stream = Stream()
    for day in range(20):
        stream.feed([*stuck(1, 1, "algebra", first=day), *stuck(1, 1, "roots", first=day)])
        day_by_day(stream, day + 1, day + 1)
    first, second = (hours // 24 for hours in slots(stream, type="alternative_approach"))
    assert second - first == 7


def test_after_two_weeks_of_silence_a_usual_hour_is_none_any_more() -> None:
    stream = Stream()
    stream.feed(habit(1, 28))
    day_by_day(stream, 28, 60)
    days = {(ms(one["not_before"]) - START) // DAY for one in stream.told if "timing" in one["type"]}
    assert days == set(range(28, 42))


@pytest.mark.parametrize(("below", "now"), [(0, "active"), (5, "active"), (6, "retracted")])
def test_a_regressions_urgency_is_left_five_points_below_where_it_is_entered(
    monkeypatch: pytest.MonkeyPatch, below: int, now: str
) -> None:
    stream = Stream()
    stream.feed(fading(1))
    day = 7
    while not stream.decided(type="skill_refresh"):
        day_by_day(stream, day, day)
        day += 1
    score = regression.LEVEL_BOUNDS[1] - below

    def signs(state: Any, skills: Any) -> dict[int, Any]:
        found = candidates.open_episodes(state, skills)
        return {
            slot: {of: sign._replace(score=score) for of, sign in some.items()}
            for slot, some in found.items()
        }

    monkeypatch.setattr(policy, "open_episodes", signs)
    stream.feed([sentiment(1, START + day * DAY, 0.0)])
    (refresh,) = stream.decided(type="skill_refresh")
    assert refresh["status"] == now


def test_what_is_urgent_takes_waking_hours_where_the_usual_ones_are_later() -> None:
    stream = Stream()
    stream.feed(habit(1, 14, hour=22))
    day_by_day(stream, 14, 40)
    assert {hours % 24 for hours in slots(stream, type="gentle_nudge")} == {22}
    assert {hours % 24 for hours in slots(stream, type="emotional_support", audience="learner")} == {9}


def late(stream: Stream, day: int, hour: int) -> None:
    """Sweep a learner's day so late that something has come in it."""
    at = START + day * DAY + hour * HOUR
    stream.feed([sentiment(1, at - MINUTE, 0.0)])
    stream.sweep(at)


def test_what_is_superseded_after_its_time_counts_to_the_days_cap(risk: Score) -> None:
    risk(35)
    stream = Stream()
    stream.feed([preferences(1, START, max_nudges_per_day=1), session(1, START)])
    late(stream, 1, 22)
    assert slots(stream) == [2 * 24 + 9]
    risk(55)
    late(stream, 2, 11)
    assert [one["status"] for one in stream.decided(type="gentle_nudge")] == ["superseded"]
    assert slots(stream, type="emotional_support") == [3 * 24 + 9]


def test_what_is_retracted_before_its_time_holds_nothing_back(risk: Score) -> None:
    risk(35)
    stream = Stream()
    stream.feed([session(1, START)])
    late(stream, 1, 22)
    risk(10)
    stream.feed([session(1, START + DAY + 23 * HOUR, 10)])
    assert [one["status"] for one in stream.decided(type="gentle_nudge")] == ["retracted"]
    risk(35)
    day_by_day(stream, 2, 2)
    assert slots(stream, type="gentle_nudge", status="active") == [2 * 24 + 9]

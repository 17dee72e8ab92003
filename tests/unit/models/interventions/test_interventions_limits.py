"""Interventions under all limits: cool-downs, caps, quiet hours, zones, and generated lives cut anyhow."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.interventions.cadence import MOST_PER_DAY
from tests.support.learners.building import (
    MINUTE,
    START,
    Sent,
    Stream,
    catalogue,
    completion,
    ms,
    preferences,
)
from tests.support.learners.interventions import DAWN, day_by_day, habit, of_dropout, silent
from tests.support.learners.limits import local


def regressing(user: int, skills: int) -> list[Sent]:
    """Skills mastered, then failed and left alone, beside others that go well."""
    lost = [
        completion(user, START + day * DAY + 12 * HOUR, f"s{skill}", score=score)
        for skill in range(skills)
        for day, score in enumerate([*[0.8] * 5, *[0.0] * 4])
    ]
    return lost + well(user, range(9), skills)


def well(user: int, days: Iterable[int], skills: int = 1) -> list[Sent]:
    """Reviews that go well."""
    return [
        completion(user, START + day * DAY + 11 * HOUR, f"well-{skill}", score=0.8)
        for skill in range(2 * skills)
        for day in days
    ]


# -- cool-down and cap -------------------------------------------------------------------------------------


def test_refreshes_lie_three_days_apart() -> None:
    stream = Stream()
    stream.feed(regressing(1, 6))
    day_by_day(stream, 9, 30)
    days = sorted(ms(one["not_before"]) // DAY for one in stream.told if one["type"] == "skill_refresh")
    assert len(days) == 6
    assert min(later - earlier for earlier, later in itertools.pairwise(days)) >= 3
    # All were urgent at once: nobody waited longer than the cool-down.
    assert days[-1] - days[0] <= 3 * 6


def test_a_skill_is_refreshed_at_most_once_in_two_weeks() -> None:
    stream, detected = Stream(), set()
    for day in range(60):
        # Failing a mastered skill makes it regress; mastering it again ends that.
        score = 1.0 if day % 12 < 4 else 0.0
        stream.feed([*well(1, [day]), completion(1, START + day * DAY + 12 * HOUR, "s", score=score)])
        stream.sweep(START + (day + 1) * DAY + DAWN)
        current = stream.current().get(("regressions", b"1|s"))
        detected |= {episode["detected_at"] for episode in current["episodes"]} if current else set()
    days = [local(one).date() for one in stream.decided(type="skill_refresh")]
    assert len(detected) > len(days) == 2
    assert (days[1] - days[0]).days >= 14


def crowded(cap: int | None, **more: Any) -> Stream:
    """A learner with a habit, a plateau and regressions who falls silent: many reasons on the same days."""
    known = more.pop("known", None)
    stream = Stream(known)
    stream.feed([preferences(1, START, max_nudges_per_day=cap, **more)])
    stream.feed(habit(1, 40, **more))
    for day in range(40):
        at = START + day * DAY + 17 * HOUR
        stream.feed([completion(1, at + n * MINUTE, "algebra", score=1.0 - n % 2, **more) for n in (0, 9)])
        lost = [completion(1, at, f"s{n}", score=1.0 if day < 30 else 0.0, **more) for n in range(4)]
        stream.feed([*lost, *well(1, [day], 2)])
        stream.sweep(at + 9 * HOUR)
    day_by_day(stream, 41, 75)
    return stream


@pytest.mark.parametrize("cap", [None, 1, 2])
def test_no_day_has_more_than_the_cap(cap: int | None) -> None:
    stream = crowded(cap)
    told = [one for one in stream.told if one["audience"] == "learner" and one["status"] == "active"]
    # One that another has taken the place of before its time is not told.
    instead = {one["supersedes"]: one["as_of"] for one in told if one["supersedes"]}
    # Nor is one that was retracted before its time.
    instead |= {
        one["intervention_id"]: one["changed_after"] for one in stream.told if one["status"] == "retracted"
    }
    told = [one for one in told if instead.get(one["intervention_id"], "9") > one["not_before"]]
    counted = Counter(local(one).date() for one in told)
    most = MOST_PER_DAY if cap is None else cap
    assert max(counted.values()) <= most
    if cap is not None:
        assert max(counted.values()) == cap, "the cap was never reached: the test says nothing"


def test_the_most_urgent_come_first_under_a_cap() -> None:
    stream = crowded(1)
    days = {local(one).date() for one in of_dropout(stream, audience="learner")}
    for one in stream.told:
        if one["type"] == "optimal_timing_nudge":
            assert local(one).date() not in days
    refused = [r["reason"] for one in stream.told for r in one["refused"]]
    assert "daily_cap" in refused


def test_a_cap_of_zero_means_none_but_an_educator_is_told() -> None:
    stream = crowded(0)
    assert {one["audience"] for one in stream.told} == {"educator"}


def test_raising_the_cap_later_lets_through_what_is_still_a_reason() -> None:
    stream = silent(25, before=(preferences(1, START, max_nudges_per_day=0),))
    assert of_dropout(stream, audience="learner") == []
    stream.feed([preferences(1, START + 31 * DAY, max_nudges_per_day=2)])
    day_by_day(stream, 32, 32)
    (one,) = of_dropout(stream, audience="learner")
    assert one["level"] == "critical"


def test_the_organizations_limits_hold_where_the_learner_sets_none() -> None:
    known = catalogue(
        organizations=[
            {"organization_id": 7, "max_nudges_per_day": 0},
            {"organization_id": 8, "quiet_hours": {"from": "08:00", "to": "19:30"}},
        ]
    )
    stream = Stream(known)
    stream.feed([*habit(1, 6, organization_id=7), *habit(2, 6, organization_id=8)])
    stream.feed([*habit(3, 6, organization_id=7), preferences(3, START, max_nudges_per_day=1)])
    stream.feed([preferences(4, START, quiet_hours={"from": "10:00", "to": "11:00"})])
    stream.feed(habit(4, 6, organization_id=8))
    day_by_day(stream, 6, 20)
    learners = of_dropout(stream, audience="learner")
    assert {one["user_id"] for one in learners} == {2, 3, 4}
    assert {local(one).hour for one in learners if one["user_id"] == 2} == {20}
    assert {local(one).hour for one in learners if one["user_id"] == 4} == {9}


# -- quiet hours -------------------------------------------------------------------------------------------


def test_quiet_hours_over_midnight_are_kept_and_named() -> None:
    stream = silent(25, before=(preferences(1, START, quiet_hours={"from": "20:00", "to": "10:30"}),))
    told = of_dropout(stream, audience="learner")
    assert told
    for one in told:
        assert local(one).hour == 11
        assert one["refused"][0]["reason"] == "quiet_hours"
        assert local(one | {"not_before": one["refused"][0]["until"]}).hour == 10


def test_quiet_waking_hours_leave_the_others() -> None:
    """Who sleeps by day is reached by night, since quiet hours say when it is right."""
    stream = silent(25, before=(preferences(1, START, quiet_hours={"from": "06:00", "to": "23:00"}),))
    told = of_dropout(stream, audience="learner")
    assert told
    assert all(local(one).hour in (23, 0, 1, 2, 3, 4, 5) for one in told)


def test_without_quiet_hours_nobody_is_woken() -> None:
    stream = silent(25)
    assert {local(one).hour for one in of_dropout(stream, audience="learner")} == {9}


def test_an_educator_is_told_at_once() -> None:
    stream = silent(40, before=(preferences(1, START, quiet_hours={"from": "00:00", "to": "23:59"}),))
    (educator,) = of_dropout(stream)
    assert educator["audience"] == "educator"
    assert educator["not_before"] == educator["as_of"]


# -- zones -------------------------------------------------------------------------------------------------


def test_the_zone_is_the_learners_then_the_organizations_then_utc() -> None:
    known = catalogue(
        organizations=[{"organization_id": 7, "timezone": "America/New_York"}, {"organization_id": 8}]
    )
    stream = Stream(known)
    stream.feed([preferences(1, START, timezone="Asia/Kathmandu", organization_id=7)])
    for user, organization in ((1, 7), (2, 7), (3, 8), (4, None)):
        stream.feed(habit(user, 6, organization_id=organization))
    day_by_day(stream, 6, 20)
    found = defaultdict(set)
    for one in of_dropout(stream, audience="learner"):
        found[one["user_id"]].add(one["timezone"])
        assert (local(one).hour, local(one).minute) == (9, 0)
    assert found == {1: {"Asia/Kathmandu"}, 2: {"America/New_York"}, 3: {"UTC"}, 4: {"UTC"}}


# -- generated lives ---------------------------------------------------------------------------------------

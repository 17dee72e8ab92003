"""Interventions under all limits: cool-downs, caps, quiet hours, zones, and generated lives cut anyhow."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lyo.models.arrays import zones
from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.interventions.cadence import MOST_PER_DAY, RULES
from lyo.models.interventions.triggers import InterventionType
from lyo.models.state.catalogue import Catalogue
from tests.support.learners.building import (
    MINUTE,
    START,
    Sent,
    Stream,
    batches,
    catalogue,
    columns,
    completion,
    iso,
    lives,
    ms,
    preferences,
    sample_catalogue,
    sentiment,
    session,
)
from tests.support.learners.interventions import DAWN, day_by_day, habit, of_dropout, silent

few = settings(max_examples=5, deadline=None)
SEEDS = st.integers(0, 2**32)
Told = dict[str, Any]


def local(one: Told) -> datetime:
    """When an intervention's time comes, on the learner's clock."""
    return datetime.fromisoformat(one["not_before"]).astimezone(ZoneInfo(one["timezone"]))


def regressing(user: int, skills: int) -> list[Sent]:
    """Skills mastered and then left alone."""
    return [
        completion(user, START + day * DAY + 12 * HOUR, f"s{skill}", score=1.0)
        for skill in range(skills)
        for day in range(5)
    ]


# -- cool-down and cap -------------------------------------------------------------------------------------


def test_refreshes_lie_three_days_apart() -> None:
    stream = Stream()
    stream.feed(regressing(1, 6))
    day_by_day(stream, 5, 110)
    days = sorted(ms(one["not_before"]) // DAY for one in stream.told if one["type"] == "skill_refresh")
    assert len(days) == 6
    assert min(later - earlier for earlier, later in itertools.pairwise(days)) >= 3
    # All were urgent at once: nobody waited longer than the cool-down.
    assert days[-1] - days[0] <= 3 * 6


def test_a_skill_is_refreshed_at_most_once_in_two_weeks() -> None:
    stream = Stream()
    day = 0
    for _ in range(4):
        good = [completion(1, START + day * DAY + n * HOUR, "s", score=1.0) for n in range(14)]
        # Failing a mastered skill makes it regress at once; mastering it again ends that.
        bad = [completion(1, START + (day + 1) * DAY + n * HOUR, "s", score=0.0) for n in range(1, 9)]
        for events in (good, bad):
            stream.feed(events)
            day += 1
            stream.sweep(START + day * DAY + DAWN)
        day += 3
        stream.sweep(START + day * DAY + DAWN)
    assert len(stream.one("regressions", "1|s")["episodes"]) == 3
    days = [local(one).date().isoformat() for one in stream.decided(type="skill_refresh")]
    assert days == ["2026-03-04", "2026-03-18"]


def crowded(cap: int | None, **more: Any) -> Stream:
    """A learner with a habit, a plateau and regressions who falls silent: many reasons on the same days."""
    known = more.pop("known", None)
    stream = Stream(known)
    stream.feed([preferences(1, START, max_nudges_per_day=cap, **more)])
    stream.feed(regressing(1, 4))
    stream.feed(habit(1, 40, **more))
    for day in range(40):
        at = START + day * DAY + 17 * HOUR
        stream.feed([completion(1, at + n * MINUTE, "algebra", score=0.5, **more) for n in (0, 9)])
        stream.sweep(at + 9 * HOUR)
    day_by_day(stream, 41, 75)
    return stream


@pytest.mark.parametrize("cap", [None, 1, 2])
def test_no_day_has_more_than_the_cap(cap: int | None) -> None:
    stream = crowded(cap)
    told = [one for one in stream.told if one["audience"] == "learner" and one["status"] == "active"]
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


def test_a_zone_that_is_not_known_any_more_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows may come from a machine whose zone data knew more."""
    known = catalogue(organizations=[{"organization_id": 7, "timezone": "Europe/Berlin"}])
    stream = Stream(known)
    stream.feed([preferences(1, START, timezone="Asia/Tokyo", organization_id=7)])
    stream.feed([preferences(2, START, timezone="Asia/Tokyo")])
    stream.feed([*habit(1, 6), *habit(2, 6)])
    true_zone = zones.zone

    def zone(name: str) -> Any:
        if name == "Asia/Tokyo":
            raise ValueError(name)
        return true_zone(name)

    monkeypatch.setattr(zones, "zone", zone)
    zones.known.cache_clear()
    try:
        day_by_day(stream, 6, 20)
    finally:
        zones.known.cache_clear()
    found = {one["user_id"]: one["timezone"] for one in of_dropout(stream, audience="learner")}
    assert found == {1: "Europe/Berlin", 2: "UTC"}


@pytest.mark.parametrize(
    ("first", "day", "hour", "told"),
    [
        # 02:00 does not exist on 29 March; the day's only usual hour is gone, the next day's is there.
        ("2026-03-10T00:00:00Z", "2026-03-29", 2, None),
        ("2026-03-10T00:00:00Z", "2026-03-30", 2, "2026-03-30T00:00:00.000Z"),
        # It comes twice on 25 October: the first of the two.
        ("2026-10-06T00:00:00Z", "2026-10-25", 2, "2026-10-25T00:00:00.000Z"),
        ("2026-10-06T00:00:00Z", "2026-10-26", 2, "2026-10-26T01:00:00.000Z"),
    ],
)
def test_both_changes_of_daylight_saving(first: str, day: str, hour: int, told: str | None) -> None:
    """A night owl in Berlin with the habit of studying at two."""
    zone = ZoneInfo("Europe/Berlin")
    stream = Stream()
    stream.feed([preferences(1, ms(first), timezone="Europe/Berlin")])
    at = ms(first)
    while iso(at)[:10] < day:
        here = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone)
        if here.hour == hour and here.minute == 0 and here.fold == 0:
            stream.feed([session(1, at, 20), completion(1, at + 5 * MINUTE, f"s{at}", score=0.9)])
        at += HOUR
        stream.sweep(at)
    # The learner's day begins at midnight in Berlin, up to an hour before this one's end is swept.
    for more in range(-1, 3):
        stream.sweep(ms(f"{day}T00:00:00Z") + more * HOUR)
    found = {one["not_before"] for one in stream.decided(type="optimal_timing_nudge")}
    on_the_day = {
        one for one in found if datetime.fromisoformat(one).astimezone(zone).date().isoformat() == day
    }
    assert on_the_day == ({told} if told else set())


# -- generated lives ---------------------------------------------------------------------------------------

PAUSES = (0, 40_000, 20 * MINUTE, 5 * HOUR, DAY, 2 * DAY, 9 * DAY)


def story(seed: int, days: int = 32) -> list[Sent]:
    """Two learners with habits that end, and generated ones of all kinds of events, by time."""
    rng = random.Random(seed)
    events = lives(seed, 100, users=3, days=days, pauses=PAUSES)
    for user, last in ((4, rng.randrange(11, 20)), (5, rng.randrange(18, 32))):
        events += habit(user, last, hour=rng.randrange(0, 24))
        events += [
            sentiment(user, START + rng.randrange(days * DAY), rng.uniform(-1, 1))
            for _ in range(rng.randrange(9))
        ]
    return sorted(events, key=when)


def when(event: Sent) -> int:
    return int(columns([event])[0].at[0])


def by_day(events: list[Sent]) -> list[list[Sent]]:
    """The events between two sweeps."""
    found: dict[int, list[Sent]] = defaultdict(list)
    for event in events:
        found[when(event) // DAY].append(event)
    return [found[day] for day in range(START // DAY, max(found) + 1)]


def play(stream: Stream, days: list[list[Sent]], cut: random.Random | None, restart: float = 0.0) -> Stream:
    """Feed each day's events, whole or cut, some of them twice, and sweep when the day has ended."""
    rng = cut or random.Random(0)
    for number, events in enumerate(days):
        for piece in batches(rng, events, 7) if cut else [events]:
            stream.feed(piece)
            if cut and rng.random() < 0.2:
                stream.feed(piece)
            if rng.random() < restart:
                stream = stream.restored()
        stream.sweep(START + number * DAY + 25 * HOUR, 1 if cut else None)
    day_by_day(stream, len(days) + 1, len(days) + 15)
    return stream


@few
@given(SEEDS)
def test_any_batching_between_sweeps_gives_the_same_interventions(seed: int) -> None:
    days = by_day(story(seed))
    whole = play(Stream(sample_catalogue()), days, None)
    cut = play(Stream(sample_catalogue()), days, random.Random(seed))
    assert cut.interventions == whole.interventions
    assert whole.interventions, "nothing was decided: the test says nothing"


@few
@example(150_000)
@given(SEEDS)
def test_restarts_anywhere_give_the_same_interventions(seed: int) -> None:
    days = by_day(story(seed))
    whole = play(Stream(sample_catalogue()), days, random.Random(seed))
    again = play(Stream(sample_catalogue()), days, random.Random(seed), restart=0.1)
    assert again.interventions == whole.interventions


@few
@example(150_000)  # a learner moves so that a decision whose time was over is open again
@given(SEEDS)
def test_no_id_has_two_contents_of_one_status_and_reason_and_every_limit_is_kept(seed: int) -> None:
    stream = play(Stream(sample_catalogue()), by_day(story(seed)), random.Random(seed))
    contents = defaultdict(set)
    for one in stream.told:
        of = one["intervention_id"], one["status"], one["reason"]
        contents[of].add(json.dumps(one, sort_keys=True))
    for of, some in contents.items():
        assert len(some) == 1, of
    decided = {one["intervention_id"]: one for one in stream.told if one["status"] == "active"}
    assert set(decided) == {one["intervention_id"] for one in stream.told}
    check_limits(stream.engine.state.catalogue, list(decided.values()), stream)


def check_limits(known: Catalogue, decided: list[Told], stream: Stream) -> None:
    """No day over the default cap, types apart; of the learners whose zones and caps never change."""
    fixed = [one for one in decided if one["user_id"] in (4, 5) and one["audience"] == "learner"]
    for count in Counter((one["user_id"], local(one).date()) for one in fixed).values():
        assert count <= MOST_PER_DAY
    apart = defaultdict(list)
    for one in fixed:
        apart[one["user_id"], one["type"]].append(one)
    replaced = {one["supersedes"] for one in decided}
    for (_, kind), some in apart.items():
        days = sorted(local(one).date() for one in some if one["intervention_id"] not in replaced)
        rule = RULES[InterventionType(kind)]
        for earlier, later in itertools.pairwise(days):
            assert (later - earlier).days >= rule.cool_down, kind

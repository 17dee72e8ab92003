"""Slots: every limit at once, both changes to and from daylight saving, and why a time was refused."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.interventions.cadence import ANY_HOUR
from lyo.models.interventions.send_slots import Limit, Limits, Refused, next_slots, runs
from tests.support.learners.building import MINUTE, START, iso, ms

many = settings(max_examples=150, deadline=None)

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Apia",
)
# Around the changes of 2026 in Berlin, New York and Lord Howe, and around Apia's lost day.
EVENTFUL = tuple(
    ms(text)
    for text in (
        "2026-03-08T00:00:00Z",
        "2026-03-28T22:00:00Z",
        "2026-04-04T12:00:00Z",
        "2026-10-24T20:00:00Z",
        "2026-11-01T00:00:00Z",
        "2011-12-29T06:00:00Z",
    )
)
starts = st.builds(
    lambda base, more: base + more,
    st.sampled_from((START, *EVENTFUL)),
    st.integers(0, 3 * DAY),
)
minutes = st.integers(0, 24 * 60 - 1)


@st.composite
def limits(draw: st.DrawFn) -> tuple[int, int, Limits]:
    """A start, a number of days, and limits around them."""
    start, days = draw(starts), draw(st.integers(0, 4))
    near = st.integers(start - 5 * DAY, start + 5 * DAY)
    quiet = draw(st.one_of(st.just((-1, -1)), st.tuples(minutes, minutes)))
    return (
        start,
        days,
        Limits(
            zone=draw(st.sampled_from(ZONES)),
            quiet_from=quiet[0],
            quiet_to=quiet[1],
            most_per_day=draw(st.integers(0, 3)),
            hours=draw(st.one_of(st.just(ANY_HOUR), st.frozensets(st.integers(0, 23), max_size=8))),
            placed=tuple(draw(st.lists(near, max_size=6))),
            cooling=tuple(draw(st.lists(st.tuples(near, st.integers(1, 4)), max_size=3))),
        ),
    )


# -- the limits, said again in the plainest way -------------------------------------------------------------


def local(at: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone))


def violates(at: int, limit: Limit, given: Limits) -> bool:
    """Whether an instant violates one limit, by the standard library's calendar."""
    here = local(at, given.zone)
    if limit is Limit.QUIET_HOURS:
        minute, start, end = here.hour * 60 + here.minute, given.quiet_from, given.quiet_to
        if start < 0:
            return False
        return start <= minute < end if start <= end else minute >= start or minute < end
    if limit is Limit.DAILY_CAP:
        same = [one for one in given.placed if local(one, given.zone).date() == here.date()]
        return len(same) >= given.most_per_day
    if limit is Limit.COOL_DOWN:
        return any(
            abs((here.date() - local(one, given.zone).date()).days) < apart for one, apart in given.cooling
        )
    return here.hour not in given.hours


def full_hours(start: int, days: int, zone: str) -> list[int]:
    """Every full local hour of the days from a start on, of a doubled one the first: by walking."""
    first = local(start, zone).date()
    found, seen = [], set()
    at = -(-start // (15 * MINUTE)) * 15 * MINUTE
    while (here := local(at, zone)).date() < first + timedelta(days=days):
        stamp = here.replace(tzinfo=None)
        if here.minute == 0 and stamp not in seen and here.fold == 0:
            found.append(at)
        seen.add(stamp)
        at += 15 * MINUTE
    return found


# -- properties --------------------------------------------------------------------------------------------


@many
@given(limits(), st.integers(1, 5))
def test_every_slot_satisfies_every_limit_and_no_earlier_one_does(
    asked: tuple[int, int, Limits], most: int
) -> None:
    start, days, given_limits = asked
    free = [
        at
        for at in full_hours(start, days, given_limits.zone)
        if not any(violates(at, limit, given_limits) for limit in Limit)
    ]
    assert next_slots(start, days, given_limits, most).instants == free[:most]


@many
@given(limits(), st.integers(1, 5))
def test_every_refused_time_violates_the_limit_that_it_names(
    asked: tuple[int, int, Limits], most: int
) -> None:
    start, days, given_limits = asked
    slots = next_slots(start, days, given_limits, most)
    for one in slots.refused:
        assert violates(one.at, one.limit, given_limits), one
    # Found and refused are all there is up to the last slot, in order, each once.
    together = sorted([*slots.instants, *(one.at for one in slots.refused)])
    candidates = full_hours(start, days, given_limits.zone)
    end = slots.instants[-1] if slots.ended is None else start + 100 * DAY
    assert together == [at for at in candidates if at <= end]


@many
@given(limits(), st.integers(1, 5))
def test_it_says_why_there_are_no_more(asked: tuple[int, int, Limits], most: int) -> None:
    start, days, given_limits = asked
    slots = next_slots(start, days, given_limits, most)
    if given_limits.most_per_day == 0:
        assert (slots.instants, slots.ended) == ([], "daily_cap")
    else:
        assert slots.ended == (None if len(slots.instants) == most else "horizon")


@many
@given(limits(), st.randoms(use_true_random=False))
def test_the_order_of_what_is_placed_does_not_matter(
    asked: tuple[int, int, Limits], rng: random.Random
) -> None:
    start, days, given_limits = asked
    placed, cooling = list(given_limits.placed), list(given_limits.cooling)
    rng.shuffle(placed)
    rng.shuffle(cooling)
    again = replace(given_limits, placed=tuple(placed), cooling=tuple(cooling))
    assert next_slots(start, days, again, 3) == next_slots(start, days, given_limits, 3)


@many
@given(limits(), st.integers(0, 6 * DAY), st.integers(1, 4))
def test_more_limits_never_give_more(asked: tuple[int, int, Limits], at: int, apart: int) -> None:
    start, days, given_limits = asked
    every = days * 25
    free = set(next_slots(start, days, given_limits, every).instants)
    stricter = (
        replace(given_limits, placed=(*given_limits.placed, start + at)),
        replace(given_limits, cooling=(*given_limits.cooling, (start + at, apart))),
        replace(given_limits, most_per_day=max(given_limits.most_per_day - 1, 0)),
        replace(given_limits, hours=given_limits.hours - {at % 24}),
    )
    for one in stricter:
        assert set(next_slots(start, days, one, every).instants) <= free
    assert set(next_slots(start, days, replace(given_limits, quiet_from=-1), every).instants) >= free


@many
@given(limits(), st.integers(0, DAY))
def test_later_starts_and_longer_horizons_agree(asked: tuple[int, int, Limits], more: int) -> None:
    start, days, given_limits = asked
    wide = next_slots(start, days + 3, given_limits, 200).instants
    found = next_slots(start, days, given_limits, 200).instants
    assert wide[: len(found)] == found
    last = local(start + more, given_limits.zone).date() + timedelta(days=days)
    inside = [at for at in wide if at >= start + more and local(at, given_limits.zone).date() < last]
    assert next_slots(start + more, days, given_limits, 200).instants == inside


@many
@given(limits())
def test_one_decision_placed_in_a_slot_keeps_the_cap(asked: tuple[int, int, Limits]) -> None:
    start, days, given_limits = asked
    placed = given_limits.placed
    while True:
        slots = next_slots(start, days, replace(given_limits, placed=placed))
        if not slots.instants:
            break
        placed = (*placed, slots.instants[0])
    counted: dict[object, int] = {}
    for at in placed[len(given_limits.placed) :]:
        day = local(at, given_limits.zone).date()
        counted[day] = counted.get(day, 0) + 1
    assert all(count <= given_limits.most_per_day for count in counted.values())


# -- cases -------------------------------------------------------------------------------------------------


def hours(texts: list[int], zone: str) -> list[str]:
    return [local(at, zone).strftime("%d %H:%M") for at in texts]


def test_quiet_hours_over_midnight() -> None:
    night = Limits("UTC", quiet_from=22 * 60, quiet_to=7 * 60 + 30)
    slots = next_slots(START + 21 * HOUR + 1, 2, night, 2)
    assert slots.instants == [START + DAY + 8 * HOUR, START + DAY + 9 * HOUR]
    assert runs(slots.refused) == [(START + 22 * HOUR, START + DAY + 7 * HOUR, Limit.QUIET_HOURS)]


def test_an_hour_that_does_not_exist_is_no_candidate() -> None:
    only_two = Limits("Europe/Berlin", hours=frozenset({2, 3}))
    slots = next_slots(ms("2026-03-28T23:00:00Z"), 2, only_two, 9)
    assert hours(slots.instants, "Europe/Berlin") == ["29 03:00", "30 02:00", "30 03:00"]
    alone = replace(only_two, hours=frozenset({2}))
    assert next_slots(ms("2026-03-28T23:00:00Z"), 1, alone).ended == "horizon"


def test_of_an_hour_that_comes_twice_the_first_counts() -> None:
    slots = next_slots(ms("2026-10-24T22:00:00Z"), 1, Limits("Europe/Berlin", hours=frozenset({2})), 9)
    assert slots.instants == [ms("2026-10-25T00:00:00Z")]
    # In the second of the two it has passed.
    assert (
        next_slots(ms("2026-10-25T01:00:00Z"), 1, Limits("Europe/Berlin", hours=frozenset({2}))).instants
        == []
    )


@pytest.mark.parametrize(("day", "length"), [("2026-03-28T23:00:00Z", 23), ("2026-10-24T22:00:00Z", 24)])
def test_a_day_of_the_change_counts_as_one(day: str, length: int) -> None:
    start = ms(day)
    slots = next_slots(start, 1, Limits("Europe/Berlin"), 99)
    assert len(slots.instants) == length
    # Two placed on that day at its ends are two of one day.
    full = Limits("Europe/Berlin", most_per_day=2, placed=(slots.instants[0], slots.instants[-1]))
    refused = next_slots(start, 1, full, 99)
    assert refused.instants == []
    assert {one.limit for one in refused.refused} == {Limit.DAILY_CAP}


def test_cool_down_counts_local_days_on_both_sides() -> None:
    noon = START + 3 * DAY + 12 * HOUR
    cooling = Limits("UTC", hours=frozenset({12}), cooling=((noon, 2),))
    found = next_slots(START, 7, cooling, 9).instants
    assert found == [START + day * DAY + 12 * HOUR for day in (0, 1, 5, 6)]


def test_the_first_limit_violated_is_the_one_named() -> None:
    everything = Limits("UTC", 0, 60, 0, frozenset(), cooling=((START, 1),))
    assert next_slots(START, 1, everything).refused[0] == Refused(START, Limit.QUIET_HOURS)
    assert next_slots(START + 1, 1, everything).refused[0] == Refused(START + HOUR, Limit.DAILY_CAP)
    assert next_slots(START + 1, 1, replace(everything, most_per_day=1)).refused[0].limit is Limit.COOL_DOWN
    last = replace(everything, most_per_day=1, cooling=())
    assert next_slots(START + 1, 1, last).refused[0].limit is Limit.OUTSIDE_HOURS


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(ValueError, match="unknown time zone 'Nowhere/Land'"):
        next_slots(START, 1, Limits("Nowhere/Land"))


def test_the_same_question_has_the_same_answer() -> None:
    asked = Limits("America/New_York", 60, 400, 2, frozenset({1, 5, 9}), (START,), ((START, 1),))
    assert next_slots(START, 3, asked, 4) == next_slots(START, 3, asked, 4)
    assert iso(next_slots(START, 3, asked, 4).instants[0]) == "2026-03-02T14:00:00.000Z"

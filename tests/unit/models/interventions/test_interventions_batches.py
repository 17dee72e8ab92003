"""Interventions under all limits: cool-downs, caps, quiet hours, zones, and generated lives cut anyhow."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lyo.models.arrays import tzif
from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.interventions.cadence import MOST_PER_DAY, RULES
from lyo.models.interventions.triggers import InterventionType
from lyo.models.state.catalogue import Catalogue
from tests.support.learners.building import (
    MINUTE,
    START,
    Sent,
    Stream,
    catalogue,
    columns,
    completion,
    iso,
    ms,
    preferences,
    sentiment,
    session,
)
from tests.support.learners.interventions import day_by_day, habit, of_dropout
from tests.support.learners.limits import Told, local
from tests.support.learners.sampled import batches, lives, sample_catalogue

few = settings(max_examples=5, deadline=None)


SEEDS = st.integers(0, 2**32)


def test_a_zone_that_is_not_known_any_more_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows may come from a machine whose zone data knew more."""
    known = catalogue(organizations=[{"organization_id": 7, "timezone": "Europe/Berlin"}])
    stream = Stream(known)
    stream.feed([preferences(1, START, timezone="Asia/Tokyo", organization_id=7)])
    stream.feed([preferences(2, START, timezone="Asia/Tokyo")])
    stream.feed([*habit(1, 6), *habit(2, 6)])
    rest = tzif.names() - {"Asia/Tokyo"}
    monkeypatch.setattr(tzif, "names", lambda: rest)
    day_by_day(stream, 6, 20)
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
@example(58_184)  # a learner moves after a retraction, so that another boundary was the last one
@example(1_000)
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
def test_no_id_has_two_contents_of_one_change_and_every_limit_is_kept(seed: int) -> None:
    stream = play(Stream(sample_catalogue()), by_day(story(seed)), random.Random(seed))
    contents = defaultdict(set)
    for one in stream.told:
        of = one["intervention_id"], one["status"], one["reason"], one["changed_after"]
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

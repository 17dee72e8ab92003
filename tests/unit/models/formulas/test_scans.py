"""Streaks and the next good hour are found by arrays at once; these look one day and one hour at a time."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas.dropout_factors import _streaks
from lyo.models.formulas.send_time import GOOD_FROM, HORIZON_HOURS, Limits, check
from lyo.models.predictions import from_rows
from tests.support.learners.building import MINUTE, START, run
from tests.support.learners.building import stored as rows_of
from tests.support.learners.sampled import lives


def by_hand(days: list[bool]) -> tuple[int, int]:
    """The longest streak and the one that ends on day 0, counting back from it."""
    runs = "".join("x" if active else " " for active in days)
    return max(map(len, runs.split()), default=0), len(runs) - len(runs.lstrip("x"))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.4, 0.9, 1.0])
def test_streaks_are_those_counted_by_hand(share: float) -> None:
    active = np.random.default_rng(7).random((300, 90)) < share
    longest, ending, factor = _streaks(active, np.ones(300))
    expected = [by_hand(days) for days in active.tolist()]
    assert list(zip(longest.tolist(), ending.tolist(), strict=True)) == expected
    assert ((factor.value >= 0) & (factor.value <= 1)).all()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/New_York"])
def test_the_alternative_is_the_first_full_hour_that_is_good(zone: str) -> None:
    rng = random.Random(zone)
    stream = run(lives(5, 400, users=4, days=60))
    learners, _ = rows_of(stream.engine)
    rows = from_rows.of_values([int(key) for key in learners], list(learners.values()))
    zones, found = Zones([zone]), 0
    for _ in range(40):
        one, at = rng.randrange(4), START + rng.randrange(60 * DAY, 300 * DAY)
        profile = rows.as_of(stream.engine.state.catalogue, at).profile
        limits = Limits(rng.choice((-1, 1320)), rng.choice((-1, 420)), rng.choice((-1, 2)), rng.randint(0, 2))
        judged = check(profile, one, at, zones, studied_today=True, limits=limits)
        if judged.is_good:
            continue
        today, first = local(at, zones) // DAY, None
        begin = at - local(at, zones) % HOUR + HOUR
        for hour in (begin + ahead * HOUR for ahead in range(HORIZON_HOURS)):
            later = local(hour, zones) // DAY > today
            then = replace(limits, sent_today=0 if later else limits.sent_today)
            there = check(profile, one, hour, zones, studied_today=not later, limits=then)
            if there.is_good and (there.score > GOOD_FROM or there.confidence == 0):
                first = hour
                break
        # Local hours that a change of the clock skips or repeats are counted once.
        assert judged.alternative is None or abs(judged.alternative - (first or 0)) <= HOUR
        assert (judged.alternative is None) == (first is None)
        found += 1
    assert found > 10


def local(at: int, zones: Zones) -> int:
    return at + int(zones.offsets(np.array([at]))[0])


def test_half_hour_zones_are_looked_at_by_their_own_full_hours() -> None:
    stream = run(lives(5, 400, users=1, days=60))
    learners, _ = rows_of(stream.engine)
    rows = from_rows.of_values([1], [learners[b"1"]])
    profile = rows.as_of(stream.engine.state.catalogue, START + 61 * DAY).profile
    zones = Zones(["Asia/Kolkata"])
    always = Limits(most_per_day=1, sent_today=1)
    judged = check(profile, 0, START + 61 * DAY + 7 * MINUTE, zones, studied_today=False, limits=always)
    assert judged.alternative is not None
    assert local(judged.alternative, zones) % HOUR == 0

"""Local time by arrays agrees with zoneinfo, daylight saving and odd zones included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lyo.models.arrays import tzif
from lyo.models.arrays.zones import DAY, HOUR, Zones, boundary, next_boundary, zone
from tests.support.learners.building import ms

patient = settings(deadline=None, max_examples=150)
NAMES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # changed at midnight: some days began at 01:00
    "America/Havana",  # falls back from 01:00 to 00:00
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "Africa/Casablanca",  # around Ramadan
    "Pacific/Apia",  # skipped a whole day
    "Pacific/Kiritimati",
    "Antarctica/Troll",  # two hours
)
# 1970 to 2199
MOMENTS = st.integers(0, 7_258_118_400_000 - 1)


def array(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@cache
def changes(name: str) -> list[int]:
    """Instants around which the offset of a zone changes, ms, to the hour, found with zoneinfo alone."""
    info, found = tzif.info(name), []
    moment = datetime(2000, 1, 1, tzinfo=UTC)
    while moment.year < 2040:
        after = moment + timedelta(days=1)
        if moment.astimezone(info).utcoffset() != after.astimezone(info).utcoffset():
            found += [round((moment + timedelta(hours=hour)).timestamp() * 1000) for hour in range(24)]
        moment = after
    return found


@st.composite
def zone_and_moment(draw: st.DrawFn) -> tuple[str, int]:
    """A zone and an instant, often near a change of its offset."""
    name: str = draw(st.sampled_from(NAMES))
    at: int = draw(MOMENTS)
    near = changes(name)
    if near and at % 3:
        at = near[at % len(near)] + at % (4 * HOUR) - 2 * HOUR
    return name, at


def offset(name: str, at: int) -> int:
    found = datetime.fromtimestamp(at // 1000, UTC).astimezone(tzif.info(name)).utcoffset()
    assert found is not None
    return round(found.total_seconds() * 1000)


@patient
@given(st.lists(zone_and_moment(), min_size=1, max_size=8))
def test_offsets_are_those_of_zoneinfo(asked: list[tuple[str, int]]) -> None:
    zones = Zones([name for name, _ in asked])
    at = array(*(at for _, at in asked))
    assert zones.offsets(at).tolist() == [offset(name, at) for name, at in asked]
    who = np.arange(len(asked))[::-1].copy()
    assert zones.offsets(at[who], who).tolist() == [offset(name, at) for name, at in reversed(asked)]


@pytest.mark.slow
def test_every_zone_has_the_offsets_of_zoneinfo_to_the_end_of_the_allowed_years() -> None:
    at = np.random.default_rng(7).integers(0, 7_258_118_400_000, 400) // 1000 * 1000
    for name in sorted(tzif.names()):
        assert zone(name).offsets(at).tolist() == [offset(name, each) for each in at.tolist()], name


@patient
@given(zone_and_moment())
@example(("Pacific/Apia", ms("2011-12-30T10:00:00Z")))
def test_an_instant_of_local_time_comes_back(asked: tuple[str, int]) -> None:
    name, at = asked
    zones = Zones([name])
    local = array(at) + zones.offsets(array(at))
    back = zones.instants(local)
    # In the hour that comes twice, the first one is meant; never another local time.
    assert (back + zones.offsets(back)).tolist() == local.tolist()
    assert int(back[0]) <= at


def test_a_local_time_that_is_skipped_is_the_same_distance_past_the_change() -> None:
    zones = Zones(["Europe/Berlin"])
    skipped = array(ms("2026-03-29T02:30:00Z"))
    assert zones.instants(skipped).tolist() == [ms("2026-03-29T01:30:00Z")]
    twice = array(ms("2026-10-25T02:30:00Z"))
    assert zones.instants(twice).tolist() == [ms("2026-10-25T00:30:00Z")]


@patient
@given(zone_and_moment(), st.integers(1, 2**63 - 1))
@example(("America/Sao_Paulo", ms("2017-10-15T03:30:00Z")), 1)
@example(("Pacific/Apia", ms("2011-12-30T10:00:00Z")), 1)
def test_boundaries_are_within_an_hour_after_local_midnight(asked: tuple[str, int], user: int) -> None:
    name, limit = asked
    limit += 2 * DAY
    zones, users = Zones([name]), array(user)
    before, after = boundary(users, zones, array(limit)), next_boundary(users, zones, array(limit))
    assert int(before[0]) <= limit < int(after[0])
    for found in (before, after):
        local = datetime.fromtimestamp(int(found[0]) / 1000, UTC).astimezone(tzif.info(name))
        earlier = datetime.fromtimestamp((int(found[0]) - HOUR) / 1000, UTC).astimezone(tzif.info(name))
        assert earlier.date() < local.date() or local.hour == 0
    assert int(after[0]) - int(before[0]) <= DAY + 3 * HOUR
    # The next boundary after one is the latest at itself and at any time before the one that follows.
    assert boundary(users, zones, after).tolist() == after.tolist()
    assert next_boundary(users, zones, before).tolist() == after.tolist()


def test_boundaries_are_spread_over_an_hour_by_user() -> None:
    users = np.arange(1, 4001, dtype=np.int64)
    zones = Zones(["UTC"] * len(users))
    found = boundary(users, zones, np.full(len(users), 100 * DAY + 2 * HOUR)) - 100 * DAY
    assert found.min() >= 0
    assert found.max() < HOUR
    assert np.bincount(found * 10 // HOUR, minlength=10).min() > 300


def test_an_unknown_zone_is_refused() -> None:
    for name in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(ValueError, match="unknown time zone"):
            zone(name)

"""Timing in the learner's own time: daylight saving both ways, a zone learned late, the moment."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from lyo.models.arrays.zones import DAY, HOUR, Zones, zone
from lyo.models.events.types import QuietHours
from lyo.models.formulas import send_time, timing
from lyo.models.predictions.compute import quiet_hours_of
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.history import history
from lyo.models.state.learner import quiet_minutes
from tests.support.learners.building import (
    MINUTE,
    Sent,
    Stream,
    catalogue,
    completion,
    ms,
    preferences,
    run,
    sentiment,
    session,
)

BERLIN = "Europe/Berlin"


def evenings(name: str, first: str, days: int, *, hour: int = 19, user: int = 1) -> list[Sent]:
    """A session of 40 minutes each evening at a local hour, with a lesson in it."""
    zones, events = Zones([name]), list[Sent]()
    for day in range(days):
        local = ms(f"{first}T00:00:00Z") + day * DAY + hour * HOUR
        at = int(zones.instants(np.array([local]))[0])
        events += [session(user, at, 40), completion(user, at + 20 * MINUTE, "a", score=0.7)]
    return events


def profile(events: Iterable[Sent]) -> dict[str, Any]:
    return run(events).one("timing", "1")


@pytest.mark.parametrize("first", ["2026-02-25", "2026-09-27"])
@pytest.mark.parametrize("name", [BERLIN, "America/New_York", "Australia/Sydney"])
def test_an_evening_learner_keeps_the_peak_hour_over_both_changes(name: str, first: str) -> None:
    """The change is within the 42 days: in UTC the sessions lie at two hours."""
    events = evenings(name, first, 42)
    offsets = zone(name).offsets(
        np.array([ms(str(event.body.get("started_at", f"{first}T00:00:00Z"))) for event in events])
    )
    assert len(set(offsets.tolist())) == 2
    found = profile([preferences(1, ms(f"{first}T00:00:00Z"), timezone=name), *events])
    assert found["peak_hours"] == [19]
    assert found["optimal_study_time"] == "19:00:00"
    assert (found["most_active_hour"], found["least_active_hour"]) == (19, 19)
    assert list(found["performance_by_hour"]) == ["19"]
    assert found["timezone"] == name
    in_utc = profile(events)
    assert len(in_utc["performance_by_hour"]) == 2


@pytest.mark.parametrize("first", ["2026-03-08", "2026-10-04"])
def test_the_recommended_time_is_the_local_hour_on_both_sides_of_a_change(first: str) -> None:
    change = {"2026-03-08": "2026-03-29", "2026-10-04": "2026-10-25"}[first]
    stream = Stream()
    stream.feed([preferences(1, ms(f"{first}T00:00:00Z"), timezone=BERLIN)])
    hours = set()
    for event in evenings(BERLIN, first, 42):
        stream.feed([event])
        recommended = ms(stream.one("timing", "1")["recommended_time"])
        local = recommended + int(zone(BERLIN).offsets(np.array([recommended]))[0])
        assert local % DAY == 19 * HOUR
        hours.add((recommended < ms(f"{change}T00:00:00Z"), recommended % DAY // HOUR))
    assert hours in ({(True, 18), (False, 17)}, {(True, 17), (False, 18)})


@pytest.mark.parametrize("first", ["2026-03-08", "2026-10-04"])
def test_a_zone_learned_late_gives_the_same_profile_as_one_known_from_the_start(first: str) -> None:
    events = evenings(BERLIN, first, 42)
    told = preferences(1, ms(f"{first}T00:00:00Z"), timezone=BERLIN)
    known, late = Stream(), Stream()
    known.feed([told, *events])
    late.feed(events)
    before = late.current()
    late.feed([told])
    assert late.current() != before
    free = {"version", "prediction_id"}
    for key, record in known.current().items():
        theirs = late.current()[key]
        assert {k: v for k, v in record.items() if k not in free} == {
            k: v for k, v in theirs.items() if k not in free
        }
    assert late.sent["timing", b"1"]["peak_hours"] == [19]


def test_a_learner_without_a_zone_has_the_organizations() -> None:
    known = catalogue(organizations=[{"organization_id": 7, "timezone": "Asia/Kolkata"}])
    events = evenings("Asia/Kolkata", "2026-03-08", 12)
    stream = Stream(known)
    stream.feed(events)
    assert stream.one("timing", "1")["timezone"] == "UTC"
    stream.feed([session(1, ms("2026-03-20T13:30:00Z"), organization_id=7)])
    found = stream.one("timing", "1")
    assert found["timezone"] == "Asia/Kolkata"
    assert found["peak_hours"] == [19]
    stream.feed([preferences(1, ms("2026-03-20T14:00:00Z"), timezone="UTC")])
    assert stream.one("timing", "1")["timezone"] == "UTC"


def test_the_recommended_time_is_outside_the_learners_quiet_hours_else_the_organizations() -> None:
    hours = {"from": "18:30", "to": "20:30"}
    known = catalogue(
        {"content_id": "c", "skills": ["a"]},
        organizations=[
            {"organization_id": 7, "quiet_hours": hours},
            {"organization_id": 8, "timezone": "UTC"},
            {"organization_id": 9, "quiet_hours": {"from": "22:00", "to": "19:30"}},
        ],
    )
    stream = Stream(known)
    own = preferences(2, ms("2026-03-01T00:00:00Z"), quiet_hours={"from": "10:00", "to": "11:00"})
    stream.feed([own, preferences(3, ms("2026-03-01T00:00:00Z"), quiet_hours=hours)])
    for user, organization in ((1, 7), (2, 7), (3, 8), (4, 8), (5, 9), (6, None)):
        stream.feed(evenings("UTC", "2026-03-02", 12, user=user))
        stream.feed([session(user, ms("2026-03-14T19:00:00Z"), 40, organization_id=organization)])
    current = stream.current()
    found = {user: current["timing", b"%d" % user]["recommended_time"][11:16] for user in range(1, 7)}
    assert found == {1: "20:30", 2: "19:00", 3: "20:30", 4: "19:00", 5: "19:30", 6: "19:00"}
    stream.feed([preferences(1, ms("2026-03-15T00:00:00Z"), quiet_hours={"from": "00:00", "to": "01:00"})])
    assert stream.sent["timing", b"1"]["recommended_time"][11:16] == "19:00"


def test_studying_over_local_midnight_belongs_to_both_hours() -> None:
    events = [session(1, ms(f"2026-03-{day:02d}T22:30:00Z"), 60) for day in range(2, 16)]
    found = profile([preferences(1, ms("2026-03-01T00:00:00Z"), timezone=BERLIN), *events])
    assert sorted(found["peak_hours"]) == [0, 23]


def test_recent_weeks_weigh_more() -> None:
    mornings = evenings("UTC", "2026-01-05", 20, hour=7)
    now = evenings("UTC", "2026-03-02", 18, hour=20)
    assert profile([*mornings, *now])["most_active_hour"] == 20


def test_one_good_answer_does_not_make_an_hour() -> None:
    steady = evenings("UTC", "2026-03-02", 30)
    lucky = completion(1, ms("2026-03-31T09:00:00Z"), "a", score=1.0)
    found = profile([*steady, lucky])["performance_by_hour"]
    assert found["9"] - found["19"] < 0.03


# -- the moment --------------------------------------------------------------------------------------------


def profiled(events: list[Sent]) -> tuple[timing.TimingProfile, Zones]:
    rows = run(events).engine.state.learners.rows
    zones = Zones([str(rows["zone"][0].decode() or "UTC")])
    past, loud = history(rows, rows["newest"], zones), quiet_hours_of(rows, Catalogue())
    return timing.predict(past, rows, rows["newest"], zones, loud), zones


def check(events: list[Sent], at: str, *, studied: bool = False, **limits: int) -> send_time.TimeCheck:
    found, zones = profiled(events)
    return send_time.check(found, 0, ms(at), zones, studied, send_time.Limits(**limits))


def learner() -> list[Sent]:
    return [preferences(1, ms("2026-03-01T00:00:00Z"), timezone=BERLIN), *evenings(BERLIN, "2026-03-02", 21)]


def test_a_peak_hour_is_a_good_time_and_says_so() -> None:
    found = check(learner(), "2026-03-24T18:05:00Z")
    assert found.is_good
    assert found.reasoning.startswith("This aligns with your peak learning hours")
    assert found.alternative is None


def test_the_good_hours_of_a_week_are_those_that_a_check_calls_good() -> None:
    found, _ = profiled(learner())
    monday, utc = ms("2026-03-23T00:00:00Z"), Zones(["UTC"])
    one_by_one = [
        send_time.is_good(found, 0, monday + hour * HOUR, utc, studied_today=False, limits=send_time.Limits())
        for hour in range(168)
    ]
    assert send_time.good_hours(found, 0).ravel().tolist() == one_by_one
    assert 0 < sum(one_by_one) < 168


def test_the_peak_hour_moves_with_daylight_saving() -> None:
    assert not check(learner(), "2026-03-30T18:05:00Z").is_good
    assert check(learner(), "2026-03-30T17:05:00Z").is_good


def test_an_off_hour_names_the_next_peak() -> None:
    found = check(learner(), "2026-03-24T09:00:00Z")
    assert not found.is_good
    assert "outside" in found.reasoning
    assert found.alternative == ms("2026-03-24T18:00:00Z")


def test_having_studied_today_counts_against_an_hour_off_the_peak() -> None:
    assert (
        check(learner(), "2026-03-24T09:00:00Z", studied=True).score
        < check(learner(), "2026-03-24T09:00:00Z").score
    )


def test_quiet_hours_forbid_even_a_peak() -> None:
    found = check(learner(), "2026-03-24T18:05:00Z", quiet_from=18 * 60, quiet_to=20 * 60)
    assert (found.is_good, found.reasoning) == (False, "These are your quiet hours")
    assert found.alternative is None or found.alternative >= ms("2026-03-24T19:00:00Z")


def test_the_cap_forbids_until_tomorrow() -> None:
    found = check(learner(), "2026-03-24T18:05:00Z", most_per_day=2, sent_today=2)
    assert not found.is_good
    assert "as many reminders" in found.reasoning
    assert found.alternative == ms("2026-03-25T18:00:00Z")


def test_without_a_known_rhythm_peoples_hours_in_general_fill_in_and_it_says_so() -> None:
    found = {hour: check(learner()[:5], f"2026-03-24T{hour:02d}:00:00Z") for hour in (2, 19)}
    assert [one.is_good for one in found.values()] == [False, True]
    assert {one.confidence for one in found.values()} == {0}
    assert all("2 of 10" in one.reasoning and "people" in one.reasoning for one in found.values())
    assert found[2].alternative is not None


def scattered(sessions: int) -> list[Sent]:
    """Sessions at any hour, half of them in the evening."""
    rng = random.Random(5)
    start = ms("2026-01-05T00:00:00Z")
    hours = [rng.choice((19, 20)) if rng.random() < 0.5 else rng.randrange(24) for _ in range(sessions)]
    return [session(1, start + day * DAY + hour * HOUR, 30) for day, hour in enumerate(hours)]


def profile_of(events: list[Sent]) -> timing.TimingProfile:
    rows = run(events).engine.state.learners.rows
    zones = Zones(["UTC"])
    return timing.predict(
        history(rows, rows["newest"], zones), rows, rows["newest"], zones, quiet_hours_of(rows, Catalogue())
    )


@pytest.mark.parametrize("sessions", [0, 3, 9, 10, 30, 80])
def test_good_hours_are_the_fewest_in_which_half_of_the_sessions_begin(sessions: int) -> None:
    found = profile_of(scattered(sessions) or [sentiment(1, ms("2026-01-05T00:00:00Z"), 0.1)])
    good = send_time.good_hours(found, 0)
    assert good.mean() <= 0.5
    if sessions >= 30:
        held = float((found.begins[0] * good.any(axis=0)).sum())
        assert held >= 0.5 - 1e-9
        weakest = found.begins[0][good.any(axis=0)].min()
        assert held - weakest < 0.5 + 1e-9, "one hour less would do"


def test_every_session_of_the_last_ninety_days_counts_alike_in_where_sessions_begin() -> None:
    start = ms("2026-01-05T00:00:00Z")
    hours = [9] * 40 + [20] * 40
    found = profile_of([session(1, start + day * DAY + hour * HOUR, 30) for day, hour in enumerate(hours)])
    assert found.begins[0, [9, 20]].tolist() == [0.5, 0.5]


def test_a_day_on_which_the_learner_hardly_studies_is_no_good_day() -> None:
    start = ms("2026-01-05T00:00:00Z")  # a Monday
    days = [day for day in range(84) if day % 7 < 5 or day == 5]
    found = profile_of([session(1, start + day * DAY + 19 * HOUR, 30) for day in days])
    good = send_time.good_hours(found, 0)
    assert good[:5, 19].all()
    assert not good[5:].any()


@pytest.mark.parametrize(
    ("start", "end", "first", "last", "minutes"),
    [
        ("22:00", "07:00", 1320, 419, 540),
        ("22:00:59", "07:00:01", 1320, 420, 541),
        ("23:00", "23:59:30", 1380, 1439, 60),
        ("07:00:00", "07:00:00", None, None, 0),
        ("07:00", "07:00", None, None, 0),
    ],
)
def test_quiet_hours_keep_their_whole_minutes_and_equal_times_are_none(
    start: str, end: str, first: int | None, last: int | None, minutes: int
) -> None:
    begins, ends = quiet_minutes(QuietHours(start=start, end=end))
    inside = timing.quiet(np.arange(1440), np.full(1440, begins), np.full(1440, ends))
    assert inside.sum() == minutes
    if first is not None and last is not None:
        assert inside[first]
        assert not inside[first - 1]
        assert inside[last]
        assert not inside[(last + 1) % 1440]


@pytest.mark.parametrize(
    ("minute", "quiet"), [(1319, False), (1320, True), (0, True), (419, True), (420, False)]
)
def test_quiet_hours_may_span_midnight(minute: int, quiet: bool) -> None:
    assert timing.quiet(np.array([minute]), np.array([1320]), np.array([420]))[0] == quiet
    assert not timing.quiet(np.array([minute]), np.array([-1]), np.array([-1]))[0]

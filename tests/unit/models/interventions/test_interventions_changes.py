"""Interventions: triggers, types and priorities, what supersedes, what is retracted, and each reason once."""

from __future__ import annotations

from typing import Any

import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.interventions.cadence import RULES
from lyo.models.interventions.records import Intervention
from lyo.models.interventions.triggers import InterventionType
from tests.support.learners.building import (
    START,
    Stream,
    catalogue,
    completion,
    iso,
    ms,
    preferences,
    session,
)
from tests.support.learners.interventions import DAWN, day_by_day, fading, habit, of_dropout, silent, to_come
from tests.support.learners.triggers import CONTRACT


def test_a_critical_regression_is_more_urgent() -> None:
    stream = Stream()
    stream.feed(fading(1, failures=4))
    stream.sweep(START + 118 * DAY)
    assert stream.sent["regressions", b"1|s"]["urgency"] == "critical"
    (refresh,) = stream.decided(type="skill_refresh")
    assert (refresh["priority"], refresh["level"]) == (8, "critical")


def test_reviewing_a_skill_retracts_its_refresh() -> None:
    stream = Stream()
    stream.feed(fading(1))
    day = 7
    while not stream.decided(type="skill_refresh"):
        day += 1
        stream.sweep(START + day * DAY + DAWN)
    stream.feed([completion(1, START + day * DAY + (12 + n) * HOUR, "s", score=1.0) for n in range(4)])
    assert not stream.sent["regressions", b"1|s"]["is_active"]
    (refresh,) = stream.decided(type="skill_refresh")
    assert (refresh["status"], refresh["reason"]) == ("retracted", "the skill no longer regresses")


def rhythm(days: int = 14, **more: Any) -> Stream:
    stream = Stream(more.pop("known", None))
    stream.feed(habit(1, days, **more))
    return stream


def test_a_usual_hour_of_a_usual_day_is_nudged_once_a_day() -> None:
    stream = rhythm()
    for hours in range(24 * 14 + 2, 24 * 15 + 2, 5):
        stream.sweep(START + hours * HOUR)
    (nudge,) = stream.decided(type="optimal_timing_nudge")
    assert (nudge["priority"], nudge["not_before"]) == (4, iso(START + 14 * DAY + 18 * HOUR))
    assert nudge["expires_at"] == iso(START + 14 * DAY + 20 * HOUR)
    assert "18:00" in nudge["message"]


def test_there_is_no_nudge_without_a_rhythm() -> None:
    stream = Stream()
    stream.feed(habit(1, 9))
    day_by_day(stream, 9, 12)
    assert stream.one("timing", "1")["confidence"] == 0
    assert stream.decided(type="optimal_timing_nudge") == []


def test_there_is_no_nudge_on_an_unusual_day() -> None:
    """Mondays and Tuesdays only."""
    stream = Stream()
    for week in range(6):
        stream.feed([*habit(1, 2, first=7 * week)])
    for day in range(36, 45):
        stream.sweep(START + day * DAY + DAWN)
    days = {
        ms(one["not_before"]) // DAY - START // DAY for one in stream.decided(type="optimal_timing_nudge")
    }
    assert days == {42, 43}


def test_who_has_studied_today_is_not_nudged_any_more() -> None:
    stream = rhythm()
    day_by_day(stream, 14, 14)
    (nudge,) = stream.decided(type="optimal_timing_nudge")
    stream.feed([session(1, START + 14 * DAY + 9 * HOUR)])
    (now,) = stream.decided(type="optimal_timing_nudge")
    assert now["intervention_id"] == nudge["intervention_id"]
    assert (now["status"], now["reason"]) == ("retracted", "the learner has studied today")


def test_studying_after_a_nudge_has_expired_changes_nothing() -> None:
    stream = rhythm()
    day_by_day(stream, 14, 14)
    stream.feed([session(1, START + 14 * DAY + 22 * HOUR)])
    assert stream.decided(type="optimal_timing_nudge")[0]["status"] == "active"


def test_who_studied_before_the_boundary_was_swept_is_not_nudged() -> None:
    stream = rhythm()
    stream.feed([session(1, START + 14 * DAY + 9 * HOUR)])
    stream.sweep(START + 14 * DAY + 10 * HOUR)
    assert stream.decided(type="optimal_timing_nudge") == []


def test_a_restart_decides_nothing_twice_and_forgets_nothing() -> None:
    events = habit(1, 14)
    stream, whole = Stream(), Stream()
    stream.feed(events)
    whole.feed(events)
    for day in range(14, 60):
        stream = stream.restored(pieces=2)
        for one in (stream, whole):
            one.sweep(START + day * DAY + DAWN)
    assert stream.interventions == whole.interventions
    assert stream.told == whole.told


def test_a_sweep_that_is_swept_again_after_a_crash_decides_nothing_twice() -> None:
    """The partition's boundary is written with the last piece: after a crash the first is swept again."""
    events = [event for user in range(1, 6) for event in habit(user, 14)]
    stream, at_once = Stream(), Stream()
    stream.feed(events)
    at_once.feed(events)
    limit = START + 20 * DAY + DAWN
    stream._take(stream.engine.sweep(limit, 2))
    first = list(stream.told)
    assert first
    again = stream.restored()
    assert again.engine.sweeping.until < limit
    again.sweep(limit)
    told = again.told
    pairs = [(one["intervention_id"], one["status"]) for one in told]
    assert len(pairs) == len(set(pairs))
    assert told[: len(first)] == first
    at_once.sweep(limit)
    assert again.interventions == at_once.interventions


def test_events_sent_again_change_nothing() -> None:
    stream = Stream()
    events = habit(1, 14)
    stream.feed(events)
    day_by_day(stream, 14, 25)
    before = dict(stream.interventions)
    stream.feed(events[-20:])
    assert stream.interventions == before


def test_what_is_older_than_any_cool_down_is_deleted_and_not_decided_again() -> None:
    stream = Stream()
    stream.feed(habit(1, 6))
    day_by_day(stream, 6, 30)
    assert of_dropout(stream)
    # The learner is back for good; the old silence is forgotten a month after it expired.
    for day in range(31, 90):
        stream.feed(habit(1, 1, first=day))
        stream.sweep(START + (day + 1) * DAY + DAWN)
    assert of_dropout(stream) == []
    assert len(stream.interventions) <= 3
    assert not stream.engine.state.learners.column("open").any() or stream.decided(status="active")


def test_a_silence_that_goes_on_is_never_forgotten() -> None:
    stream = silent(115)
    assert len(of_dropout(stream)) == 4
    assert len([one for one in stream.told if one["status"] == "active" and one["level"]]) == 4


def test_memory_holds_records_only_while_they_are_open() -> None:
    stream = silent(60)
    deciding = stream.engine._policy
    assert deciding is not None
    held = [one for known in deciding._of.values() for one in known.values()]
    assert held
    assert all(one.raw is None for one in held)
    again = stream.restored().engine._policy
    assert again is not None
    assert all(one.raw is None for known in again._of.values() for one in known.values())


def test_replays_decide_nothing() -> None:
    from lyo.evaluation.replay import Replay

    assert Replay().engine._policy is None


def test_every_type_has_a_rule_that_keeps_it_longer_than_its_cool_down() -> None:
    assert set(RULES) == set(InterventionType)
    for rule in RULES.values():
        assert rule.lasts > 0
        assert rule.lasts + rule.kept >= max(rule.cool_down, rule.per_skill) * DAY
    assert set(Intervention.__struct_fields__) >= CONTRACT


def test_a_learner_of_an_organization_is_named_with_it() -> None:
    stream = Stream(catalogue(organizations=[{"organization_id": 7}]))
    stream.feed([preferences(1, START, organization_id=7), *habit(1, 6, organization_id=7)])
    day_by_day(stream, 6, 20)
    assert {one["organization_id"] for one in stream.told} == {7}


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"])
def test_who_moves_after_a_retraction_reads_the_same_however_the_day_is_cut(zone: str) -> None:
    """The last boundary of the day is that of the zone in which the day ends."""
    before, midnight = to_come()
    back = session(1, midnight + 3 * HOUR, 240, name="back")
    moves = preferences(1, midnight + 5 * HOUR, timezone=zone, name="moves")
    found = []
    for pieces in ([[back, moves]], [[back], [moves]], [[moves], [back]]):
        stream = before.restored()
        for piece in pieces:
            stream.feed(piece)
            stream = stream.restored()
        found.append(stream.interventions)
        (nudge,) = of_dropout(stream, type="gentle_nudge")
        assert nudge["status"] == "retracted"
        assert nudge["changed_after"] != iso(midnight)
    assert found[0] == found[1] == found[2]
    stream.feed([preferences(1, midnight + 6 * HOUR, timezone=None)])
    (nudge,) = of_dropout(stream, type="gentle_nudge")
    assert iso(midnight) <= nudge["changed_after"] <= iso(midnight + HOUR)


def test_what_is_over_before_the_day_begins_in_another_zone_stands_again() -> None:
    before, midnight = to_come()
    for hours in range(0, 16 * 24 + 1, 12):
        before.sweep(midnight + hours * HOUR)
    (support,) = of_dropout(before, audience="learner", level="critical")
    noon = midnight + 15 * DAY + 12 * HOUR
    assert support["expires_at"] == iso(noon - 3 * HOUR)
    back = session(1, noon - HOUR, 30, name="back")
    # The day there began at ten, an hour after the expiry.
    moves = preferences(1, noon, timezone="Pacific/Honolulu", name="moves")
    for pieces in ([[back, moves]], [[back], [moves]]):
        stream = before.restored()
        said = []
        for piece in pieces:
            stream.feed(piece)
            said += [one["status"] for one in of_dropout(stream, audience="learner", level="critical")]
        assert said == ["retracted", "active"][2 - len(pieces) :]
        (now,) = of_dropout(stream, audience="learner", level="critical")
        assert now == support

"""Interventions: triggers, types and priorities, what supersedes, what is retracted, and each reason once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.formulas.dropout import LEVEL_BOUNDS
from lyo.models.interventions.cadence import HYSTERESIS
from tests.support.learners.building import MINUTE, START, Stream, completion, iso, sentiment
from tests.support.learners.interventions import DAWN, day_by_day, fading, habit, of_dropout, silent, stuck
from tests.support.learners.triggers import CONTRACT


def risk(stream: Stream, user: int = 1) -> int:
    return round(100 * stream.one("dropout-risk", str(user))["risk_score"])


# -- dropout -----------------------------------------------------------------------------------------------


def test_high_dropout_risk_gives_emotional_support_of_priority_nine_or_more() -> None:
    """The specification's integration test."""
    stream = silent(1)
    while risk(stream) <= LEVEL_BOUNDS[1]:
        stream.sweep(stream.engine.sweeping.until + DAY)
    support = stream.decided(type="emotional_support", status="active")
    assert support
    assert support[0]["priority"] >= 9


def test_a_silent_learner_is_nudged_then_supported_then_an_educator_is_told() -> None:
    stream = silent(40)
    told = of_dropout(stream)
    assert [(one["audience"], one["type"], one["priority"], one["level"], one["status"]) for one in told] == [
        ("learner", "gentle_nudge", 5, "medium", "superseded"),
        ("learner", "emotional_support", 9, "high", "superseded"),
        ("educator", "emotional_support", 10, "critical", "active"),
        ("learner", "emotional_support", 10, "critical", "active"),
    ]
    nudge, support, _, critical = told
    assert nudge["supersedes"] is None
    assert support["supersedes"] == nudge["intervention_id"]
    assert critical["supersedes"] == support["intervention_id"]
    assert nudge["reason"] == "a graver one has taken its place"
    # Silence goes on: nothing more is said about it.
    assert len([one for one in stream.told if one["status"] == "active"]) == 4


def test_a_record_has_the_contracts_fields_and_rests_on_a_prediction_that_was_sent() -> None:
    stream = silent(40)
    sent = {json.loads(value)["prediction_id"] for value in stream.raw["dropout-risk"].values()}
    ids = set(sent)
    for changes in stream.changes:
        for pairs in changes.predictions.values():
            ids |= {json.loads(value)["prediction_id"] for _, value in pairs if value is not None}
    for one in stream.told:
        assert set(one) >= CONTRACT
        assert len(one["because"]) == 1
        assert set(one["because"]) <= ids
        assert 1 <= one["priority"] <= 10
        assert one["as_of"] <= one["not_before"] < one["expires_at"]
        assert json.loads(json.dumps(one)) == one
    for key, value in stream.interventions.items():
        told = json.loads(value)
        assert key == f"{told['user_id']}|{told['intervention_id']}".encode()


def test_a_prediction_that_does_not_change_is_sent_again_with_what_rests_on_it() -> None:
    """A cool-down ends weeks after the regression was sent last."""
    stream = Stream()
    stream.feed([*fading(1, "a"), *fading(1, "b")])
    day_by_day(stream, 7, 110)
    refreshes = stream.decided(type="skill_refresh")
    assert {one["skill_id"] for one in refreshes} == {"a", "b"}
    for changes in stream.changes:
        together = {
            json.loads(value)["prediction_id"]
            for pairs in changes.predictions.values()
            for _, value in pairs
            if value is not None
        }
        for _, value in changes.interventions:
            told = json.loads(value or b"{}")
            if told.get("status") == "active":
                assert set(told["because"]) <= together


def test_who_returns_is_left_in_peace() -> None:
    stream = silent(8)
    before = of_dropout(stream, status="active")
    assert before
    stream.feed(habit(1, 1, first=14))
    assert LEVEL_BOUNDS[0] < risk(stream) < LEVEL_BOUNDS[1] - HYSTERESIS
    for one in before:
        now = json.loads(stream.interventions[f"1|{one['intervention_id']}".encode()])
        assert (now["status"], now["reason"]) == ("retracted", "the dropout risk has fallen")
        assert {name: now[name] for name in CONTRACT - {"status"}} == {
            name: one[name] for name in CONTRACT - {"status"}
        }
    # The risk is still medium, which alone would call for a nudge.
    day_by_day(stream, 15, 15)
    assert risk(stream) > LEVEL_BOUNDS[0]
    assert of_dropout(stream, status="active") == []


def test_a_second_silence_is_a_new_reason_after_the_cool_down() -> None:
    stream = silent(20)
    stream.feed(habit(1, 3, first=26))
    day_by_day(stream, 27, 60)
    told = [one for one in stream.told if one["level"] and one["status"] == "active"]
    assert {one["episode_start"] for one in told} == {
        iso(START + 5 * DAY + 18 * HOUR + 40 * MINUTE),
        iso(START + 28 * DAY + 18 * HOUR + 40 * MINUTE),
    }
    ids = [one["intervention_id"] for one in told]
    assert len(ids) == len(set(ids))


def moods(stream: Stream, day: int, value: float, many: int) -> None:
    """Add so many feelings to a learner's day."""
    stream.feed([sentiment(1, START + day * DAY + 10 * HOUR + n, value) for n in range(many)])


def test_a_level_is_left_five_points_below_where_it_is_entered() -> None:
    """A mood that swings the score around a level's bound flaps nothing."""
    stream = silent(9)
    day = 14
    entered = [one for one in of_dropout(stream, audience="learner") if one["status"] == "active"]
    assert len(entered) == 1
    bound = {"medium": 30, "high": 50, "critical": 70}[entered[0]["level"]]
    seen = []
    for value, many in ((-1.0, 3), (1.0, 8), (-1.0, 30), (1.0, 90)):
        moods(stream, day, value, many)
        score = risk(stream)
        now = json.loads(stream.interventions[f"1|{entered[0]['intervention_id']}".encode()])
        seen.append(score)
        assert (now["status"] == "active") == (score >= bound - HYSTERESIS)
    assert len(set(seen)) > 1, "the score did not move: the test says nothing"


@pytest.mark.parametrize(("score", "status"), [(30, "active"), (25, "active"), (24, "retracted")])
def test_hysteresis_by_the_score_itself(monkeypatch: pytest.MonkeyPatch, score: int, status: str) -> None:
    from lyo.models.interventions import candidates

    stream = silent(4)
    nudges = stream.decided(type="gentle_nudge")
    assert [one["status"] for one in nudges] == ["active"]
    true_at = candidates.LearnerColumns.at.__func__  # type: ignore[attr-defined]

    def at(cls: Any, engine: Any, slots: Any) -> Any:
        look = true_at(cls, engine, slots)
        look.score[:] = score
        return look

    monkeypatch.setattr(candidates.LearnerColumns, "at", classmethod(at))
    stream.feed([sentiment(1, START + 9 * DAY + 12 * HOUR, 0.0)])
    assert stream.decided(type="gentle_nudge")[0]["status"] == status
    day_by_day(stream, 10, 10)
    assert stream.decided(type="gentle_nudge")[0]["status"] == status
    assert len(stream.decided(type="gentle_nudge")) == 1


# -- skills ------------------------------------------------------------------------------------------------


def test_a_plateau_of_more_than_five_days_calls_for_another_approach_once() -> None:
    stream = Stream()
    for day in range(12):
        stream.feed(stuck(1, 1, first=day))
        stream.sweep(START + (day + 1) * DAY + DAWN)
    plateau = stream.sent["plateaus", b"1|algebra"]
    found = stream.decided(type="alternative_approach")
    assert len(found) == 1
    assert (found[0]["priority"], found[0]["skill_id"], found[0]["audience"]) == (6, "algebra", "learner")
    assert found[0]["title"] == "Another way into Algebra"
    assert plateau["intervention_suggested"] in found[0]["message"]
    assert found[0]["episode_start"] == plateau["detected_at"]
    # On the sixth day it was first over five.
    assert "6 days" in found[0]["message"]


def test_a_plateau_that_is_over_takes_its_intervention_with_it() -> None:
    stream = Stream()
    for day in range(7):
        stream.feed(stuck(1, 1, first=day))
        stream.sweep(START + (day + 1) * DAY + DAWN)
    assert stream.decided(type="alternative_approach")[0]["status"] == "active"
    stream.feed(
        [
            completion(1, START + 7 * DAY + n * HOUR, "algebra", score=1.0, topic="Algebra")
            for n in range(10, 20)
        ]
    )
    assert stream.sent["plateaus", b"1|algebra"]["resolved"]
    over = stream.decided(type="alternative_approach")[0]
    assert (over["status"], over["reason"]) == ("retracted", "the plateau is over")


def test_a_regression_calls_for_a_refresh_when_it_is_urgent_and_once() -> None:
    stream = Stream()
    stream.feed(fading(1))
    first = None
    for day in range(7, 118):
        stream.sweep(START + day * DAY + DAWN)
        regression = stream.sent.get(("regressions", b"1|s"))
        found = stream.decided(type="skill_refresh")
        urgent = regression is not None and regression["urgency"] in ("high", "critical")
        assert bool(found) == urgent
        if urgent and first is None:
            first = found[0]
            assert first["priority"] == 7
            assert first["level"] == "high"
            assert regression is not None
            assert first["episode_start"] == regression["detected_at"]
            assert f"{regression['days_since_practice']} days" in first["message"]
    assert first is not None
    assert [one["intervention_id"] for one in stream.decided(type="skill_refresh")] == [
        first["intervention_id"]
    ]


# -- timing ------------------------------------------------------------------------------------------------


# -- restarts, repetition, forgetting ----------------------------------------------------------------------

"""The specification's own numbers, tables and tests (spec sections are named in the tests)."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas import dropout, regression, timing
from lyo.models.formulas.strategy import INTERVENTIONS, strategy
from lyo.models.state.history import history
from tests.support.learners.building import (
    MINUTE,
    START,
    Sent,
    Stream,
    completion,
    preferences,
    run,
    sentiment,
    session,
)

WEEK = 7 * DAY

# -- Core Components ---------------------------------------------------------------------------------------


def test_dropout_weights_are_the_specifications() -> None:
    assert dropout.WEIGHTS == {
        "declining_engagement": 0.25,
        "infrequent_sessions": 0.20,
        "negative_sentiment": 0.20,
        "no_progress": 0.15,
        "declining_performance": 0.10,
        "broken_streak": 0.10,
    }


def test_levels_include_their_upper_bounds() -> None:
    scores = np.array([0, 29, 30, 31, 49, 50, 51, 69, 70, 71, 100])
    named = [dropout.LEVELS[level] for level in dropout.level_of(scores)]
    assert named == ["low"] * 3 + ["medium"] * 3 + ["high"] * 3 + ["critical"] * 2
    assert regression.LEVELS == dropout.LEVELS
    assert dropout.LEVEL_BOUNDS == (30, 50, 70)


def test_the_level_of_a_record_comes_from_its_rounded_score() -> None:
    stream = Stream()
    stream.feed(habit(1, 40))
    seen = set()
    for day in range(39, 70):
        stream.sweep(START + day * DAY + 2 * HOUR)
        record = stream.sent["dropout-risk", b"1"]
        seen.add(record["risk_level"])
        score = round(record["risk_score"] * 100)
        assert dropout.LEVELS[int(dropout.level_of(np.array([score]))[0])] == record["risk_level"]
    assert seen == set(dropout.LEVELS)


def timing_of(sessions: int) -> dict[str, Any]:
    return run(session(1, START + number * 12 * HOUR) for number in range(sessions)).one("timing", "1")


@pytest.mark.parametrize(
    ("sessions", "confidence"),
    [(1, 0.0), (9, 0.0), (10, 0.5), (29, 0.5), (30, 0.7), (49, 0.7), (50, 0.9), (90, 0.9)],
)
def test_timing_confidence_bands(sessions: int, confidence: float) -> None:
    """Core Components, "Minimum Data Requirements", and Troubleshooting."""
    record = timing_of(sessions)
    assert record["sessions_analyzed"] == sessions
    assert record["confidence"] == confidence
    assert (record["reason"] is None) == (confidence > 0)


def test_a_timing_profile_has_the_specifications_shape() -> None:
    record = timing_of(40)
    assert record["peak_hours"] == [0, 12]
    assert record["optimal_study_time"] in {"00:00:00", "12:00:00"}
    assert set(record["best_days"]) <= set(timing.WEEKDAYS)
    assert len(record["best_days"]) == 3
    assert record["typical_study_days"] == [1, 2, 3, 4, 5, 6, 7]
    assert record["avg_session_duration_minutes"] == 30.0
    assert record["preferred_session_length"] == 30
    assert record["most_active_hour"] in {0, 12}
    assert record["least_active_hour"] in {0, 12}


# -- Dropout: Testing Guide --------------------------------------------------------------------------------


DECLINING = (10, 8, 5, 3, 1)
PLACES: dict[str, Callable[[int, int, random.Random], float]] = {
    "evenly": lambda number, many, _: (number + 0.5) * WEEK / many,
    "evenly from Monday on": lambda number, many, _: number * WEEK / many,
    "one a day from Monday on": lambda number, _, __: number % 7 * DAY + (10 + number // 7) * HOUR,
    "one a day up to Sunday": lambda number, _, __: (6 - number % 7) * DAY + (10 + number // 7) * HOUR,
    "all on Monday": lambda number, _, __: (8 + number) * HOUR,
    "all on Sunday": lambda number, _, __: 6 * DAY + (8 + number) * HOUR,
    "anywhere in its share of the week": lambda number, many, rng: (number + rng.random()) * WEEK / many,
    "anywhere": lambda _, __, rng: rng.random() * WEEK,
}


def declining(place: str, seed: int) -> list[Sent]:
    """Sessions per week 10, 8, 5, 3, 1."""
    rng = random.Random(seed)
    return [
        session(1, START + week * WEEK + int(PLACES[place](number, many, rng)), rng.randint(1, 90))
        for week, many in enumerate(DECLINING)
        for number in range(many)
    ]


def after_five_weeks(events: list[Sent]) -> dict[str, Any]:
    stream = run(events)
    stream.sweep(START + 5 * WEEK + HOUR)
    return stream.one("dropout-risk", "1")


def by_weights(events: list[Sent]) -> int:
    """The same moment's score by the specification's six weights, in hundredths."""
    rows = run(events).engine.state.learners.rows
    past = history(rows, np.array([START + 5 * WEEK]), Zones(["UTC"]))
    return int(dropout.predict_weights(past).score[0])


@pytest.mark.parametrize("place", [place for place in PLACES if place != "anywhere"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_dropout_risk_declining_engagement(place: str, seed: int) -> None:
    """Testing Guide: declining session frequency must increase the risk."""
    events = declining(place, seed)
    record = after_five_weeks(events)
    assert by_weights(events) > 50
    assert record["risk_score"] > 0.5
    assert "declining_engagement" in record["risk_factors"]
    assert record["risk_level"] in {"high", "critical"}
    assert record["session_frequency_trend"] < 0


def test_declining_engagement_is_found_wherever_chance_puts_the_sessions() -> None:
    found = [after_five_weeks(declining("anywhere", seed)) for seed in range(120)]
    assert all("declining_engagement" in record["risk_factors"] for record in found)
    # One placement in a thousand looks steadier than it was, and stays a hundredth short.
    assert sum(record["risk_score"] > 0.5 for record in found) >= 119
    assert min(record["risk_score"] for record in found) > 0.45


def test_steady_engagement_is_no_risk() -> None:
    stream = run(session(1, START + week * WEEK + number * DAY) for week in range(5) for number in range(5))
    stream.sweep(START + 5 * WEEK - 2 * DAY)
    record = stream.one("dropout-risk", "1")
    assert record["risk_level"] == "low"
    assert record["risk_factors"] == []
    assert record["reengagement_strategy"] == {"urgency": "low", "interventions": []}


def test_growing_engagement_is_less_risk_than_declining() -> None:
    counts = (1, 3, 5, 8, 10)
    growing = [
        session(1, START + week * WEEK + number * WEEK // many)
        for week, many in enumerate(counts)
        for number in range(many)
    ]
    stream = run(growing)
    stream.sweep(START + 5 * WEEK + HOUR)
    assert stream.one("dropout-risk", "1")["risk_score"] < 0.3


def test_every_factor_can_be_named_and_has_a_strategy() -> None:
    assert set(INTERVENTIONS) == set(dropout.FACTORS)
    for factor, intervention in INTERVENTIONS.items():
        assert set(intervention) == {"type", "title", "message", "action"}
        assert all(intervention.values())
        plan = strategy("high", (factor,))
        assert plan == {"urgency": "high", "interventions": [intervention]}
    assert len({intervention["type"] for intervention in INTERVENTIONS.values()}) == len(INTERVENTIONS)
    assert INTERVENTIONS["declining_engagement"] == {
        "type": "personal_check_in",
        "title": "We miss you!",
        "message": "I noticed you haven't been around as much. What's been going on?",
        "action": "chat",
    }


def test_a_risk_without_a_strong_factor_still_gets_a_nudge() -> None:
    assert [one["type"] for one in strategy("medium", ())["interventions"]] == ["gentle_nudge"]  # type: ignore[index]


def with_factor(factor: str) -> list[Sent]:
    """A life in which this factor is strong."""
    days = range(0, 30, 2)
    regular = [session(1, START + day * DAY + 18 * HOUR) for day in days]
    lessons = [completion(1, START + day * DAY + 18 * HOUR, "a", score=0.8) for day in days]
    lives: dict[str, list[Sent]] = {
        "declining_engagement": declining("evenly", 1),
        "infrequent_sessions": [session(1, START + number * 20 * DAY) for number in range(5)],
        "negative_sentiment": [
            *regular,
            *(sentiment(1, START + 28 * DAY + n * HOUR, -0.9) for n in range(6)),
        ],
        "no_progress": [*regular, *lessons[:5]],
        "declining_performance": [
            completion(1, START + day * DAY, "a", score=max(1.0 - day / 28, 0.0))
            for day in range(28)
            for _ in range(3)
        ],
        "broken_streak": [session(1, START + day * DAY) for day in (*range(21), 27)],
    }
    return lives[factor]


@pytest.mark.parametrize("factor", dropout.FACTORS)
def test_each_factor_is_found_and_answered(factor: str) -> None:
    record = run(with_factor(factor)).one("dropout-risk", "1")
    assert factor in record["risk_factors"]
    assert INTERVENTIONS[factor] in record["reengagement_strategy"]["interventions"]
    assert record["reengagement_strategy"]["urgency"] == record["risk_level"]
    others = [INTERVENTIONS[name] for name in record["risk_factors"]]
    assert record["reengagement_strategy"]["interventions"] == others
    contribution = {part["name"]: part["contribution"] for part in record["factors"]}
    assert contribution[factor] > -0.05


def habit(user: int, days: int, *, mood: float | None = None, score: float | None = None) -> list[Sent]:
    """Four evenings a week with a lesson each."""
    events = []
    for day in range(days):
        if day % 7 in {0, 1, 3, 5}:
            at = START + day * DAY + 18 * HOUR
            events += [session(user, at, 40), completion(user, at + 30 * MINUTE, "a", score=score)]
            if mood is not None:
                events.append(sentiment(user, at + 31 * MINUTE, mood))
    return events


@pytest.mark.parametrize(
    ("mood", "score", "latest"),
    [(None, None, 22), (-0.9, None, 15), (-0.9, 0.9, 22), (0.9, None, 22), (0.9, 0.9, 59), (None, 0.9, 59)],
)
def test_a_silent_learner_goes_from_low_to_critical(
    mood: float | None, score: float | None, latest: int
) -> None:
    """Critical says that 14 more silent days are thrice as likely as not; good learners reach it late."""
    stream = run(habit(1, 40, mood=mood, score=score))
    levels, scores = [], []
    for day in range(39, 39 + 60):
        stream.sweep(START + day * DAY + 2 * HOUR)
        record = stream.sent["dropout-risk", b"1"]
        assert (record["risk_level"] == "critical") == (record["risk_score"] > 0.7)
        levels.append(dropout.LEVELS.index(record["risk_level"]))
        scores.append(record["risk_score"])
    assert levels[0] == 0
    assert set(levels) == {0, 1, 2, 3}
    assert scores == sorted(scores)
    assert levels.index(3) + 1 in range(7, latest + 1)  # days of silence


def test_risk_stays_and_confidence_falls_when_all_activity_is_over_ninety_days_old() -> None:
    stream = run(habit(1, 40, mood=0.5, score=0.9))
    seen = []
    for day in (105, 115, 130, 155):
        stream.sweep(START + day * DAY)
        record = stream.sent["dropout-risk", b"1"]
        seen.append((record["risk_level"], record["confidence"], record["risk_score"]))
    assert [level for level, _, _ in seen] == ["critical"] * 4
    confidences = [confidence for _, confidence, _ in seen]
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[-1] < confidences[0]
    assert confidences[-1] > 0
    assert seen[-1][2] >= 0.7


def test_ten_completions_are_not_asked_of_a_learner_with_sessions_only() -> None:
    record = run(session(1, START + number * DAY) for number in range(5)).one("dropout-risk", "1")
    assert record["confidence"] > 0
    assert record["days_since_last_completion"] is None


def test_a_learner_who_was_never_active_gets_no_score() -> None:
    record = run(sentiment(1, START + number * DAY, -1.0) for number in range(9)).one("dropout-risk", "1")
    assert (record["risk_score"], record["confidence"], record["factors"]) == (0.5, 0, [])
    assert record["reason"] == "not enough data: no session and no completion yet"
    assert [record[f"probability_{days}d"] for days in (7, 14, 28)] == [None] * 3


def test_little_data_is_itself_evidence_of_which_confidence_says_how_little() -> None:
    steady = [
        run(session(1, START + number * DAY) for number in range(many)).one("dropout-risk", "1")
        for many in range(1, 15)
    ]
    scores = [record["risk_score"] for record in steady]
    assert all(before >= after for before, after in pairwise(scores)), scores
    assert all(before - after <= 0.16 for before, after in pairwise(scores)), scores
    confidences = [record["confidence"] for record in steady]
    assert confidences == sorted(confidences)
    assert 0 < confidences[0] <= 0.05
    assert confidences[-1] >= 0.25


# -- quiet hours, zones ------------------------------------------------------------------------------------


def test_the_recommended_time_is_a_peak_on_a_best_day_outside_quiet_hours() -> None:
    events = [session(1, START + week * WEEK + day * DAY + 22 * HOUR) for week in range(8) for day in (0, 2)]
    stream = run([*events, sentiment(1, START + 7 * WEEK + 2 * DAY + 23 * HOUR + 45 * MINUTE, 0.5)])
    record = stream.one("timing", "1")
    assert record["best_days"] == ["Monday", "Wednesday"]
    assert record["recommended_time"] == "2026-04-27T22:00:00.000Z"
    stream.feed([preferences(1, START, quiet_hours={"from": "21:00", "to": "23:30"})])
    assert stream.one("timing", "1")["recommended_time"] == "2026-04-27T23:30:00.000Z"

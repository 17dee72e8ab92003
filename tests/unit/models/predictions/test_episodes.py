"""Plateaus and regressions from beginning to end, and beginning again."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest

from lyo.models.arrays.zones import DAY, HOUR, Zones, next_boundary
from lyo.models.formulas import curves, plateau, recall
from lyo.models.predictions.records import IDENTITY_FREE
from lyo.models.state import forgetting
from lyo.models.state.mastery import MASTERY_UNIT, NO_STRENGTH, PEAK_ATTEMPTS, mastery
from lyo.models.state.plateau_window import (
    FEWEST_RIGHT,
    GAP,
    LEAST_ATTEMPTS,
    LEAST_DAYS,
    MOST_RIGHT,
    Pattern,
)
from lyo.models.state.regression_span import fallen_since
from tests.support.learners.building import (
    START,
    Sent,
    Stream,
    catalogue,
    completion,
    iso,
    learner_row,
    run,
    skill_row,
)

# -- plateaus ----------------------------------------------------------------------------------------------


def stuck(many: int = LEAST_ATTEMPTS, first: int = START, **more: Any) -> list[Sent]:
    """Attempts at one skill, one a day, of which every second one is right."""
    return [
        completion(1, first + number * DAY, "s", score=1.0 - number % 2, **more) for number in range(many)
    ]


def found(stream: Stream) -> dict[str, Any]:
    record = stream.one("plateaus", "1|s")
    sent = stream.sent["plateaus", b"1|s"]
    assert {name: sent[name] for name in record.keys() - IDENTITY_FREE} == {
        name: record[name] for name in record.keys() - IDENTITY_FREE
    }
    newest = record["episodes"][-1]
    assert {name: record[name] for name in newest} == newest
    return record


def test_enough_attempts_on_enough_days_without_improvement_are_a_plateau() -> None:
    stream = run(stuck(LEAST_ATTEMPTS - 1))
    assert ("plateaus", b"1|s") not in stream.current()
    stream.feed([completion(1, START + LEAST_ATTEMPTS * DAY, "s", score=0.0, topic="Calculus")])
    record = found(stream)
    assert record["is_active"]
    assert not record["resolved"]
    assert record["detected_at"] == iso(START + LEAST_ATTEMPTS * DAY)
    assert (record["topic"], record["skill_id"]) == ("Calculus", "s")
    assert record["attempts"] == LEAST_ATTEMPTS
    assert record["days_on_topic"] == LEAST_ATTEMPTS + 1
    assert record["mastery_improvement"] == -0.33
    assert 0.4 < record["mastery_level"] < 0.6
    assert record["intervention_suggested"]
    assert 0 < record["confidence"] < 1


@pytest.mark.parametrize(
    "events",
    [
        [completion(1, START + number * DAY, "s", score=0.9) for number in range(12)],
        [completion(1, START + number * HOUR, "s", score=1.0 - number % 2) for number in range(20)],
        [completion(1, START + number * DAY, "s", score=float(number > 6)) for number in range(14)],
        [completion(1, START + number * 15 * DAY, "s", score=1.0 - number % 2) for number in range(20)],
        [completion(1, START + number * DAY, "s", score=None) for number in range(20)],
        [completion(1, START + number * DAY, "s", score=0.2) for number in range(12)],
    ],
    ids=["mastered", "one day", "improving", "now and then", "not scored", "not yet begun to learn"],
)
def test_no_plateau(events: list[Sent]) -> None:
    assert not run(events).sent.get(("plateaus", b"1|s"), {}).get("is_active", False)


def test_the_least_of_a_plateau_are_the_documented_numbers() -> None:
    assert (LEAST_ATTEMPTS, LEAST_DAYS, GAP) == (6, 2, 14 * DAY)
    assert (FEWEST_RIGHT, MOST_RIGHT) == (3, 4)


def test_a_plateau_is_resolved_when_mastery_moves_and_a_second_one_is_a_new_episode() -> None:
    stream = run(stuck())
    first = found(stream)
    last = START + LEAST_ATTEMPTS * DAY
    better = [completion(1, last + number * HOUR, "s", score=1.0) for number in range(8)]
    for event in better:
        stream.feed([event])
    resolved = found(stream)
    assert not resolved["is_active"]
    assert resolved["resolved"]
    assert resolved["ended_because"] in {"mastery_moved", "mastered"}
    assert iso(last) <= resolved["resolved_at"] <= iso(last + 8 * HOUR)
    assert resolved["detected_at"] == first["detected_at"]
    stream.feed(stuck(2 * LEAST_ATTEMPTS, last + 2 * DAY))
    second = found(stream)
    assert second["is_active"]
    assert second["detected_at"] > first["detected_at"]
    assert [episode["detected_at"] for episode in second["episodes"][:1]] == [first["detected_at"]]
    assert [episode["is_active"] for episode in second["episodes"]] == [False] * (
        len(second["episodes"]) - 1
    ) + [True]


def test_a_plateau_ends_when_practice_moves_on_without_being_resolved() -> None:
    stream = run(stuck())
    last = START + (LEAST_ATTEMPTS - 1) * DAY
    stream.sweep(last + GAP - DAY)
    assert found(stream)["is_active"]
    stream.sweep(last + GAP + 2 * DAY)
    record = found(stream)
    assert (record["is_active"], record["resolved"], record["resolved_at"]) == (False, False, None)
    assert (record["ended_because"], record["ended_at"]) == ("practice_moved_on", iso(last + GAP))
    stream.feed(stuck(LEAST_ATTEMPTS, last + 20 * DAY))
    again = found(stream)
    assert again["is_active"]
    assert len(again["episodes"]) == 2
    assert again["episodes"][0]["ended_because"] == "practice_moved_on"
    assert not again["episodes"][0]["resolved"]
    assert again["episodes"][0]["detected_at"] == record["detected_at"]


def test_of_many_plateaus_the_newest_three_are_told() -> None:
    stream = Stream()
    seen = []
    for number in range(5):
        stream.feed(stuck(first=START + number * 60 * DAY))
        seen.append(found(stream)["detected_at"])
    assert [episode["detected_at"] for episode in found(stream)["episodes"]] == seen[-3:]


PATTERNS: dict[Pattern, dict[str, Any]] = {
    Pattern.QUICK_WRONG: {"duration_seconds": 5},
    Pattern.SLOW_RIGHT: {"duration_seconds": 500},
    Pattern.SAME_ITEM: {"content_id": "again"},
    Pattern.MIXED: {},
}


@pytest.mark.parametrize("pattern", list(Pattern))
def test_the_suggestion_depends_on_the_pattern(pattern: Pattern) -> None:
    events = [
        completion(
            1,
            START + number * DAY,
            "s",
            score=1.0 - number % 2,
            **{"content_id": f"c{number}"} | PATTERNS[pattern],
        )
        for number in range(LEAST_ATTEMPTS)
    ]
    record = found(run(events))
    assert record["intervention_suggested"] == plateau.SUGGESTIONS[pattern]


def test_a_weak_prerequisite_is_named() -> None:
    known = catalogue(
        {"content_id": "c", "skills": ["s"], "topic": "Calculus", "prerequisites": ["strong", "weak"]},
        {"content_id": "w", "skills": ["weak"], "skill_names": {"weak": "Limits"}},
    )
    practice = [completion(1, START + number, "strong", score=1.0) for number in range(9)]
    poor = [completion(1, START + number, "weak", score=0.0) for number in range(5)]
    record = found(run([*practice, *poor, *stuck()], known))
    assert record["intervention_suggested"] == "Review Limits first: this topic builds on it"
    assert record["topic"] == "Calculus"


# -- regressions -------------------------------------------------------------------------------------------


LEARNED = 9


def learned(first: int = START) -> list[Sent]:
    """A skill known well and answered wrongly once, so that it is fading soon."""
    scores = [0.8] * (LEARNED - 1) + [0.0]
    return [completion(1, first + number * DAY, "s", score=score) for number, score in enumerate(scores)]


def regressed(stream: Stream) -> dict[str, Any]:
    record = stream.one("regressions", "1|s")
    newest = record["episodes"][-1]
    assert {name: record[name] for name in newest} == newest
    return record


def test_a_skill_regresses_at_the_time_in_closed_form() -> None:
    stream = run(learned())
    state, row = skill_row(stream, 1, "s")["now"], learner_row(stream, 1)
    last = int(state["last_at"][0])
    learner = recall.calibrate(row, np.array([last + DAY]))
    crosses = int(curves.review_at(state, learner)[0])
    users, zones = np.array([1]), Zones(["UTC"])
    boundary = last
    while ("regressions", b"1|s") not in stream.current():
        before = boundary
        boundary = int(next_boundary(users, zones, np.array([boundary]))[0])
        stream.sweep(boundary)
        assert boundary < START + 200 * DAY
    assert before < crosses <= boundary
    record = regressed(stream)
    assert record == stream.sent["regressions", b"1|s"]
    assert record["is_active"]
    assert record["detected_at"] == iso(int(fallen_since(state)[0]) // 1000 * 1000)
    peak = recall.peak_mastery(state, learner)[0] / MASTERY_UNIT
    assert record["peak_mastery"] == pytest.approx(peak, abs=0.006)
    assert record["regression_amount"] >= curves.LOSS - 0.01
    assert record["regression_amount"] == pytest.approx(record["peak_mastery"] - record["current_mastery"])
    assert record["predicted_mastery_in_week"] < record["current_mastery"]
    assert record["urgency_score"] == pytest.approx(1 - record["current_mastery"], abs=0.011)
    assert record["days_since_practice"] == (boundary - last) // DAY
    assert record["last_practiced_at"] == iso(last)
    assert record["skill_name"] == record["skill_id"] == "s"
    assert not record["user_reviewed"]


def test_urgency_grows_while_nothing_is_practised() -> None:
    stream = run(learned())
    stream.feed([completion(1, START + (LEARNED + n) * DAY, "s", score=0.0) for n in range(2)])
    scores, urgencies = [], []
    for day in range(LEARNED + 2, 120):
        stream.sweep(START + day * DAY + 2 * HOUR)
        record = stream.sent.get(("regressions", b"1|s"))
        if record is not None:
            scores.append(record["urgency_score"])
            urgencies.append(record["urgency"])
    assert scores == sorted(scores)
    assert scores[-1] - scores[0] > 0.05
    assert [urgency for urgency, _ in itertools.groupby(urgencies)] == ["high", "critical"]


def test_reviewing_ends_a_regression_and_a_later_one_is_a_new_episode() -> None:
    stream = run(learned())
    stream.sweep(START + 40 * DAY)
    first = regressed(stream)
    assert first["is_active"]
    back = START + 41 * DAY
    stream.feed([completion(1, back + number * DAY, "s", score=0.8) for number in range(3)])
    ended = regressed(stream)
    assert (ended["is_active"], ended["user_reviewed"]) == (False, True)
    assert iso(back) <= ended["resolved_at"] <= iso(back + 2 * DAY)
    assert ended["detected_at"] == first["detected_at"]
    assert ended["factors"] == []
    stream.feed([completion(1, back + (3 + number) * DAY, "s", score=0.0) for number in range(4)])
    second = regressed(stream)
    assert second["is_active"]
    assert second["detected_at"] > ended["resolved_at"]
    assert [episode["is_active"] for episode in second["episodes"]] == [False, True]
    assert second["episodes"][0]["detected_at"] == ended["episodes"][0]["detected_at"]


@pytest.mark.parametrize("seed", range(5))
def test_no_two_episodes_were_detected_at_the_same_instant(seed: int) -> None:
    rng = random.Random(seed)
    stream, at, detected = run(learned()), START + LEARNED * DAY, 0
    for _ in range(60):
        stream.feed([completion(1, at, "s", score=rng.choice([0.0, 1.0]))])
        at += rng.choice([200, HOUR, DAY]) if rng.random() < 0.1 else 0
        for (kind, _key), record in stream.sent.items():
            if kind in {"plateaus", "regressions"}:
                instants = [episode["detected_at"] for episode in record["episodes"]]
                assert len(set(instants)) == len(instants)
                assert {name: record[name] for name in record["episodes"][-1]} == record["episodes"][-1]
                detected = max(detected, len(instants))
    assert detected > 0


def test_failing_a_mastered_skill_is_a_regression_at_once() -> None:
    stream = run(learned())
    bad = START + LEARNED * DAY
    stream.feed([completion(1, bad + number * DAY, "s", score=0.0) for number in range(4)])
    record = regressed(stream)
    assert record["is_active"]
    assert iso(bad - DAY) <= record["detected_at"] <= iso(bad + 3 * DAY)


@pytest.mark.parametrize(
    "events",
    [
        learned()[: PEAK_ATTEMPTS - 1],
        [completion(1, START + number * DAY, "s", score=0.3) for number in range(9)],
        [completion(1, START, "s", score=None) for _ in range(9)],
    ],
    ids=["too few attempts", "never learned", "never scored"],
)
def test_what_was_never_learned_cannot_regress(events: list[Sent]) -> None:
    stream = run(events)
    stream.sweep(START + 120 * DAY)
    assert ("regressions", b"1|s") not in stream.current()


def test_a_skill_on_a_plateau_is_being_practised_and_has_not_regressed() -> None:
    stream = run(learned())
    stream.feed([completion(1, START + (LEARNED + n) * DAY, "s", score=1.0 - n % 2) for n in range(6)])
    assert stream.one("plateaus", "1|s")["is_active"]
    assert not stream.sent.get(("regressions", b"1|s"), {}).get("is_active", False)
    stream.sweep(START + (LEARNED + 5) * DAY + GAP + 2 * DAY)
    assert not stream.one("plateaus", "1|s")["is_active"]
    assert stream.one("regressions", "1|s")["is_active"]


def test_spaced_successes_hold_longer_than_massed_ones() -> None:
    def stability(apart: int) -> int:
        events = [completion(1, START + number * apart, "s", score=0.8) for number in range(5)]
        return int(skill_row(run(events), 1, "s")["now"]["stability"][0])

    assert stability(HOUR) < stability(6 * DAY)


def test_recall_is_nine_tenths_after_the_stability() -> None:
    stability = np.array([2_000, 30_000], np.int32)
    assert forgetting.recall(stability.astype(np.int64) * 86_400, stability) == pytest.approx([0.9, 0.9])
    assert forgetting.recall(np.zeros(2, np.int64), stability).tolist() == [1.0, 1.0]


def test_one_lucky_answer_is_no_mastery_and_no_peak() -> None:
    stream = run(learned()[:1])
    now = skill_row(stream, 1, "s")["now"]
    assert 500_000 < mastery(now["hits"], now["weight"])[0] < 750_000
    assert now["peak_strength"][0] == NO_STRENGTH
    assert curves.LEAST_PEAK == 0.6

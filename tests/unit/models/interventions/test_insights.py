"""What of a learner's predictions is counted, and what to do about it first."""

from __future__ import annotations

from typing import Any

import pytest

from lyo.evaluation.tasks.regression import ALARMED_FROM
from lyo.models.formulas import regression as regression_formula
from lyo.models.interventions.insights import count, priority_actions
from lyo.models.interventions.triggers import of_regression


def risk(level: str = "low", *, confidence: float = 0.6, factors: tuple[str, ...] = ()) -> dict[str, Any]:
    score = {"low": 0.2, "medium": 0.4, "high": 0.68, "critical": 0.9}[level]
    return {"risk_level": level, "risk_score": score, "confidence": confidence, "risk_factors": list(factors)}


def plateau(days: int) -> dict[str, Any]:
    return {"topic": "Calculus", "skill_id": "derivatives", "days_on_topic": days}


def regression(urgency: str) -> dict[str, Any]:
    return {
        "urgency": urgency,
        "skill_name": "Factoring",
        "skill_id": "factoring",
        "days_since_practice": 45,
    }


KNOWN, UNKNOWN = {"confidence": 0.5}, {"confidence": 0}


def test_each_thing_that_is_listed_counts_once() -> None:
    assert count(risk(), [], [], UNKNOWN) == 0
    assert count(risk("medium"), [], [], UNKNOWN) == 1
    assert count(risk("high"), [plateau(3), plateau(9)], [regression("low")], KNOWN) == 5


def test_a_neutral_answer_is_no_elevated_risk() -> None:
    unknown = risk("medium", confidence=0)
    assert count(unknown, [], [], UNKNOWN) == 0
    assert priority_actions(unknown, [], [], nudge=False) == []


def test_the_words_are_the_specifications() -> None:
    (action,) = priority_actions(risk(), [plateau(8)], [], nudge=False)
    assert action == {
        "type": "learning_plateau",
        "message": "User stuck on Calculus for 8 days",
        "action": "Suggest alternative learning approach",
        "priority": 6,
        "skill_id": "derivatives",
    }


def test_the_most_urgent_comes_first() -> None:
    low = [regression("low"), regression("medium")]
    found = priority_actions(
        risk("critical", factors=("broken_streak",)),
        [plateau(6), plateau(5)],
        [*low, regression("high"), regression("critical")],
        nudge=True,
    )
    assert [(action["type"], action["priority"]) for action in found] == [
        ("dropout_risk", 10),
        ("skill_regression", 8),
        ("skill_regression", 7),
        ("learning_plateau", 6),
        ("optimal_timing", 4),
    ]
    assert [action["skill_id"] for action in found] == [None, "factoring", "factoring", "derivatives", None]
    assert found[0]["message"] == "User at critical risk of dropping out (90 %): broken streak"


@pytest.mark.parametrize(("level", "priority"), [("medium", 5), ("high", 9), ("critical", 10)])
def test_each_elevated_level_has_its_action(level: str, priority: int) -> None:
    (action,) = priority_actions(risk(level), [], [], nudge=False)
    assert action["priority"] == priority
    assert action["action"]


def test_what_is_sent_of_regressions_is_what_is_measured() -> None:
    """`lyo evaluate --task regression` counts as alarms the urgencies that call for an intervention."""
    sent = [level for level in regression_formula.LEVELS if of_regression(level) is not None]
    assert sent == list(regression_formula.LEVELS[ALARMED_FROM:])

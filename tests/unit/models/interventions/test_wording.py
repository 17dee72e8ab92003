"""The words of every case: none empty, nothing left to fill in, none too long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lyo.models.formulas.dropout import FACTORS, LEVELS
from lyo.models.formulas.plateau import SUGGESTIONS, WEAK_PREREQUISITE
from lyo.models.interventions.triggers import InterventionType, of_dropout, of_plateau, of_regression
from lyo.models.interventions.wording import MOST_MESSAGE, MOST_TITLE, wording

LONGEST = "ü" * 200
Case = tuple[InterventionType, str | None, str, dict[str, Any]]


def cases() -> Iterator[Case]:
    for level in LEVELS:
        trigger = of_dropout(level)
        if trigger is None:
            continue
        for factors in [[], *([factor] for factor in FACTORS), list(FACTORS)]:
            said = {"user_id": 2**63 - 1, "risk_score": 0.72, "risk_factors": factors}
            yield trigger[0], level, "learner", said
            if level == "critical":
                yield trigger[0], level, "educator", said
    plateau, regression = of_plateau(6), of_regression("high")
    assert plateau is not None
    assert regression is not None
    for suggestion in (*SUGGESTIONS.values(), WEAK_PREREQUISITE.format(name=LONGEST)):
        for topic in ("Algebra", LONGEST, "{braces}"):
            said = {"topic": topic, "days_on_topic": 6, "intervention_suggested": suggestion}
            yield plateau[0], None, "learner", said
    for level in ("high", "critical"):
        for days in (1, 45):
            for name in ("Algebra", LONGEST, "{name}"):
                yield regression[0], level, "learner", {"skill_name": name, "days_since_practice": days}
    yield InterventionType.OPTIMAL_TIMING_NUDGE, None, "learner", {}


CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
def test_every_case_says_something_within_the_limits(case: Case) -> None:
    kind, level, audience, said = case
    words = wording(kind, level, audience, said, 7)
    for text in words:
        assert text.strip() == text
        assert text
    assert len(words.title) <= MOST_TITLE
    assert len(words.message) <= MOST_MESSAGE
    assert len(words.action) <= 50
    assert words.message[-1] in ".?!"
    named = str(said.get("topic") or said.get("skill_name") or "")
    for text in words:
        left = text.replace(named, "") if named else text
        assert not set("{}") & set(left), "a placeholder was left"
        assert "None" not in left


def test_every_type_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(InterventionType)


def test_the_strongest_factor_chooses_the_words() -> None:
    messages = set()
    for factor in FACTORS:
        for level in ("medium", "high", "critical"):
            trigger = of_dropout(level)
            assert trigger is not None
            messages.add(wording(trigger[0], level, "learner", {"risk_factors": [factor]}, 0).message)
    assert len(messages) == 3 * len(FACTORS)


def test_a_plateau_names_its_topic_days_and_suggestion() -> None:
    said = {"topic": "Algebra", "days_on_topic": 8, "intervention_suggested": "Try pictures"}
    words = wording(InterventionType.ALTERNATIVE_APPROACH, None, "learner", said, 0)
    assert words.title == "Another way into Algebra"
    assert words.message == (
        "You have worked on Algebra for 8 days without getting much further. Try pictures."
    )


def test_a_regression_names_its_skill_and_days() -> None:
    said = {"skill_name": "Derivatives", "days_since_practice": 45}
    for level in ("high", "critical"):
        words = wording(InterventionType.SKILL_REFRESH, level, "learner", said, 0)
        assert words.title == "Refresh Derivatives"
        assert "Derivatives" in words.title + words.message
        assert "45 days" in words.message


def test_an_educator_reads_whom_how_sure_and_why() -> None:
    said = {"user_id": 12, "risk_score": 0.83, "risk_factors": ["no_progress", "broken_streak"]}
    words = wording(InterventionType.EMOTIONAL_SUPPORT, "critical", "educator", said, 0)
    assert "12" in words.title
    assert "83%" in words.message
    assert "has not finished a lesson for a while and has lost a streak" in words.message


@pytest.mark.parametrize(("gap", "text"), [(1.1, "stays away longer than usual"), (9.0, "comes seldom")])
def test_an_educator_reads_what_the_numbers_say(gap: float, text: str) -> None:
    said = {
        "user_id": 7,
        "risk_score": 0.8,
        "risk_factors": ["infrequent_sessions"],
        "avg_days_between_sessions": gap,
    }
    words = wording(InterventionType.EMOTIONAL_SUPPORT, "critical", "educator", said, 7)
    assert f"The learner {text}." in words.message

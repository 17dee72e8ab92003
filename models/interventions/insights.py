"""The number of insights about a learner, and the priority actions (specification, "Comprehensive Insights").

`triggers` says which predictions call for action, and how urgently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from lyo.models.interventions.triggers import TIMING_PRIORITY, of_dropout, of_plateau, of_regression

__all__ = ["count", "priority_actions"]

Fields: TypeAlias = Mapping[str, Any]
Action: TypeAlias = dict[str, Any]

_DROPOUT_ACTIONS: Final = {
    "medium": "Send a gentle nudge",
    "high": "Reach out personally",
    "critical": "Reach out personally now and tell the educator",
}


def count(risk: Fields, plateaus: list[Any], regressions: list[Any], timing: Fields) -> int:
    """The number of insights: elevated risk, each active plateau and regression, known timing profile."""
    return _elevated(risk) + len(plateaus) + len(regressions) + (timing["confidence"] > 0)


def _elevated(risk: Fields) -> bool:
    return risk["confidence"] > 0 and of_dropout(risk["risk_level"]) is not None


def priority_actions(
    risk: Fields, plateaus: Iterable[Fields], regressions: Iterable[Fields], *, nudge: bool
) -> list[Action]:
    """The priority actions, the most urgent first; equally urgent ones in the specification's order.

    Args:
        risk: fields of the dropout risk's record.
        plateaus: fields of the active plateaus' records.
        regressions: fields of the active regressions' records.
        nudge: whether now is a good time and the learner has not studied today.
    """
    actions = _of_risk(risk) + _of_plateaus(plateaus) + _of_regressions(regressions)
    if nudge:
        message, action = "Now is a good time to study", "Send a nudge while it lasts"
        actions.append(_action("optimal_timing", message, action, TIMING_PRIORITY))
    return sorted(actions, key=lambda action: -action["priority"])


def _action(kind: str, message: str, action: str, priority: int, skill: str | None = None) -> Action:
    return {"type": kind, "message": message, "action": action, "priority": priority, "skill_id": skill}


def _of_risk(risk: Fields) -> list[Action]:
    trigger = of_dropout(risk["risk_level"])
    if trigger is None or not _elevated(risk):
        return []
    level, score = risk["risk_level"], round(risk["risk_score"] * 100)
    factors = ", ".join(name.replace("_", " ") for name in risk["risk_factors"])
    message = f"User at {level} risk of dropping out ({score} %)" + (f": {factors}" if factors else "")
    return [_action("dropout_risk", message, _DROPOUT_ACTIONS[level], trigger[1])]


def _of_plateaus(plateaus: Iterable[Fields]) -> list[Action]:
    actions = []
    for plateau in plateaus:
        trigger = of_plateau(plateau["days_on_topic"])
        if trigger is not None:
            message = f"User stuck on {plateau['topic']} for {plateau['days_on_topic']} days"
            action = "Suggest alternative learning approach"
            actions.append(_action("learning_plateau", message, action, trigger[1], plateau["skill_id"]))
    return actions


def _of_regressions(regressions: Iterable[Fields]) -> list[Action]:
    actions = []
    for regression in regressions:
        trigger = of_regression(regression["urgency"])
        if trigger is not None:
            days = regression["days_since_practice"]
            message = f"User is losing {regression['skill_name']}: not practised for {days} days"
            parts = "skill_regression", message, "Schedule a review", trigger[1]
            actions.append(_action(*parts, regression["skill_id"]))
    return actions

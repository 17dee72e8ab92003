"""What to do next: the answer's priority actions, in its order, worded for the learner."""

from __future__ import annotations

from dataclasses import dataclass

from lyo.predictive.page import words
from lyo.predictive.page.insights import Insights, Plateau, PriorityAction, Regression
from lyo.predictive.page.skills import Practice

__all__ = ["Action", "actions"]


@dataclass(frozen=True, slots=True)
class Action:
    """One line: its heading, what it is about, what to do, and the section of the page with details."""

    kind: str
    subject: str
    text: str
    section: str


def actions(insights: Insights, practice: Practice) -> tuple[Action, ...]:
    """The lines for an answer's ``priority_actions``; none about a risk that is not known yet."""
    known = insights.dropout_risk is not None and insights.dropout_risk.confidence != 0
    stuck = {plateau.skill_id: plateau for plateau in insights.active_plateaus}
    fading = {regression.skill_id: regression for regression in insights.skill_regressions}
    lines = []
    for action in insights.priority_actions:
        if "plateau" in action.type:
            lines.append(_of_plateau(stuck.get(action.skill_id or ""), practice))
        elif "regression" in action.type:
            lines.append(_of_regression(fading.get(action.skill_id or "")))
        elif "dropout" not in action.type:
            lines.append(_other(action))
        elif known:
            lines.append(_of_risk(insights))
    return tuple(lines)


def _of_plateau(plateau: Plateau | None, practice: Practice) -> Action:
    if plateau is None:
        subject, effort = "", "hard"
    else:
        name = practice.name(plateau.skill_id)
        subject = plateau.topic if name in ("", plateau.topic) else f"{plateau.topic} · {name}"
        effort = f"for {words.days(plateau.days_on_topic)}"
    text = f"You have worked on this {effort}. Another way of learning it may help it click."
    return Action("Try another way", subject, text, "plateaus")


def _of_regression(regression: Regression | None) -> Action:
    since = "" if regression is None else f"Last practised {words.days(regression.days_since_practice)} ago. "
    name = "" if regression is None else regression.skill_name
    return Action("Review", name, f"{since}A short review now brings it back.", "skills")


def _of_risk(insights: Insights) -> Action:
    level = "" if insights.dropout_risk is None else insights.dropout_risk.risk_level
    return Action("A small step", "", words.LEVELS.get(level, ("", ""))[1], "risk")


def _other(action: PriorityAction) -> Action:
    if "timing" in action.type:
        return Action("A good time", "", "This is one of your good times to learn.", "rhythm")
    return Action("Next", "", action.message or action.action, "risk")

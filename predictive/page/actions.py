"""What to do next: the answer's priority actions, in its order, said to the learner."""

from __future__ import annotations

from dataclasses import dataclass

from lyo.predictive.page import words
from lyo.predictive.page.insights import Action as Said
from lyo.predictive.page.insights import Insights, Plateau, Regression
from lyo.predictive.page.skills import Practice

__all__ = ["Action", "actions"]


@dataclass(frozen=True, slots=True)
class Action:
    """One line: a kind for the eye, what is the matter, what to do, and the section that says more."""

    kind: str
    subject: str
    text: str
    section: str


def actions(said: Insights, practice: Practice) -> tuple[Action, ...]:
    """The lines for an answer's ``priority_actions``; none about a risk that is not known yet."""
    known = said.dropout_risk is not None and said.dropout_risk.confidence != 0
    stuck = {each.skill_id: each for each in said.active_plateaus}
    fading = {each.skill_id: each for each in said.skill_regressions}
    made = []
    for one in said.priority_actions:
        if "plateau" in one.type:
            made.append(_of_plateau(stuck.get(one.skill_id or ""), practice))
        elif "regression" in one.type:
            made.append(_of_regression(fading.get(one.skill_id or "")))
        elif "dropout" not in one.type:
            made.append(_other(one))
        elif known:
            made.append(_of_risk(said))
    return tuple(made)


def _of_plateau(one: Plateau | None, practice: Practice) -> Action:
    if one is None:
        subject, effort = "", "hard"
    else:
        name = practice.name(one.skill_id)
        subject = one.topic if name in ("", one.topic) else f"{one.topic} · {name}"
        effort = f"for {words.days(one.days_on_topic)}"
    text = f"You have worked on this {effort}. Another way of learning it may help it click."
    return Action("Try another way", subject, text, "plateaus")


def _of_regression(one: Regression | None) -> Action:
    since = "" if one is None else f"Last practised {words.days(one.days_since_practice)} ago. "
    name = "" if one is None else one.skill_name
    return Action("Review", name, f"{since}A short review now brings it back.", "skills")


def _of_risk(said: Insights) -> Action:
    level = "" if said.dropout_risk is None else said.dropout_risk.risk_level
    return Action("A small step", "", words.LEVELS.get(level, ("", ""))[1], "risk")


def _other(one: Said) -> Action:
    if "timing" in one.type:
        return Action("A good time", "", "This is one of your good times to learn.", "rhythm")
    return Action("Next", "", one.message or one.action, "risk")

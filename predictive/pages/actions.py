"""What to do next: the answer's priority actions, in its order, said to the learner."""

from __future__ import annotations

from dataclasses import dataclass

from predictive.pages import words
from predictive.pages.insights import Action as Said
from predictive.pages.insights import Insights

__all__ = ["Action", "actions"]


@dataclass(frozen=True, slots=True)
class Action:
    """One line: a kind for the eye, what is the matter, what to do, and the section that says more."""

    kind: str
    subject: str
    text: str
    section: str


def actions(said: Insights) -> tuple[Action, ...]:
    """The lines for an answer's ``priority_actions``; none about a risk that is not known yet."""
    known = said.dropout_risk is not None and said.dropout_risk.confidence != 0
    chosen = [one for one in said.priority_actions if known or "dropout" not in one.type]
    return tuple(_action(one, said) for one in chosen)


def _action(one: Said, said: Insights) -> Action:
    if "plateau" in one.type:
        topics = {each.topic: each.days_on_topic for each in said.active_plateaus}
        topic = _mentioned(one, list(topics))
        effort = f"for {words.days(topics[topic])}" if topic is not None else "hard"
        text = f"You have worked on this {effort}. Another way of learning it may help it click."
        return Action("Try another way", topic or "", text, "plateaus")
    if "regression" in one.type or "refresh" in one.type:
        fading = {each.skill_name: each.days_since_practice for each in said.skill_regressions}
        skill = _mentioned(one, list(fading))
        since = "" if skill is None else f"Last practised {words.days(fading[skill])} ago. "
        return Action("Review", skill or "", f"{since}A short review now brings it back.", "skills")
    if "dropout" in one.type:
        level = "low" if said.dropout_risk is None else said.dropout_risk.risk_level
        return Action("A small step", "", words.LEVELS.get(level, ("", one.message))[1], "risk")
    if "timing" in one.type:
        return Action("A good time", "", "This is one of your good times to learn.", "rhythm")
    return Action("Next", "", one.message or one.action, "risk")


def _mentioned(one: Said, names: list[str]) -> str | None:
    """The longest of the names that the action's message mentions."""
    found = [name for name in names if name and name in one.message]
    return max(found, key=len) if found else None

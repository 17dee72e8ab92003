"""The title, message and action of every intervention, filled from the prediction that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lyo.models.formulas.dropout_factors import A_LONG_GAP
from lyo.models.formulas.strategy import INTERVENTIONS, UNNAMED
from lyo.models.interventions.triggers import InterventionType

__all__ = ["MOST_MESSAGE", "MOST_TITLE", "Wording", "wording"]

MOST_TITLE: Final = 200
MOST_MESSAGE: Final = 1_000
_MOST_NAME: Final = 120

_FACTOR_WORDS: Final = {
    "declining_engagement": "comes less often than before",
    "infrequent_sessions": "stays away longer than usual",
    "negative_sentiment": "has been frustrated lately",
    "no_progress": "has not finished a lesson for a while",
    "declining_performance": "has had falling scores",
    "broken_streak": "has lost a streak",
}
_DROPOUT_OPENING: Final = {
    "medium": "",
    "high": "Everyone has weeks in which learning is hard. ",
    "critical": "What you have learned is still yours, and coming back is easier than starting. ",
}
_CRITICAL_TITLE: Final = "Your place is still here"
_REFRESH: Final = {
    "high": "It has been {days} since you practised {name}, and it has begun to fade. "
    "A short review keeps it.",
    "critical": "{name} is fading fast: the last practice was {days} ago. A review now costs far less than "
    "learning it anew.",
}


class Wording(NamedTuple):
    """The texts to show, and what the app is to open."""

    title: str
    message: str
    action: str


def wording(
    kind: InterventionType, level: str | None, audience: str, record: Mapping[str, Any], hour: int
) -> Wording:
    """The wording of one intervention.

    Args:
        kind: the intervention's type.
        level: level of the dropout risk, or urgency of the regression; None for the other types.
        audience: "learner" or "educator".
        record: fields of the prediction that it rests on.
        hour: local hour of its slot, [0, 23].
    """
    if kind in (InterventionType.EMOTIONAL_SUPPORT, InterventionType.GENTLE_NUDGE):
        return _educator(record) if audience == "educator" else _dropout(str(level), record)
    if kind is InterventionType.ALTERNATIVE_APPROACH:
        return _plateau(record)
    if kind is InterventionType.SKILL_REFRESH:
        return _regression(str(level), record)
    return Wording(
        "A good time to learn",
        f"You often study around {hour:02d}:00 on this day. A short session now fits your rhythm.",
        "start_lesson",
    )


def _dropout(level: str, record: Mapping[str, Any]) -> Wording:
    """Built from the strongest factor of the risk, like the re-engagement strategy."""
    factors = record["risk_factors"]
    strongest = INTERVENTIONS[factors[0]] if factors else UNNAMED
    title = _CRITICAL_TITLE if level == "critical" else strongest["title"]
    return Wording(title, _DROPOUT_OPENING[level] + strongest["message"], strongest["action"])


def _educator(record: Mapping[str, Any]) -> Wording:
    words = dict(_FACTOR_WORDS)
    if (record.get("avg_days_between_sessions") or 0) >= A_LONG_GAP:
        words["infrequent_sessions"] = "comes seldom"
    signs = [words[name] for name in record["risk_factors"]]
    why = f"The learner {_listed(signs)}. " if signs else ""
    return Wording(
        f"Learner {record['user_id']} is about to drop out",
        f"The dropout risk is {record['risk_score']:.0%}. {why}A personal word now can still change that.",
        "contact_learner",
    )


def _plateau(record: Mapping[str, Any]) -> Wording:
    topic, days = _short(record["topic"]), _days(record["days_on_topic"])
    return Wording(
        f"Another way into {topic}",
        f"You have worked on {topic} for {days} without getting much further. "
        f"{record['intervention_suggested']}.",
        "try_alternative_approach",
    )


def _regression(level: str, record: Mapping[str, Any]) -> Wording:
    name, days = _short(record["skill_name"]), _days(record["days_since_practice"])
    return Wording(f"Refresh {name}", _REFRESH[level].format(name=name, days=days), "start_review")


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else name[: _MOST_NAME - 1] + "…"


def _days(count: int) -> str:
    return "one day" if count == 1 else f"{count} days"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]

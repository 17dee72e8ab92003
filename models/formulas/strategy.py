"""Re-engagement: an intervention for every factor of the risk (specification, "Dropout Prevention")."""

from __future__ import annotations

from functools import lru_cache

from lyo.models.formulas.dropout import FACTORS, LEVELS

__all__ = ["INTERVENTIONS", "UNNAMED", "Intervention", "strategy"]

Intervention = dict[str, str]

INTERVENTIONS: dict[str, Intervention] = {
    "declining_engagement": {
        "type": "personal_check_in",
        "title": "We miss you!",
        "message": "I noticed you haven't been around as much. What's been going on?",
        "action": "chat",
    },
    "infrequent_sessions": {
        "type": "micro_lesson",
        "title": "Got five minutes?",
        "message": "A short lesson is enough to keep going. I have one ready for you.",
        "action": "start_micro_lesson",
    },
    "negative_sentiment": {
        "type": "emotional_support",
        "title": "Learning can be tough",
        "message": "It sounded frustrating lately. Shall we look at what would make it easier?",
        "action": "chat",
    },
    "no_progress": {
        "type": "quick_win",
        "title": "Let's finish something",
        "message": "It has been a while since your last finished lesson. Here is one you can complete today.",
        "action": "start_quick_win",
    },
    "declining_performance": {
        "type": "adjusted_difficulty",
        "title": "One step back, two forward",
        "message": "The last lessons were hard. Let's review the basics and build from there.",
        "action": "review",
    },
    "broken_streak": {
        "type": "streak_recovery",
        "title": "Start a new streak",
        "message": "Your streak ended, but you know how to build one. One lesson today is day one.",
        "action": "start_lesson",
    },
}
UNNAMED: Intervention = {
    "type": "gentle_nudge",
    "title": "Ready when you are",
    "message": "Your next lesson is waiting for you.",
    "action": "start_lesson",
}

assert set(INTERVENTIONS) == set(FACTORS)


@lru_cache(maxsize=4096)
def strategy(level: str, factors: tuple[str, ...]) -> dict[str, str | list[Intervention]]:
    """What to do at a risk level about the named factors, strongest first; perhaps nothing at low risk."""
    chosen = [INTERVENTIONS[name] for name in factors]
    if not chosen and level != LEVELS[0]:
        chosen = [UNNAMED]
    return {"urgency": level, "interventions": chosen}

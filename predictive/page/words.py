"""The page's wording for the learner, plain and kind, and the one form of each number."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ENDED",
    "FACTORS",
    "LEVELS",
    "SELDOM",
    "URGENCY",
    "days",
    "hours",
    "number",
    "percent",
    "points",
    "signed",
    "times",
]

LEVELS: Final = {
    "low": ("Low", "You are on a steady course. Keep going the way that works for you."),
    "medium": (
        "Medium",
        "It is easy to lose the thread now; one small step is enough to keep it.",
    ),
    "high": (
        "High",
        "Many people stop about here. That happens, and a small start helps.",
    ),
    "critical": (
        "Critical",
        "It would be easy to stop here. You can come back at any time, without catching up first.",
    ),
}
"""By risk level: its name, and what it means for the learner."""

FACTORS: Final = {
    "declining_engagement": ("Sessions compared with your usual", "fewer sessions than you usually have"),
    "infrequent_sessions": ("Time between sessions", "away for longer than is usual for you"),
    "negative_sentiment": ("How it has felt lately", "frustration in the last week"),
    "no_progress": ("Finished lessons", "a while without a finished lesson"),
    "declining_performance": ("Scores over the last weeks", "scores going down"),
    "broken_streak": ("Your streak", "a streak that ended"),
    "silence": ("Days since you were here", "each day away adds to it"),
    "active_days": ("Days you have studied", "the fewer, the higher the risk"),
    "amount": ("Time you have spent", "the less, the higher the risk"),
    "rhythm": ("How long and how often you have been learning", ""),
    "scores": ("Your scores", "the lower, the higher the risk"),
    "usual": ("Where active learners stand", ""),
    "other": ("Other", "what the parts above leave open"),
}
"""By factor of the risk: its label, and what raises the risk.

Of those that `risk_factors` names it is so by the numbers shown; of the others it says how the risk follows.
"""

SELDOM: Final = "long gaps between sessions"
"""The same of those whose days of study are far apart."""

URGENCY: Final = {"low": "Low", "medium": "Medium", "high": "High", "critical": "Very high"}

ENDED: Final = {
    "mastery_moved": "Your scores moved again.",
    "mastered": "You mastered it.",
    "practice_moved_on": "You stopped practising it.",
}
"""Why a plateau ended."""


def percent(hundredths: int) -> str:
    """Mastery in hundredths as ``65%``."""
    return f"{hundredths}%"


def number(hundredths: int) -> str:
    """A score in hundredths as ``0.65``."""
    return f"{hundredths / 100:.2f}"


def signed(hundredths: int) -> str:
    """A contribution in hundredths as ``+0.08``, ``−0.05`` or ``0.00``."""
    sign = "+" if hundredths > 0 else "−" if hundredths < 0 else ""
    return f"{sign}{abs(hundredths) / 100:.2f}"


def points(hundredths: int) -> str:
    """A change of mastery as ``+2 points``."""
    sign = "+" if hundredths > 0 else "−" if hundredths < 0 else "±"
    return f"{sign}{abs(hundredths)} {'point' if abs(hundredths) == 1 else 'points'}"


def hours(half_hours: int) -> str:
    """Half hours as ``1.5 h``."""
    return f"{half_hours / 2:g} h"


def days(count: int) -> str:
    """``1 day``, ``8 days``."""
    return f"{count} {'day' if count == 1 else 'days'}"


def times(count: int, unit: str) -> str:
    """``1 attempt``, ``15 attempts``."""
    return f"{count} {unit if count == 1 else unit + 's'}"

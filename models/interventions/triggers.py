"""Triggers of interventions, with type and priority (specification, "Integration with Phase 1").

This is the one table for deciding, ordering and wording interventions. The specification fixes 9 and 10 for
emotional support; the other priorities keep its order of triggers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = [
    "PLATEAU_DAYS",
    "TIMING_PRIORITY",
    "InterventionType",
    "Trigger",
    "of_dropout",
    "of_plateau",
    "of_regression",
]


class InterventionType(StrEnum):
    """The specification's "New Intervention Types", and the emotional support of Phase 1."""

    EMOTIONAL_SUPPORT = "emotional_support"
    GENTLE_NUDGE = "gentle_nudge"
    ALTERNATIVE_APPROACH = "alternative_approach"
    SKILL_REFRESH = "skill_refresh"
    OPTIMAL_TIMING_NUDGE = "optimal_timing_nudge"


Trigger = tuple[InterventionType, int]
"""A type and its priority, 1 to 10."""

PLATEAU_DAYS: Final = 5
"""A plateau calls for another approach after more than this many days on the topic."""
TIMING_PRIORITY: Final = 4

_DROPOUT: Final[dict[str, Trigger]] = {
    "medium": (InterventionType.GENTLE_NUDGE, 5),
    "high": (InterventionType.EMOTIONAL_SUPPORT, 9),
    "critical": (InterventionType.EMOTIONAL_SUPPORT, 10),
}
_REGRESSION: Final[dict[str, Trigger]] = {
    "high": (InterventionType.SKILL_REFRESH, 7),
    "critical": (InterventionType.SKILL_REFRESH, 8),
}


def of_dropout(level: str) -> Trigger | None:
    """The trigger of a dropout risk level; None for low."""
    return _DROPOUT.get(level)


def of_plateau(days_on_topic: int) -> Trigger | None:
    """The trigger of a plateau after so many days; None for `PLATEAU_DAYS` and fewer."""
    return (InterventionType.ALTERNATIVE_APPROACH, 6) if days_on_topic > PLATEAU_DAYS else None


def of_regression(urgency: str) -> Trigger | None:
    """The trigger of a regression's urgency; None below high."""
    return _REGRESSION.get(urgency)

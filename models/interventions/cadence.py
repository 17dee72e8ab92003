"""The limits of interventions: how often they are decided and how long they last, in one table.

The specification gives triggers, types and priorities and leaves these open;
docs/decisions/043-interventions.md gives the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.interventions.triggers import InterventionType

__all__ = [
    "ANY_HOUR",
    "HYSTERESIS",
    "MOST_PER_DAY",
    "NUDGED_FOR_DAYS",
    "PLACED_WITHIN_DAYS",
    "RULES",
    "SETTLED_DAYS",
    "SURE_FROM",
    "URGENT_FROM",
    "WAKING_HOURS",
    "Rule",
]

HYSTERESIS: Final = 5
"""A level is entered above its lower bound and left this many hundredths below it."""
MOST_PER_DAY: Final = 3
"""Default daily cap: interventions of a learner on one local day."""
WAKING_HOURS: Final = frozenset(range(9, 21))
"""Local hours for learners without a sure timing profile."""
ANY_HOUR: Final = frozenset(range(24))
PLACED_WITHIN_DAYS: Final = 2
"""Local days searched for a slot: today and tomorrow. Without a slot the search is repeated tomorrow."""
URGENT_FROM: Final = 9
"""From this priority on waking hours are slots, too, beside the learner's usual ones."""
SURE_FROM: Final = 50
"""Confidence (hundredths) from which a timing profile is followed."""
SETTLED_DAYS: Final = 3
"""Days since the first visit before which a dropout risk causes nothing: it is that of any newcomer."""
NUDGED_FOR_DAYS: Final = 14
"""Days of silence after which no timing nudge is sent; the dropout risk causes interventions by then."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Limits of one type.

    Attributes:
        cool_down: local days from one to the next of the same learner and audience.
        per_skill: the same for one skill.
        lasts: from the slot to the expiry, in ms.
        kept: from the expiry until its record is deleted, in ms; covers the cool-down.
    """

    cool_down: int
    per_skill: int
    lasts: int
    kept: int


RULES: Final[dict[InterventionType, Rule]] = {
    InterventionType.EMOTIONAL_SUPPORT: Rule(7, 7, lasts=7 * DAY, kept=30 * DAY),
    InterventionType.GENTLE_NUDGE: Rule(3, 3, lasts=3 * DAY, kept=30 * DAY),
    InterventionType.ALTERNATIVE_APPROACH: Rule(7, 7, lasts=7 * DAY, kept=30 * DAY),
    InterventionType.SKILL_REFRESH: Rule(3, 14, lasts=7 * DAY, kept=30 * DAY),
    # Daily nudges would fill the topic: one is deleted as soon as its day cannot come again.
    InterventionType.OPTIMAL_TIMING_NUDGE: Rule(1, 1, lasts=2 * HOUR, kept=2 * DAY),
}

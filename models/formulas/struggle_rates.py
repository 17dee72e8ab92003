"""How often a learner struggles: over all attempts, lately, and with one skill.

Thin evidence draws each rate toward the one before it: the learner's whole history toward a fixed prior, the
last week toward the history, today toward the week, a skill toward the learner. Other learners play no part.
docs/accuracy.md says how the numbers were chosen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY
from lyo.models.state.learner import Rows
from lyo.models.state.struggles import STRUGGLE_UNIT

__all__ = ["PRIOR_RATE", "own_rate", "skill_rate"]

PRIOR_RATE = 0.3
"""Rate of a learner of whom nothing is known: about that of public data sets of exercises."""
PRIOR_TRIES = 1.0
WEEK_DAYS, WEEK_TRIES = 7, 40.0
TODAY_TRIES = 40.0
SKILL_TRIES = 6.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def own_rate(rows: Rows, as_of: Ints) -> Floats:
    """Rate ``(n,)`` in (0, 1) at which learners struggle, from LEARNER rows ``(n,)`` as of instants in ms."""
    tried, struggled = rows["all_tried"].astype(np.float64), rows["all_struggled"].astype(np.float64)
    rate: Floats = (struggled + PRIOR_TRIES * PRIOR_RATE) / (tried + PRIOR_TRIES)
    today = (as_of // DAY)[:, None]
    day = rows["day"].astype(np.int64) - 1  # -1: no day
    for days, weight in ((WEEK_DAYS, WEEK_TRIES), (1, TODAY_TRIES)):
        recent = (day > today - days) & (day <= today)
        tried = np.where(recent, rows["tried"], 0).sum(axis=1)
        struggled = np.where(recent, rows["struggled"], 0).sum(axis=1)
        rate = (struggled + weight * rate) / (tried + weight)
    return rate


def skill_rate(states: NDArray[np.void], own: Floats) -> Floats:
    """Rate ``(k,)`` in (0, 1) of struggle with skills, from MEMORY states ``(k,)`` and own rates ``(k,)``.

    A skill that was never tried has the learner's own rate.
    """
    struggles, tries = states["struggles"] / STRUGGLE_UNIT, states["tries"] / STRUGGLE_UNIT
    rate: Floats = (struggles + SKILL_TRIES * own) / (tries + SKILL_TRIES)
    return rate

"""A skill's forgetting curve: mastery as it fades after the last practice, and when to review it.

What is known at the last practice fades by recall (`lyo.models.state.forgetting`). The review date is the
moment at which recall has taken mastery down to the limit under which the skill counts as regressed (0.15
below its peak), so that whoever reviews by then never sees the skill listed as fading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths
from lyo.models.arrays.zones import DAY
from lyo.models.state.forgetting import crossing, recall
from lyo.models.state.mastery import MASTERY_UNIT, mastery
from lyo.models.state.regression_span import floor_of

__all__ = ["Curves", "forgetting", "mastery_at", "points", "review_at"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Curves:
    """Forgetting curves of ``n`` skills as of a moment; levels in hundredths, -1 = there is none.

    ``limit`` is the mastery at which to review and ``review`` when it is reached (ms; -1 = nothing mastered
    yet that could be lost). ``learned`` is mastery at the last practice.
    """

    last: Ints  # ms
    learned: Ints
    now: Ints
    next_week: Ints
    peak: Ints
    limit: Ints
    review: Ints


def mastery_at(states: NDArray[np.void], elapsed: Ints) -> Ints:
    """Mastery ``(n,)`` in millionths of MEMORY states, ``elapsed`` ms after the last practice."""
    level = mastery(states["hits"], states["weight"])
    return np.rint(level * recall(elapsed, states["stability"])).astype(np.int64)


def review_at(states: NDArray[np.void]) -> Ints:
    """When (ms) mastery reaches the limit under which each skill ``(n,)`` counts as regressed."""
    level, floor = mastery(states["hits"], states["weight"]), floor_of(states["peak"])
    return states["last_at"] + crossing(level, floor, states["stability"])


def forgetting(states: NDArray[np.void], as_of: Ints) -> Curves:
    """Forgetting curves of MEMORY states ``(n,)`` as of instants ``(n,)."""
    elapsed = np.maximum(as_of - states["last_at"], 0)
    floor = floor_of(states["peak"])
    proven = states["peak"] > 0
    return Curves(
        last=states["last_at"].astype(np.int64),
        learned=_level(mastery_at(states, np.zeros(len(states), np.int64))),
        now=_level(mastery_at(states, elapsed)),
        next_week=_level(mastery_at(states, elapsed + 7 * DAY)),
        peak=np.where(proven, _level(states["peak"]), -1),
        limit=np.where(floor > 0, _level(floor), -1),
        review=np.where(floor > 0, review_at(states), -1),
    )


def points(state: NDArray[np.void], at: Ints) -> Floats:
    """Mastery ``(k,)`` in [0, 1] of one MEMORY state ``(1,)`` at instants ``(k,)``, along its curve."""
    return mastery_at(np.repeat(state, len(at)), np.maximum(at - state["last_at"][0], 0)) / MASTERY_UNIT


def _level(millionths: Ints) -> Ints:
    return hundredths(millionths / MASTERY_UNIT)

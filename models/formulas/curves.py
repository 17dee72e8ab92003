"""A skill's forgetting curve: mastery as it fades after the last practice, and when to review it.

Mastery is the probability that the next answer is right (`lyo.models.formulas.recall`). The review date is
the instant at which mastery reaches the limit under which the skill counts as regressed, computed from what
is known at the time of the prediction. A learner who reviews by then never sees the skill listed as fading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths
from lyo.models.arrays.zones import DAY
from lyo.models.formulas.recall import Calibration, mastery_now, peak_mastery, probability
from lyo.models.state.mastery import MASTERY_UNIT, NO_STRENGTH, STRENGTH_UNIT, strength_falls_to
from lyo.models.state.regression_span import span_limit

__all__ = ["LEAST_PEAK", "LOSS", "Curves", "forgetting", "limit_of", "points", "review_at"]

LEAST_PEAK = 0.6
LOSS = 0.1
BELOW_USUAL = 0.3
_NEVER = 3_650 * DAY  # later than this is no date

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Curves:
    """Forgetting curves of ``n`` skills as of an instant; levels in hundredths, -1 = there is none.

    ``limit`` is the mastery at which to review and ``review`` when it is reached (ms; -1 = nothing mastered
    yet that could be lost, or not within ten years). ``learned`` is mastery at the last practice.
    """

    last: Ints  # ms
    learned: Ints
    now: Ints
    next_week: Ints
    peak: Ints
    limit: Ints
    review: Ints


def limit_of(states: NDArray[np.void], learner: Calibration) -> Floats:
    """Strength ``(n,)`` under which each skill has regressed, minus infinity where it cannot.

    The skill was mastered (0.6 at its peak) and has lost 0.1 of that; the odds of failing are above those of
    what the learner usually reviews by a third; and the fold sees a fall.
    """
    peak = probability(learner, states["peak_strength"] / STRENGTH_UNIT)
    lost = np.maximum(peak - LOSS, 0.01)
    by_loss = (np.log(lost / (1.0 - lost)) - learner.offset) / learner.slope
    limit = np.minimum(by_loss, learner.usual - BELOW_USUAL / learner.slope)
    proven = (states["peak_strength"] != NO_STRENGTH) & (peak >= LEAST_PEAK)
    return np.where(proven, np.minimum(limit, span_limit(states)), -np.inf)


def review_at(states: NDArray[np.void], learner: Calibration) -> Ints:
    """Instants ``(n,)`` in ms at which MEMORY states ``(n,)`` reach the limit of a regression."""
    return states["last_at"] + strength_falls_to(states, limit_of(states, learner))


def forgetting(states: NDArray[np.void], as_of: Ints, learner: Calibration) -> Curves:
    """Forgetting curves of MEMORY states ``(n,)`` as of instants ``(n,)`` in ms.

    ``learner (n,)`` is the calibration of each skill's learner.
    """
    elapsed = np.maximum(as_of - states["last_at"], 0)
    limit, review = limit_of(states, learner), review_at(states, learner)
    proven = states["peak_strength"] != NO_STRENGTH
    dated = np.isfinite(limit) & (review - states["last_at"] < _NEVER)
    at_limit = np.where(np.isfinite(limit), probability(learner, np.maximum(limit, -100.0)), 0.0)
    return Curves(
        last=states["last_at"].astype(np.int64),
        learned=_level(mastery_now(states, np.zeros(len(states), np.int64), learner)),
        now=_level(mastery_now(states, elapsed, learner)),
        next_week=_level(mastery_now(states, elapsed + 7 * DAY, learner)),
        peak=np.where(proven, _level(peak_mastery(states, learner)), -1),
        limit=np.where(dated, hundredths(at_limit), -1),
        review=np.where(dated, review, -1),
    )


def points(state: NDArray[np.void], at: Ints, learner: Calibration) -> Floats:
    """Mastery ``(k,)`` in [0, 1] of one MEMORY state ``(1,)`` at instants ``(k,)`` in ms."""
    elapsed = np.maximum(at - state["last_at"][0], 0)
    many = np.repeat(0, len(at))
    return mastery_now(np.repeat(state, len(at)), elapsed, learner.take(many)) / MASTERY_UNIT


def _level(millionths: Ints) -> Ints:
    return hundredths(millionths / MASTERY_UNIT)

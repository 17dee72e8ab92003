"""How well a skill is known: the share of right answers lately, and its strength in memory.

Successes are counted apart from grades: a score of one half or more is a right answer, whatever its grade.

`mastery` is ``(hits + P * prior) / (weight + P)`` with ``hits = sum(0.9**age * right)`` and ``weight =
sum(0.9**age)``, age in attempts, so that one lucky answer is not 1.0. Integer arithmetic throughout.

`strength` says in log odds how likely the next answer is right, for a learner of whom nothing else is known:
a logistic on the recall of the forgetting curve and on the right answers so far. Its three coefficients were
fitted on one learner's public review log (fsrs-user, MIT licence). `lyo.models.formulas.recall` makes a
probability of it, by the learner's own reviews.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.exact import log
from lyo.models.arrays.rounding import increased
from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.state.forgetting import days_until, logit_recall

__all__ = [
    "MASTERY_UNIT",
    "NO_STRENGTH",
    "PEAK_ATTEMPTS",
    "REVIEW_AFTER",
    "RIGHT_FROM",
    "STRENGTH_UNIT",
    "WEAKEST",
    "add_evidence",
    "mastery",
    "strength",
    "strength_falls_to",
    "thousandths",
]

MASTERY_UNIT = 1_000_000
STRENGTH_UNIT = 1_000
NO_STRENGTH = 0
"""What is stored where there is none; a strength of exactly 0 is stored as 1/1000."""
PEAK_ATTEMPTS = 3
RIGHT_FROM = 5_000
"""Lowest score, 1/10000, of a right answer."""
REVIEW_AFTER = 8 * HOUR
"""An attempt this long after the one before is a review. Sooner, recall says little: the curve is flat."""
PRIOR_WEIGHT = 1_500_000
PRIOR_HITS = 750_000
WEAKEST, STRONGEST = -3.0, 5.0
_BASE, _PER_RECALL, _PER_RIGHT = -1.18, 1.02, 0.785
_NEVER = 36_500.0  # days

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def mastery(hits: NDArray[np.int32], weight: NDArray[np.int32]) -> Ints:
    """Share of right answers lately ``(n,)`` in millionths, in (0, 1); one half where nothing is known."""
    return (hits.astype(np.int64) + PRIOR_HITS) * MASTERY_UNIT // (weight.astype(np.int64) + PRIOR_WEIGHT)


def add_evidence(state: NDArray[np.void], right: NDArray[np.bool_], scored: NDArray[np.bool_]) -> None:
    """Count an answer in each MEMORY ``(n,)`` in place, where it was scored."""
    hits, weight = state["hits"].astype(np.int64), state["weight"].astype(np.int64)
    state["hits"] = np.where(scored, (hits * 9 + 5) // 10 + right * MASTERY_UNIT, hits)
    state["weight"] = np.where(scored, (weight * 9 + 5) // 10 + MASTERY_UNIT, weight)
    state["scored"] = increased(state["scored"], scored)
    state["right"] = increased(state["right"], right)


def strength(states: NDArray[np.void], elapsed: Ints) -> Floats:
    """Log odds ``(n,)`` of a right answer, in [-3, 5], ``elapsed`` ms after the last attempt; never rises."""
    kept = logit_recall(np.maximum(elapsed, REVIEW_AFTER), states["stability"])
    odds = _BASE + _PER_RECALL * kept + _PER_RIGHT * log(1.0 + states["right"])
    return np.minimum(np.maximum(odds, WEAKEST), STRONGEST)


def strength_falls_to(states: NDArray[np.void], limit: Floats) -> Ints:
    """Milliseconds ``(n,)`` after the last attempt at which strength reaches ``limit``, from then on below.

    0 where it is there from the start, and a hundred years where it comes later than that or never.
    """
    kept = (limit - _BASE - _PER_RIGHT * log(1.0 + states["right"])) / _PER_RECALL
    days = np.minimum(days_until(kept, states["stability"]), _NEVER)
    after = np.where(limit < WEAKEST, _NEVER, days) * DAY
    return np.where(strength(states, np.zeros(len(states), np.int64)) <= limit, 0, np.ceil(after)).astype(
        np.int64
    )


def thousandths(odds: Floats) -> NDArray[np.int16]:
    """Strength in `STRENGTH_UNIT` as it is stored."""
    stored = np.rint(odds * STRENGTH_UNIT).astype(np.int16)
    return np.where(stored == NO_STRENGTH, 1, stored).astype(np.int16)

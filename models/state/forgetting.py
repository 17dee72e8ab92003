"""The forgetting curve and what practice does to it: FSRS, version 6, with its published default weights.

Recall falls as ``(1 + f t / S) ** -d`` with time t and stability S, the days after which it is 0.9 (Ye and
others 2022-2025, github.com/open-spaced-repetition). Difficulty in [1, 10] says how hard the skill is.
Quantised after every attempt: stability to 1/1000 day, difficulty to 1/1000.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.exact import exp, log
from lyo.models.arrays.zones import DAY

__all__ = [
    "FIRST_DIFFICULTY",
    "FIRST_STABILITY",
    "MILLIDAY",
    "after_attempt",
    "days_until",
    "logit_recall",
    "recall",
]

MILLIDAY = 86_400  # ms
FIRST_STABILITY, FIRST_DIFFICULTY = 2_000, 5_000  # of a skill never practised, 1/1000
_LEAST, _MOST = 10, 36_500_000
_FIRST = np.array([0.212, 1.2931, 2.3065, 8.2956])  # days, by grade: again, hard, good, easy
_FIRST_HARD, _FIRST_EASE, _STEP, _PULL = 6.4133, 0.8334, 3.0194, 0.001
_GROWTH, _GROWTH_DAMP, _GROWTH_LAPSE = 1.8722, 0.1666, 0.796
_LAPSE, _LAPSE_HARD, _LAPSE_GROWTH, _LAPSE_RECALL = 1.4835, 0.0614, 0.2629, 1.6483
_HARD, _EASY = 0.6014, 1.8729
_SAME_DAY, _SAME_DAY_SHIFT, _SAME_DAY_DAMP = 0.5425, 0.0912, 0.0658
_DECAY = 0.1542
_FACTOR = 0.9803464944134797
"""``0.9 ** (-1 / _DECAY) - 1``, so that recall is 0.9 at the stability."""
_GRADES = np.array([5_000, 7_000, 9_500])  # lowest scores, 1/10000, of hard, good and easy

_SAME_DAY_LEAST = exp(np.array([_SAME_DAY * _SAME_DAY_SHIFT]))
_DIFFICULTIES = np.clip(_FIRST_HARD - exp(_FIRST_EASE * np.arange(4.0)) + 1.0, 1.0, 10.0)
"""After a first attempt, by grade."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def recall(elapsed: Ints, stability: NDArray[np.int32]) -> Floats:
    """Recall ``(n,)`` in (0, 1] after ``elapsed`` ms, by the curve alone; stability in 1/1000 days."""
    return exp(-_DECAY * _lost(elapsed, stability))


def logit_recall(elapsed: Ints, stability: NDArray[np.int32]) -> Floats:
    """Log odds of `recall` ``(n,)``; ``elapsed`` must be positive."""
    return -log(exp(_DECAY * _lost(elapsed, stability)) - 1.0)


def days_until(logit: Floats, stability: NDArray[np.int32]) -> Floats:
    """Days ``(n,)`` until the log odds of recall have fallen to ``logit``: the inverse of `logit_recall`."""
    lost = log(1.0 + exp(-logit)) / _DECAY
    return (exp(lost) - 1.0) * (stability / (1_000.0 * _FACTOR))


def _lost(elapsed: Ints, stability: NDArray[np.int32]) -> Floats:
    days = np.maximum(elapsed, 0) / float(DAY)
    return log(1.0 + _FACTOR * 1_000.0 * days / np.maximum(stability, _LEAST))


def after_attempt(
    stability: NDArray[np.int32],
    difficulty: NDArray[np.uint16],
    score: NDArray[np.int16],
    elapsed: Ints,
    first: NDArray[np.bool_],
) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
    """Stability and difficulty ``(n,)``, both in 1/1000, after an attempt.

    Args:
        stability: before the attempt.
        difficulty: before the attempt.
        score: 0..10000, -1 = not scored (a first look then counts as hard, a later one changes nothing).
        elapsed: ms since the attempt before.
        first: whether it was the first attempt.
    """
    scored = score >= 0
    grade = np.where(scored, np.searchsorted(_GRADES, score, side="right"), 1)
    hard = difficulty / 1_000.0
    grown = _grown(stability, hard, grade, elapsed)
    new = np.where(first, _FIRST[grade], np.where(scored, grown, stability / 1_000.0))
    harder = hard - _STEP * (grade - 2.0) * (10.0 - hard) / 9.0
    harder = _PULL * _DIFFICULTIES[3] + (1.0 - _PULL) * harder
    changed = np.where(first, _DIFFICULTIES[grade], np.where(scored, harder, hard))
    return (
        np.clip(np.rint(new * 1_000.0), _LEAST, _MOST).astype(np.int32),
        np.clip(np.rint(changed * 1_000.0), 1_000, 10_000).astype(np.uint16),
    )


def _grown(stability: NDArray[np.int32], hard: Floats, grade: Ints, elapsed: Ints) -> Floats:
    """Stability in days ``(n,)`` after a later attempt."""
    days = stability / 1_000.0
    forgotten = 1.0 - recall(elapsed, stability)
    size, size_above, effort = log(np.stack([days, days + 1.0, hard]))
    # One call for all: rows come in small batches, where calls cost more than elements.
    damped, surprise, reach, lapse, short = exp(
        np.stack(
            [
                _GROWTH - _GROWTH_DAMP * size,
                _GROWTH_LAPSE * forgotten,
                _LAPSE_GROWTH * size_above,
                _LAPSE_RECALL * forgotten - _LAPSE_HARD * effort,
                _SAME_DAY * (grade - 2.0 + _SAME_DAY_SHIFT) - _SAME_DAY_DAMP * size,
            ]
        )
    )
    bonus = np.where(grade == 1, _HARD, np.where(grade == 3, _EASY, 1.0))
    kept = days * (1.0 + (11.0 - hard) * damped * (surprise - 1.0) * bonus)
    lapsed = np.minimum(_LAPSE * lapse * (reach - 1.0), days / _SAME_DAY_LEAST)
    short = days * np.where(grade >= 2, np.maximum(short, 1.0), short)
    return np.where(elapsed < DAY, short, np.where(grade == 0, lapsed, kept))

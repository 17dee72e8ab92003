"""The forgetting curve: recall falls as ``1 / (1 + t / 9S)`` with time t and stability S.

The curve is that of FSRS version 4 (Ye 2023): recall is 0.9 when t = S. Stability grows with spaced
successes (more, the more had been forgotten) and shrinks with failures. Only ``+ - * /`` on doubles,
which every processor rounds alike, and quantised to a thousandth of a day.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY

__all__ = ["FIRST_STABILITY", "MILLIDAY", "crossing", "recall", "stability_after"]

MILLIDAY = 86_400  # ms
FIRST_STABILITY = 2_000
_LEAST, _MOST = 500, 365_000
_GROWTH, _DAMPING = 8.0, 60_000.0
_SUCCESS = 5_000

Floats = NDArray[np.float64]


def recall(elapsed: NDArray[np.int64], stability: NDArray[np.int32]) -> Floats:
    """Probability of recall ``(n,)`` after ``elapsed`` ms, with stability in 1/1000 days."""
    return 1.0 / (1.0 + np.maximum(elapsed, 0) / (9.0 * MILLIDAY * stability))


def crossing(
    level: NDArray[np.int64], target: NDArray[np.int64], stability: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Milliseconds until ``level`` has faded to ``target`` (same unit), 0 if it is below already."""
    ratio = level / np.maximum(target, 1)
    return np.rint(np.maximum(ratio - 1.0, 0.0) * (9.0 * MILLIDAY * stability)).astype(np.int64)


def stability_after(
    stability: NDArray[np.int32], score: NDArray[np.int16], kept: Floats, first: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Stability ``(n,)`` after an attempt, in 1/1000 days, between half a day and a year.

    Args:
        stability: before the attempt.
        score: 0..10000, -1 = not scored (a first look then counts as half right, a later one not at all).
        kept: recall at the moment of the attempt, in (0, 1].
        first: whether it was the first attempt.
    """
    share = np.where(score < 0, 0.5, score / 10_000)
    grown = stability * (1.0 + _GROWTH / (1.0 + stability / _DAMPING) * (1.0 - kept) * share)
    shrunk = stability * (0.2 + 0.6 * share)
    changed = np.where(score < 0, stability, np.where(score >= _SUCCESS, grown, shrunk))
    changed = np.where(first, 1_000.0 + 3_000.0 * share, changed)
    return np.clip(np.rint(changed), _LEAST, _MOST).astype(np.int32)


assert MILLIDAY * 1_000 == DAY

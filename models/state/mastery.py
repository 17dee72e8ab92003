"""Mastery of a skill: a recency-weighted mean of scores, drawn toward a prior by thin evidence.

``mastery = (hits + P * prior) / (weight + P)`` with ``hits = sum(0.9**age * score)`` and ``weight =
sum(0.9**age)``, age in attempts, so that one lucky answer is not 1.0. Integer arithmetic throughout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MASTERY_UNIT", "PEAK_ATTEMPTS", "add_evidence", "mastery"]

MASTERY_UNIT = 1_000_000
PEAK_ATTEMPTS = 3
PRIOR_WEIGHT = 1_500_000
PRIOR_HITS = 750_000
_SCORE = 100  # one 1/10000 of a score in mastery units


def mastery(hits: NDArray[np.int32], weight: NDArray[np.int32]) -> NDArray[np.int64]:
    """Mastery ``(n,)`` in millionths, in (0, 1); one half where nothing is known."""
    return (hits.astype(np.int64) + PRIOR_HITS) * MASTERY_UNIT // (weight.astype(np.int64) + PRIOR_WEIGHT)


def add_evidence(state: NDArray[np.void], score: NDArray[np.int16], scored: NDArray[np.bool_]) -> None:
    """Add a score to each MEMORY ``(n,)`` in place, where there is one."""
    hits, weight = state["hits"].astype(np.int64), state["weight"].astype(np.int64)
    state["hits"] = np.where(scored, (hits * 9 + 5) // 10 + score.astype(np.int64) * _SCORE, hits)
    state["weight"] = np.where(scored, (weight * 9 + 5) // 10 + MASTERY_UNIT, weight)

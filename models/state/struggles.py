"""Struggles with one skill: how often of late, and whether an attempt took longer than usual.

An attempt counts as a whole struggle if the learner gave up, is reported to have struggled, or scored under
one half. A success that took longer than this learner usually takes for this skill counts as up to a quarter.
Scores above one half make no difference. All arithmetic is on integers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import increased

__all__ = ["STRUGGLE_UNIT", "add_struggle"]

STRUGGLE_UNIT = 1_000_000
SLOW_SHARE = STRUGGLE_UNIT // 4
"""Share of a struggle that a success counts as if it took twice the usual time or longer."""
TIMED_LEAST = 3
"""Attempts with a duration before there is a usual duration."""
UNKNOWN_SECONDS = 65_535
_SETTLED = 5  # attempts; from there the usual time follows with a fifth of each
_LONGEST = 3  # times the usual: a longer one was an interruption


def add_struggle(state: NDArray[np.void], struggled: NDArray[np.int8], seconds: NDArray[np.uint16]) -> None:
    """Add an attempt to each MEMORY ``(n,)`` in place.

    ``struggles = sum(0.7**age * share)`` and ``tries = sum(0.7**age)``; the age counts later attempts of
    which it is known whether the learner struggled.

    Args:
        state: MEMORY states ``(n,)``.
        struggled: 1 struggled, 0 not, -1 unknown ``(n,)``.
        seconds: durations ``(n,)``; 65535 = unknown.
    """
    took, usual = seconds.astype(np.int64) * 1000, state["usual_time"].astype(np.int64)
    timed = seconds != UNKNOWN_SECONDS
    slow = timed & (state["timed"] >= TIMED_LEAST) & (usual > 0)
    over = np.clip((took - usual) * SLOW_SHARE // np.maximum(usual, 1), 0, SLOW_SHARE)
    share = np.where(struggled == 1, STRUGGLE_UNIT, np.where(slow, over, 0))
    for name, value in (("struggles", share), ("tries", STRUGGLE_UNIT)):
        faded = (state[name].astype(np.int64) * 7 + 5) // 10 + value
        state[name] = np.where(struggled >= 0, faded, state[name])
    took = np.where(state["timed"] > 0, np.minimum(took, _LONGEST * np.maximum(usual, 1000)), took)
    follows = usual + (took - usual) // np.minimum(state["timed"].astype(np.int64) + 1, _SETTLED)
    state["usual_time"] = np.where(timed, follows, usual)
    state["timed"] = increased(state["timed"], timed)

"""The window in which practice of a skill is watched for a plateau, as the fold sees it.

A window is a run of scored attempts without a gap of 14 days. It becomes a plateau at an attempt, the sixth
or later and on the second day or later, after which three or four of the last six answers are right, and of
the last three no more than of the three before. It stays one until the last six leave that range, or until
practice moves on.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import increased
from lyo.models.arrays.zones import DAY
from lyo.models.state.mastery import RIGHT_FROM

__all__ = [
    "GAP",
    "LAST",
    "LEAST_ATTEMPTS",
    "LEAST_DAYS",
    "PLATEAU",
    "Ended",
    "Pattern",
    "end_window_by_gap",
    "extend_window",
    "improvement_of",
    "pattern_of",
    "right_of_last",
]

GAP = 14 * DAY
LAST = 6
LEAST_ATTEMPTS = LAST
LEAST_DAYS = 2
FEWEST_RIGHT, MOST_RIGHT = 3, 4
QUICK_SECONDS = 15
SLOW_SECONDS = 120
UNKNOWN_SECONDS = 65_535

PLATEAU = np.dtype(
    [
        ("since", "<i8"),  # seconds
        ("detected", "<i8"),
        ("ended", "<i8"),
        ("attempts", "<u4"),
        ("mastery", "<i4"),  # 1e-6
        ("improvement", "<i4"),
        ("reason", "u1"),
        ("pattern", "u1"),
    ]
)

Rows = NDArray[np.void]


class Ended(IntEnum):
    """Why a plateau ended."""

    MASTERY_MOVED = 1
    MASTERED = 2
    PRACTICE_MOVED_ON = 3


class Pattern(IntEnum):
    """What the attempts of a window have in common."""

    MIXED = 0
    QUICK_WRONG = 1
    SLOW_RIGHT = 2
    SAME_ITEM = 3


def pattern_of(state: Rows) -> NDArray[np.int64]:
    """`Pattern` of each MEMORY's window ``(n,)``: what holds for at least half of its attempts."""
    half = np.maximum((state["window_attempts"].astype(np.int64) + 1) // 2, 1)
    return np.select(
        [
            state["window_quick_wrong"] >= half,
            state["window_slow_right"] >= half,
            state["window_repeated"] >= half,
        ],
        [Pattern.QUICK_WRONG, Pattern.SLOW_RIGHT, Pattern.SAME_ITEM],
        Pattern.MIXED,
    )


def right_of_last(state: Rows) -> NDArray[np.int64]:
    """How many of the last six answers were right ``(n,)``."""
    return np.bitwise_count(state["window_outcomes"]).astype(np.int64)


def improvement_of(state: Rows) -> NDArray[np.int64]:
    """How much more of the last three answers were right than of the three before ``(n,)``, in millionths."""
    outcomes = state["window_outcomes"]
    later, earlier = outcomes & 0b000_111, outcomes >> 3
    more = np.bitwise_count(later).astype(np.int64) - np.bitwise_count(earlier)
    return np.where(state["window_attempts"] >= LAST, more * 1_000_000 // 3, 0)


def end_window_by_gap(state: Rows, gap: NDArray[np.int64], level: NDArray[np.int64]) -> None:
    """End the windows of MEMORY ``(n,)``, in place, after which nothing was practised for 14 days."""
    ended = (gap > GAP) & (state["window_attempts"] > 0)
    if ended.any():
        reason = np.full(len(state), Ended.PRACTICE_MOVED_ON)
        _keep_past(state, ended, state["last_at"] + GAP, reason, level)
        _clear(state, ended)


def extend_window(
    state: Rows,
    score: NDArray[np.int16],
    seconds: NDArray[np.uint16],
    item: NDArray[np.uint32],
    at: NDArray[np.int64],
    after: NDArray[np.int64],
) -> None:
    """Add a scored attempt to each window, in place, and end those that it shows to have moved.

    Args:
        state: MEMORY ``(n,)``.
        score: 0..10000, -1 = not scored: changes no window.
        seconds: duration, 65535 = unknown.
        item: hash of the content.
        at: time of the attempt, ms.
        after: mastery after the attempt, 1e-6.
    """
    scored = score >= 0
    _count(state, scored, score, seconds, item, at)
    right, full = right_of_last(state), state["window_attempts"] >= LEAST_ATTEMPTS
    steady = full & (right >= FEWEST_RIGHT) & (right <= MOST_RIGHT)
    ended = scored & (state["window_detected"] > 0) & ~steady
    if ended.any():
        reason = np.where(right > MOST_RIGHT, Ended.MASTERED, Ended.MASTERY_MOVED)
        _keep_past(state, ended, at, reason, after)
        state["window_detected"][ended] = 0
    begins = scored & (state["window_detected"] == 0) & steady & (state["window_days"] >= LEAST_DAYS)
    begins &= improvement_of(state) <= 0
    state["window_detected"] = np.where(begins, at, state["window_detected"])


def _count(
    state: Rows,
    scored: NDArray[np.bool_],
    score: NDArray[np.int16],
    seconds: NDArray[np.uint16],
    item: NDArray[np.uint32],
    at: NDArray[np.int64],
) -> None:
    begins = scored & (state["window_attempts"] == 0)
    state["window_since"] = np.where(begins, at, state["window_since"])
    outcomes = (state["window_outcomes"] << 1 & 0b111_111) | (score >= RIGHT_FROM)
    state["window_outcomes"] = np.where(scored, outcomes, state["window_outcomes"])
    state["window_attempts"] = increased(state["window_attempts"], scored)
    day = at // DAY + 1
    new_day = scored & (state["window_last_day"] != day)
    known = seconds != UNKNOWN_SECONDS
    counts = {
        "window_days": new_day,
        "window_quick_wrong": scored & known & (score < RIGHT_FROM) & (seconds < QUICK_SECONDS),
        "window_slow_right": scored & known & (score >= RIGHT_FROM) & (seconds > SLOW_SECONDS),
        "window_repeated": scored & (state["window_item"] == item),
    }
    for name, more in counts.items():
        state[name] = increased(state[name], more)
    state["window_last_day"] = np.where(scored, day, state["window_last_day"])
    state["window_item"] = np.where(scored, item, state["window_item"])


def _keep_past(
    state: Rows,
    ended: NDArray[np.bool_],
    at: NDArray[np.int64],
    reason: NDArray[np.int64],
    level: NDArray[np.int64],
) -> None:
    """Remember those of the ended windows that were plateaus."""
    kept = ended & (state["window_detected"] > 0)
    if not kept.any():
        return
    past = state["plateaus"]
    past[kept, 0] = past[kept, 1]
    past["since"][kept, 1] = state["window_since"][kept] // 1000
    past["detected"][kept, 1] = state["window_detected"][kept] // 1000
    past["ended"][kept, 1] = at[kept] // 1000
    past["attempts"][kept, 1] = state["window_attempts"][kept]
    past["mastery"][kept, 1] = level[kept]
    past["improvement"][kept, 1] = improvement_of(state)[kept]
    past["reason"][kept, 1] = reason[kept]
    past["pattern"][kept, 1] = pattern_of(state)[kept]


def _clear(state: Rows, which: NDArray[np.bool_]) -> None:
    for name in state.dtype.names or ():
        if name.startswith("window_"):
            state[name] = np.where(which, 0, state[name])

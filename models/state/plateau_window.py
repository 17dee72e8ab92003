"""The window in which practice of a skill is watched for a plateau, as the fold sees it.

A window is a run of attempts without a gap of 14 days and without a credible move of mastery: the moving
average of the last few scores stays near the window's mean, by the scores' own noise. The noise is taken
from the differences of successive scores (von Neumann 1941), which a trend hardly touches. It is a plateau
from the attempt on at which it holds 10 attempts on 3 days and its mean is under 0.75. It ends when the
scores move, when the mean reaches 0.85, or when practice moves on.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY

__all__ = [
    "GAP",
    "PLATEAU",
    "Ended",
    "Pattern",
    "end_window_by_gap",
    "extend_window",
    "improvement_of",
    "pattern_of",
]

GAP = 14 * DAY
LEAST_ATTEMPTS = 10
LEAST_DAYS = 3
MOVE_ATTEMPTS = 6
FLAT_BELOW = 0.75
MASTERED = 0.85
LEAST_MOVE = 0.12
MOVE_NOISES = 0.9
QUICK_SECONDS = 15
SLOW_SECONDS = 120
UNKNOWN_SECONDS = 65_535
_MOST_COUNT = 65_535

PLATEAU = np.dtype(
    [
        ("since", "<u4"),  # seconds
        ("detected", "<u4"),
        ("ended", "<u4"),
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


def improvement_of(state: Rows) -> NDArray[np.int64]:
    """How far the last few scores are above the window's mean ``(n,)``, in millionths of a score."""
    count = np.maximum(state["window_attempts"].astype(np.int64), 1)
    mean = state["window_sum"].astype(np.int64) * 100 // count
    return np.where(state["window_attempts"] > 0, state["window_fast"] - mean, 0)


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
    _begin(state, scored & (state["window_attempts"] == 0), score, at)
    _count(state, scored, score, seconds, item, at)
    count = np.maximum(state["window_attempts"], 1)
    mean = state["window_sum"] / 10_000 / count
    noise = np.sqrt(state["window_jumps"] / 2e8 / np.maximum(count - 1, 1))
    away = np.abs(state["window_fast"] / 1e6 - mean)
    moved = scored & (count >= MOVE_ATTEMPTS) & (away > np.maximum(LEAST_MOVE, MOVE_NOISES * noise))
    mastered = scored & (count >= LEAST_ATTEMPTS) & (mean >= MASTERED)
    ended = moved | mastered
    if ended.any():
        _keep_past(state, ended, at, np.where(moved, Ended.MASTERY_MOVED, Ended.MASTERED), after)
        fast = state["window_fast"].copy()
        _clear(state, ended)
        _begin(state, ended, score, at)
        _count(state, ended, score, seconds, item, at)
        state["window_fast"] = fast
    detected = scored & (state["window_attempts"] >= LEAST_ATTEMPTS) & (state["window_days"] >= LEAST_DAYS)
    detected &= state["window_detected"] == 0
    detected &= state["window_sum"] < FLAT_BELOW * 10_000 * state["window_attempts"]
    state["window_detected"] = np.where(detected, at, state["window_detected"])


def _begin(state: Rows, begins: NDArray[np.bool_], score: NDArray[np.int16], at: NDArray[np.int64]) -> None:
    state["window_since"] = np.where(begins, at, state["window_since"])
    state["window_fast"] = np.where(begins, score.astype(np.int64) * 100, state["window_fast"])
    state["window_last"] = np.where(begins, score, state["window_last"])


def _count(
    state: Rows,
    scored: NDArray[np.bool_],
    score: NDArray[np.int16],
    seconds: NDArray[np.uint16],
    item: NDArray[np.uint32],
    at: NDArray[np.int64],
) -> None:
    value = np.where(scored, score.astype(np.int64), 0)
    fast = state["window_fast"].astype(np.int64)
    state["window_fast"] = np.where(scored, (fast * 8 + 5) // 10 + value * 20, fast)
    state["window_sum"] += value.astype(np.int32)
    jump = np.where(scored, value - state["window_last"], 0)
    state["window_jumps"] += jump * jump
    state["window_last"] = np.where(scored, score, state["window_last"])
    state["window_attempts"] += scored
    day = at // DAY + 1
    new_day = scored & (state["window_last_day"] != day)
    known = seconds != UNKNOWN_SECONDS
    counts = {
        "window_days": new_day,
        "window_quick_wrong": scored & known & (score < 5_000) & (seconds < QUICK_SECONDS),
        "window_slow_right": scored & known & (score >= 5_000) & (seconds > SLOW_SECONDS),
        "window_repeated": scored & (state["window_item"] == item),
    }
    for name, more in counts.items():
        state[name] = np.minimum(state[name].astype(np.int64) + more, _MOST_COUNT)
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

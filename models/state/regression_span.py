"""Spans in which a skill is weaker than it was, as the fold sees them.

A span is open while the skill's strength is at least `FALL` below its peak, the peak being the greatest
strength just after an attempt, with three scored ones or more. It begins at an attempt that shows the loss,
or, in silence, at the moment at which the curve crosses the limit; it ends with the attempt that shows the
skill to be back. Whether it is a regression depends on the learner: see `lyo.models.formulas.regression`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.state.mastery import (
    NO_STRENGTH,
    PEAK_ATTEMPTS,
    STRENGTH_UNIT,
    strength,
    strength_falls_to,
    thousandths,
)

__all__ = ["FALL", "REGRESSION", "close_span", "fallen_since", "open_by_silence", "span_limit"]

FALL = 0.5

REGRESSION = np.dtype(
    [
        ("detected", "<i8"),  # seconds
        ("ended", "<i8"),
        ("practised", "<i8"),  # last practice before the end
        ("peak_strength", "<i2"),  # 1/1000, 0 = none
        ("strength", "<i2"),  # just before the end
    ]
)

Floats = NDArray[np.float64]
Rows = NDArray[np.void]


def span_limit(states: Rows) -> Floats:
    """Strength ``(n,)`` under which a span is open, minus infinity where none can be."""
    peak = states["peak_strength"]
    return np.where(peak == NO_STRENGTH, -np.inf, peak / STRENGTH_UNIT - FALL)


def fallen_since(states: Rows) -> NDArray[np.int64]:
    """When (ms) each state's ``(n,)`` span begins if nothing is practised; of an open one when it began."""
    limit = span_limit(states)
    crossed = states["last_at"] + strength_falls_to(states, limit)
    return np.where(states["regressed_since"] >= 0, states["regressed_since"], crossed)


def open_by_silence(state: Rows, now: Floats) -> None:
    """Begin spans, in place, where strength has fallen to ``now (n,)`` since the last attempt."""
    begins = (state["regressed_since"] < 0) & (now <= span_limit(state))
    if begins.any():
        part = state[begins]
        state["regressed_since"][begins] = fallen_since(part)


def close_span(state: Rows, at: NDArray[np.int64], before: Floats, scored: NDArray[np.bool_]) -> None:
    """After an attempt, raise the peak, end spans where a skill is back, begin those shown by it; in place.

    Args:
        state: MEMORY ``(n,)`` with the attempt in it.
        at: time of the attempt, ms.
        before: strength just before the attempt.
        scored: whether the attempt was.
    """
    after = thousandths(strength(state, np.zeros(len(state), np.int64)))
    proven = scored & (state["scored"] >= PEAK_ATTEMPTS)
    peak = state["peak_strength"]
    higher = proven & ((peak == NO_STRENGTH) | (after > peak))
    state["peak_strength"] = np.where(higher, after, peak)
    below = after / STRENGTH_UNIT <= span_limit(state)
    ended = (state["regressed_since"] >= 0) & ~below
    if ended.any():
        past = state["regressions"]
        past[ended, 0] = past[ended, 1]
        past["detected"][ended, 1] = state["regressed_since"][ended] // 1000
        past["ended"][ended, 1] = at[ended] // 1000
        past["practised"][ended, 1] = state["last_at"][ended] // 1000
        past["peak_strength"][ended, 1] = state["peak_strength"][ended]
        past["strength"][ended, 1] = thousandths(before)[ended]
    began = np.where(state["regressed_since"] >= 0, state["regressed_since"], at)
    state["regressed_since"] = np.where(below, began, -1)

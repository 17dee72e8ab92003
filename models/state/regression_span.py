"""Spans in which a skill has regressed, as the fold sees them.

A skill has regressed while its mastery now (faded by recall) is at least 0.15 below its peak, and the
peak was at least 0.6 with three attempts or more. A span begins at an attempt that shows the loss, or,
in silence, at the moment at which the curve crosses the limit; it ends with the attempt that shows the
skill to be back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.state.forgetting import crossing

__all__ = ["LEAST_PEAK", "LOSS", "REGRESSION", "close_regression", "floor_of", "open_by_silence"]

LOSS = 150_000
LEAST_PEAK = 600_000

REGRESSION = np.dtype(
    [
        ("detected", "<u4"),  # seconds
        ("ended", "<u4"),
        ("practised", "<u4"),  # last practice before the end
        ("peak", "<i4"),  # 1e-6
        ("current", "<i4"),  # mastery just before the end
    ]
)

Rows = NDArray[np.void]


def floor_of(peak: NDArray[np.int32]) -> NDArray[np.int64]:
    """Mastery ``(n,)`` in millionths under which a skill with this peak has regressed, 0 where none can."""
    return np.where(peak >= LEAST_PEAK, peak.astype(np.int64) - LOSS, 0)


def open_by_silence(state: Rows, faded: NDArray[np.int64], level: NDArray[np.int64]) -> None:
    """Begin spans, in place, where mastery has faded below the limit since the last attempt."""
    floor = floor_of(state["peak"])
    begins = (state["regressed_since"] < 0) & (faded < floor)
    since = state["last_at"] + crossing(level, floor, state["stability"])
    state["regressed_since"] = np.where(begins, since, state["regressed_since"])


def close_regression(
    state: Rows, at: NDArray[np.int64], faded: NDArray[np.int64], after: NDArray[np.int64]
) -> None:
    """End spans where a skill is back above the limit, begin those that an attempt has shown, in place."""
    floor = floor_of(state["peak"])
    below = after < floor
    ended = (state["regressed_since"] >= 0) & ~below
    if ended.any():
        past = state["regressions"]
        past[ended, 0] = past[ended, 1]
        past["detected"][ended, 1] = state["regressed_since"][ended] // 1000
        past["ended"][ended, 1] = at[ended] // 1000
        past["practised"][ended, 1] = state["last_at"][ended] // 1000
        past["peak"][ended, 1] = state["peak"][ended]
        past["current"][ended, 1] = faded[ended]
    began = np.where(state["regressed_since"] >= 0, state["regressed_since"], at)
    state["regressed_since"] = np.where(below, began, -1)

"""Rounds numbers for records: to hundredths, so that they still add up, and counts to what is held."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["hundredths", "increased", "round_contributions"]

Floats = NDArray[np.float64]


def hundredths(values: Floats) -> NDArray[np.int64]:
    """Values in whole hundredths, halves away from zero; a tiny bias decides blurred ties."""
    return (np.sign(values) * np.floor(np.abs(values) * 100 + 0.5 + 1e-9)).astype(np.int64)


def round_contributions(contributions: Floats, totals: NDArray[np.int64]) -> NDArray[np.int64]:
    """Contributions ``(n, k)`` as hundredths that add up to ``totals (n,)``, by largest remainder.

    Zero stays zero wherever the others can carry the difference. ``totals`` are in hundredths and must
    be the rounded row sums.
    """
    scaled = contributions * 100
    floors = np.floor(scaled + 1e-9)
    remainder = np.where(contributions == 0, -1.0, scaled - floors)
    missing = totals - floors.sum(axis=1).astype(np.int64)
    order = np.argsort(-np.round(remainder, 6), axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    return floors.astype(np.int64) + (rank < missing[:, None])


def increased(column: NDArray[Any], more: NDArray[Any] | int) -> NDArray[np.int64]:
    """The counts of a column ``(n,)`` and what is added to them, at most what its type holds."""
    return np.minimum(column.astype(np.int64) + more, np.iinfo(column.dtype).max)

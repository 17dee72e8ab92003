"""Runs of equal neighbours, and the largest values of each group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["keep_largest", "ranks"]

Indexes = NDArray[np.int64]


def ranks(groups: Indexes) -> NDArray[np.int64]:
    """Position of each element within its run of equal neighbours ``(n,)``."""
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    return np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))


def keep_largest(
    columns: NDArray[np.uint64] | NDArray[np.uint32], who: Indexes, values: NDArray[np.unsignedinteger]
) -> None:
    """Merge values into ``columns (n, most)``, which keep each row's largest in descending order."""
    if not len(who):
        return
    most = columns.shape[1]
    order = np.lexsort((~values, who))
    who, values = who[order], values[order]
    rank = ranks(who)
    kept = rank < most
    touched, local = np.unique(who[kept], return_inverse=True)
    merged = np.zeros((len(touched), 2 * most), values.dtype)
    merged[:, :most] = columns[touched]
    merged[local, most + rank[kept]] = values[kept]
    merged.sort(axis=1)
    columns[touched] = merged[:, : most - 1 : -1]

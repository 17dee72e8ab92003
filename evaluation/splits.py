"""Who is kept apart: folds of whole groups, so that nothing is learned from whom it is tested on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.index import mix64

__all__ = ["FOLDS", "folds"]

FOLDS = 5


def folds(group: NDArray[np.int64], most: int = FOLDS) -> NDArray[np.int64]:
    """Fold ``(n,)`` of each question: the largest groups first, each into the fold that holds least.

    Groups of one size are taken in an order that their numbers scatter, so that it tells nothing of them.
    """
    names, which, size = np.unique(group, return_inverse=True, return_counts=True)
    order = np.lexsort((mix64(names.astype(np.uint64)), -size))
    many = max(min(most, len(names)), 1)
    held = np.zeros(many)
    fold = np.zeros(len(names), np.int64)
    for one in order.tolist():
        fold[one] = int(np.argmin(held))
        held[fold[one]] += size[one]
    found: NDArray[np.int64] = fold[which]
    return found

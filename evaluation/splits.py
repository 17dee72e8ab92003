"""Folds of whole groups, so that no model is tested on learners it was fitted on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.index import mix64

__all__ = ["FOLDS", "folds"]

FOLDS = 5


def folds(group: NDArray[np.int64], most: int = FOLDS) -> NDArray[np.int64]:
    """Fold ``(n,)`` of each question: the largest groups first, each into the fold that holds least.

    Groups of equal size are ordered by a hash of their numbers.
    """
    names, which, size = np.unique(group, return_inverse=True, return_counts=True)
    order = np.lexsort((mix64(names.astype(np.uint64)), -size))
    many = max(min(most, len(names)), 1)
    filled = np.zeros(many)
    fold = np.zeros(len(names), np.int64)
    for index in order.tolist():
        fold[index] = int(np.argmin(filled))
        filled[fold[index]] += size[index]
    folds_of: NDArray[np.int64] = fold[which]
    return folds_of

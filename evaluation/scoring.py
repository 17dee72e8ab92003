"""Scores probabilities: how well they separate the positives, and how well they are calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "CLIP", "Bin", "Scores", "auc", "auc_within", "reliability", "scores"]

BINS = 10
CLIP = 0.005
"""Probabilities are clipped to [CLIP, 1 - CLIP] for the log loss: what is served is a whole hundredth."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bin:
    """Questions whose probability lies in one tenth: how many, their mean probability, and the true rate."""

    n: int
    predicted: float
    true: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of ``n`` probabilities; None without questions, or with one outcome only."""

    n: int
    positives: int
    auc: float | None
    log_loss: float | None
    accuracy: float | None
    brier: float | None
    ece: float | None


def scores(probability: Floats, label: Bools) -> Scores:
    """Score probabilities ``(n,)`` in [0, 1] of the label being true ``(n,)``."""
    if not len(label):
        return Scores(0, 0, None, None, None, None, None)
    clipped = np.clip(probability, CLIP, 1 - CLIP)
    loss = -np.log(np.where(label, clipped, 1 - clipped)).mean()
    table = reliability(probability, label)
    return Scores(
        n=len(label),
        positives=int(label.sum()),
        auc=auc(probability, label),
        log_loss=float(loss),
        accuracy=float(((probability >= 0.5) == label).mean()),
        brier=float(((probability - label) ** 2).mean()),
        ece=float(sum(bin_.n * abs(bin_.predicted - bin_.true) for bin_ in table) / len(label)),
    )


def reliability(probability: Floats, label: Bools) -> list[Bin]:
    """The tenths of [0, 1] that hold a probability (Naeini et al. 2015, with bins of equal width)."""
    which = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(which, minlength=BINS)
    predicted = np.bincount(which, probability, BINS) / np.maximum(count, 1)
    true = np.bincount(which, label, BINS) / np.maximum(count, 1)
    return [
        Bin(int(count[number]), float(predicted[number]), float(true[number]))
        for number in np.flatnonzero(count).tolist()
    ]


def auc(score: Floats, label: Bools) -> float | None:
    """Chance that a positive has a higher score than a negative, a tie counting half; None without both."""
    value = _auc_by(np.zeros(len(label), np.int64), score, label, 1)[0]
    return None if np.isnan(value) else float(value)


def auc_within(user: NDArray[np.int64], score: Floats, label: Bools) -> float | None:
    """Mean over the learners who have both outcomes of each one's own `auc`; None where nobody has."""
    people, who = np.unique(user, return_inverse=True)
    by_learner = _auc_by(who, score, label, len(people))
    known = ~np.isnan(by_learner)
    return float(by_learner[known].mean()) if known.any() else None


def _auc_by(who: NDArray[np.int64], score: Floats, label: Bools, groups: int) -> Floats:
    """`auc` in each group (Mann and Whitney 1947), NaN where a group has one outcome only."""
    order = np.lexsort((score, who))
    by, value = who[order], score[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (by[1:] != by[:-1]) | (value[1:] != value[:-1])
    tie = np.cumsum(fresh) - 1
    begin = np.flatnonzero(fresh)
    end = np.r_[begin[1:], len(order)]
    size = np.bincount(by, minlength=groups)
    start = np.cumsum(size) - size
    rank = ((begin + end + 1) / 2.0)[tie] - start[by] if len(order) else np.zeros(0)
    right = label[order]
    positives = np.bincount(by, right, groups)
    negatives = size - positives
    above = np.bincount(by, rank * right, groups) - positives * (positives + 1) / 2
    pairs = positives * negatives
    return np.where(pairs > 0, above / np.maximum(pairs, 1), np.nan)

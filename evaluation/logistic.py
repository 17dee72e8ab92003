"""Logistic regression by Newton's method, for the fitted baselines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit_logistic"]

ROUNDS = 30
RIDGE = 1.0

Floats = NDArray[np.float64]


def fit_logistic(features: Floats, label: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    """Fit on features ``(n, f)``, standardised, with a ridge of one on all weights but the intercept.

    Returns:
        From features ``(m, f)`` to probabilities ``(m,)``.
    """
    middle, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)

    def design(raw: Floats) -> Floats:
        columns: Floats = np.c_[np.ones(len(raw)), (raw - middle) / scale]
        return columns

    x = design(features)
    ridge = np.diag(np.r_[1e-6, np.full(features.shape[1], RIDGE)])
    weights = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        p = _sigmoid(x @ weights)
        curvature = x.T @ (x * np.maximum(p * (1 - p), 1e-9)[:, None]) + ridge
        step = np.linalg.solve(curvature, x.T @ (label - p) - ridge @ weights)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return lambda raw: _sigmoid(design(raw) @ weights)


def _sigmoid(x: Floats) -> Floats:
    """The probability of a logit, without overflow."""
    return 0.5 * (1.0 + np.tanh(x / 2.0))

"""Fits the hazard of silence by penalised logistic regressions whose weights have lower bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.formulas.dropout_factors import WEIGHTS
from lyo.models.formulas.hazard import HORIZONS, RISING, TERMS, Hazard

__all__ = ["FREE", "Labelled", "fit", "fit_labels"]

RIDGE = 10.0
ROUNDS = 50
LEAST_REFERENCE = 50
CERTAIN = 30.0  # logit of what always happens
FREE = np.where(RISING, 0.0, -np.inf)
"""Lower bounds of the weights that only keep the risk from falling in silence."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Terms ``(m, t)`` and labels ``(m,)`` that a fit uses in addition, with an intercept of their own.

    Args:
        terms: as of the moments of the labels.
        label: whether the learner left.
        weight: how much one of them counts.
    """

    terms: Floats
    label: Bools
    weight: float = 1.0


def fit(
    terms: Floats,
    following: NDArray[np.int64],
    *,
    least: Floats = FREE,
    beside: Labelled | None = None,
) -> Hazard:
    """Fit a piece for each of `HORIZONS` on those who were silent until it begins.

    Args:
        terms: ``(n, t)`` of learners at moments.
        following: whole days ``(n,)`` from each moment until the learner's next event.
        least: lower bounds ``(t,)`` of the weights.
        beside: labelled terms to which every piece is fitted in addition.
    """
    reference = _reference(terms)
    intercepts, weights = np.zeros(len(HORIZONS)), np.zeros((len(HORIZONS), len(TERMS)))
    begin = 0
    for piece, horizon in enumerate(HORIZONS):
        among = following >= begin
        x, y, w = terms[among] - reference, following[among] >= horizon, np.ones(int(among.sum()))
        x, bounds = np.c_[x, np.zeros(len(x))], np.r_[least, -np.inf]
        if beside is not None:
            x = np.r_[x, np.c_[beside.terms - reference, np.ones(len(beside.label))]]
            y = np.r_[y, beside.label]
            w = np.r_[w, np.full(len(beside.label), beside.weight)]
        intercepts[piece], solution = _bounded(x, y, w, bounds)
        weights[piece] = solution[:-1]
        begin = horizon
    return Hazard(reference, intercepts, weights)


def fit_labels(terms: Floats, label: Bools) -> Hazard:
    """Fit labels ``(n,)`` of no stated horizon: the probability of each horizon is that of the label."""
    reference = _reference(terms)
    intercept, solution = _bounded(terms - reference, label, np.ones(len(label)), FREE)
    weights = np.zeros((len(HORIZONS), len(TERMS)))
    weights[0] = solution
    return Hazard(reference, np.array([intercept, CERTAIN, CERTAIN]), weights)


def _reference(terms: Floats) -> Floats:
    """Mean terms ``(t,)`` of learners active in the last week; of all where these are few.

    The six factors and the decline are none of theirs, so that a factor without evidence contributes nothing.
    """
    fresh = terms[:, TERMS.index("silence")] <= np.log1p(6.0)
    mean = terms[fresh].mean(axis=0) if fresh.sum() >= LEAST_REFERENCE else terms.mean(axis=0)
    return np.where([name in (*WEIGHTS, "decline") for name in TERMS], 0.0, mean)


def _bounded(x: Floats, y: Bools, w: Floats, least: Floats) -> tuple[float, Floats]:
    """Intercept and weights ``(f,)`` of the logistic regression, no weight under its bound ``(f,)``.

    Weights below their bounds are fixed at these, and the others are fitted again.
    """
    at_bound = np.zeros(x.shape[1], bool)
    while True:
        weights = np.where(at_bound, least, 0.0)
        intercept, weights[~at_bound] = _newton(x[:, ~at_bound], y, w, x[:, at_bound] @ weights[at_bound])
        below = ~at_bound & (weights < least)
        if not below.any():
            return intercept, weights
        at_bound |= below


def _newton(x: Floats, y: Bools, w: Floats, offset: Floats) -> tuple[float, Floats]:
    """Newton's method with a ridge on standardised features; the intercept is free."""
    middle, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    design = np.c_[np.ones(len(x)), (x - middle) / scale]
    ridge = np.diag(np.r_[0.0, np.full(x.shape[1], RIDGE)])
    solution = np.zeros(design.shape[1])
    for _ in range(ROUNDS):
        p = 0.5 * (1.0 + np.tanh((design @ solution + offset) / 2.0))
        curvature = (design * (w * np.maximum(p * (1.0 - p), 1e-9))[:, None]).T @ design + ridge
        step = np.linalg.solve(curvature, design.T @ (w * (y - p)) - ridge @ solution)
        solution += step
        if np.abs(step).max() < 1e-9:
            break
    weights = solution[1:] / scale
    return float(solution[0] - (weights * middle).sum()), weights

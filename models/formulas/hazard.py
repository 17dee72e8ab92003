"""The hazard of silence: how likely a learner stays away for the next 7, 14 and 28 days.

A discrete-time hazard with one piece for each stretch of days (a piecewise-exponential model, which is a
logistic regression for each piece; Allison 1982, "Discrete-Time Methods for the Analysis of Event
Histories"): a learner stays silent for 14 days by staying silent for 7, and then for 7 more. So the
probabilities of longer silences never exceed those of shorter ones. Little data is itself evidence: a
learner who came once gets a probability like everybody else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.coefficients import Hazard
from lyo.models.formulas.dropout_factors import FACTORS, Factors
from lyo.models.formulas.hazard_shipped import INTERCEPTS, WEIGHTS
from lyo.models.state.history import History

__all__ = [
    "HORIZONS",
    "PARTS",
    "RISING",
    "SHIPPED",
    "TERMS",
    "Hazard",
    "probabilities",
    "score",
    "stays",
    "terms",
    "with_evidence",
]

HORIZONS = (7, 14, 28)
_PART_OF = {
    "silence": "silence",
    "overdue": "silence",
    "days": "active_days",
    "days_7": "active_days",
    "days_3": "active_days",
    "amount": "amount",
    "amount_7": "amount",
    "amount_3": "amount",
    "amount_first": "amount",
    "amount_last": "amount",
    "span": "rhythm",
    "gap": "rhythm",
    "score": "scores",
    **{name: name for name in FACTORS},
    "decline": "declining_engagement",
}
TERMS = tuple(_PART_OF)
"""The t terms, in which the logits are linear; each is static or never falls while a learner is silent."""
PARTS = (*FACTORS, "silence", "active_days", "amount", "rhythm", "scores", "usual")
"""The p groups of terms by which a score's contributions are named; `usual` has none, and is where the
reference learner stands."""
RISING = np.array([name not in {"span", "gap"} for name in TERMS])
"""Terms whose weights must not be negative: silence never lowers the risk, and activity never raises it."""

_MEMBERS = tuple(tuple(place for place, term in enumerate(TERMS) if _PART_OF[term] == part) for part in PARTS)
_MINUTES_OF_COMPLETION = 5.0  # where a day has no timed session
_PRIOR_SCORE, _PRIOR_SCORES = 0.7, 2.0
_SLOPE = np.log(7 / 3) / np.log(3)
_EVEN = np.log(5.0)
"""Log odds of a score of one half over the reference's. By the shipped coefficients 14 silent days are then
as likely as not; 0.3 stands for one in four and 0.7 for three in four."""
_LIMIT = 30.0
# Gauss-Legendre on [0, 1]: exact for the smooth curves here to far below a hundredth.
_GAUSS = np.polynomial.legendre.leggauss(16)
_NODES, _NODE_WEIGHTS = (1.0 + _GAUSS[0]) / 2.0, _GAUSS[1] / 2.0

Floats = NDArray[np.float64]


SHIPPED = Hazard(
    np.array([WEIGHTS[name][0] for name in TERMS]),
    np.array(INTERCEPTS),
    np.array([WEIGHTS[name][1:] for name in TERMS]).T.copy(),
)
"""The coefficients served where none were fitted; `hazard_shipped` says where they come from."""


def terms(past: History, measured: Factors) -> Floats:
    """Terms ``(n, t)``, as `TERMS`, of the learners of ``past``, whose factors are ``measured``.

    Amounts are minutes; a day without a timed session counts five for each completion.
    """
    days = measured.days.astype(np.float64)
    gap = (measured.span + 3.0) / np.maximum(days, 1.0)
    ago = past.today[past.who] - past.day
    busy = ((past.sessions > 0) | (past.completed > 0)).astype(np.float64)
    amount = np.maximum(past.minutes, _MINUTES_OF_COMPLETION * past.completed)
    scores = past.total(past.scored)
    mean = (past.total(past.score) + _PRIOR_SCORE * _PRIOR_SCORES) / (scores + _PRIOR_SCORES)
    columns = {
        "silence": np.log1p(measured.silent),
        "overdue": np.log1p(measured.silent / gap),
        "days": -np.log1p(days),
        "days_7": -np.log1p(past.total(busy, ago <= 7)),
        "days_3": -np.log1p(past.total(busy, ago <= 3)),
        "amount": -np.log1p(past.total(amount)),
        "amount_7": -np.log1p(past.total(amount, ago <= 7)),
        "amount_3": -np.log1p(past.total(amount, ago <= 3)),
        "amount_first": -np.log1p(past.total(amount, past.age == measured.span[past.who])),
        "amount_last": -np.log1p(past.total(amount, past.age == 0)),
        "span": -np.log1p(measured.span),
        "gap": np.log(gap),
        "score": -mean,
    }
    values = measured.values * measured.evidence
    return np.stack([*columns.values(), *values.T, measured.decline], axis=1)


def probabilities(model: Hazard, given: Floats) -> Floats:
    """Probability ``(n, 3)`` in (0, 1) of silence for each of `HORIZONS`, from terms ``(n, t)``."""
    stays = [_sigmoid(logit) for logit in _logits(model, given)]
    return np.stack([stays[0], stays[0] * stays[1], stays[0] * stays[1] * stays[2]], axis=1)


def stays(model: Hazard, given: Floats, days: float) -> Floats:
    """Probability ``(n,)`` of silence for ``days`` days, from terms ``(n, t)``.

    The hazard is constant within each piece; beyond the last horizon it is that of the last piece.
    """
    logarithms = np.log(np.maximum(probabilities(model, given), 1e-12))
    known = np.concatenate([np.zeros((len(given), 1)), logarithms], axis=1)
    ends = (0, *HORIZONS)
    piece = min(int(np.searchsorted(HORIZONS, days)), len(HORIZONS) - 1)
    share = (days - ends[piece]) / (ends[piece + 1] - ends[piece])
    return np.exp(known[:, piece] + share * (known[:, piece + 1] - known[:, piece]))


def score(model: Hazard, given: Floats) -> tuple[Floats, Floats]:
    """Risk score ``(n,)`` in (0, 1), and each part's contribution ``(n, p)``: they add up to score - 0.5.

    The score is the probability of 14 silent days set against the reference learner's: 0.5 at five times
    the odds, 0.3 at a third of these, 0.7 at three times these. The reference learner's own score is the
    part `usual`; each other one contributes the integral of the score's slope along the straight line from
    the reference learner to this one (Sundararajan et al. 2017), which is why parts add up.
    """
    changes = given - model.reference
    first, second = (_by_part(model.weights[piece] * changes) for piece in (0, 1))
    to_first, to_second = _sum(first), _sum(second)
    level = _log_odds(model.intercepts[0], model.intercepts[1]) + _EVEN
    by_first, by_second = np.zeros(len(given)), np.zeros(len(given))
    for node, weight in zip(_NODES.tolist(), _NODE_WEIGHTS.tolist(), strict=True):
        first_logit = model.intercepts[0] + node * to_first
        second_logit = model.intercepts[1] + node * to_second
        here = _sigmoid(_SLOPE * (_log_odds(first_logit, second_logit) - level))
        both = _sigmoid(first_logit) * _sigmoid(second_logit)
        steep = weight * _SLOPE * here * (1.0 - here) / (1.0 - both)
        by_first += steep * (1.0 - _sigmoid(first_logit))
        by_second += steep * (1.0 - _sigmoid(second_logit))
    logits = _log_odds(model.intercepts[0] + to_first, model.intercepts[1] + to_second)
    parts = by_first[:, None] * first + by_second[:, None] * second
    parts[:, -1] = _sigmoid(-_SLOPE * _EVEN) - 0.5
    return _sigmoid(_SLOPE * (logits - level)), parts


def with_evidence(evidence: Floats) -> NDArray[np.bool_]:
    """Which parts ``(n, p)`` rest on evidence, from the evidence ``(n, 6)`` of the factors."""
    rest = np.ones((len(evidence), len(PARTS) - len(FACTORS)), bool)
    return np.concatenate([evidence > 0, rest], axis=1)


def _logits(model: Hazard, given: Floats) -> list[Floats]:
    changes = given - model.reference
    return [
        start + _sum(weights * changes)
        for start, weights in zip(model.intercepts.tolist(), model.weights, strict=True)
    ]


def _by_part(changes: Floats) -> Floats:
    """Sums by part ``(n, p)`` of a logit's changes by term ``(n, t)``."""
    return np.stack([_sum(changes[:, members]) for members in _MEMBERS], axis=1)


def _sum(columns: Floats) -> Floats:
    """Row sums, one column after the other: the same for every number of rows."""
    total = np.zeros(len(columns))
    for column in columns.T:
        total += column
    return total


def _sigmoid(logit: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-np.clip(logit, -_LIMIT, _LIMIT)))


def _log_odds(first: Floats, second: Floats) -> Floats:
    """Log odds of the product of two probabilities, given by their logits."""
    both = _sigmoid(first) * _sigmoid(second)
    return np.log(both) - np.log1p(-both)

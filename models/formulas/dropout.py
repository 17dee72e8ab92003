"""Dropout risk: how likely nothing more comes of a learner, as probabilities, a score and a level.

Served is the hazard of silence (`lyo.models.formulas.hazard`); the specification's six weights are the
model ``weights``. In both, silence never lowers the risk. Specification, "Dropout Prevention".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths, round_contributions
from lyo.models.formulas import hazard
from lyo.models.formulas.dropout_factors import FACTORS, WEIGHTS, Factors, factors
from lyo.models.formulas.hazard import HORIZONS, PARTS, SHIPPED, Hazard
from lyo.models.state.history import History

__all__ = [
    "FACTORS",
    "HORIZONS",
    "LEVELS",
    "MODEL",
    "NAMED_FROM",
    "PARTS",
    "WEIGHTS",
    "DropoutRisk",
    "level_of",
    "predict",
    "predict_weights",
]

MODEL = "dropout-hazard-1"
LEVELS = ("low", "medium", "high", "critical")
LEVEL_BOUNDS = (30, 50, 70)
NAMED_FROM = 0.4
LEAST_SESSIONS = 3  # of the specification's weights alone
LEAST_DAYS = 3
_STATIC = np.array([name in ("negative_sentiment", "declining_performance") for name in FACTORS])
_WEIGHT = np.array(list(WEIGHTS.values()))

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class DropoutRisk:
    """Risk of ``n`` learners. Scores, probabilities, contributions and confidence are whole hundredths.

    ``probability (n, 3)`` is that of silence for each of `HORIZONS`, the longer never above the shorter.
    ``contributions (n, k)``, as ``names``, add up to ``score - 50``; ``shown (n, k)`` those with evidence.
    Where ``enough`` is false, the answer is neutral with confidence 0.
    """

    score: Ints
    probability: Ints
    confidence: Ints
    names: tuple[str, ...]
    contributions: Ints
    shown: NDArray[np.bool_]
    enough: NDArray[np.bool_]
    factors: Factors


def level_of(score: Ints) -> Ints:
    """Level ``(n,)``, an index into `LEVELS`, of scores in hundredths; upper bounds included."""
    return np.searchsorted(np.array(LEVEL_BOUNDS), score, side="left")


def predict(past: History, fitted: Hazard | None = None) -> DropoutRisk:
    """Dropout risk of the learners of ``past`` by fitted coefficients, or those that are shipped.

    Of who was never active there is not enough to say.
    """
    model = SHIPPED if fitted is None else fitted
    found = factors(past)
    terms = hazard.terms(past, found)
    raw, parts = hazard.score(model, terms)
    probability = hazard.probabilities(model, terms)
    enough = found.days > 0
    score = hundredths(np.where(enough, raw, 0.5))
    return DropoutRisk(
        score=score,
        probability=hundredths(np.where(enough[:, None], probability, 0.5)),
        confidence=np.where(enough, np.maximum(_confidence(found), 1), 0),
        names=PARTS,
        contributions=round_contributions(np.where(enough[:, None], parts, 0.0), score - 50),
        shown=enough[:, None] & hazard.with_evidence(found.evidence),
        enough=enough,
        factors=found,
    )


def predict_weights(past: History) -> DropoutRisk:
    """The same by the specification's six weights, which give a score and no probability of their own.

    A factor without evidence is left out and the weights of the others are scaled up. With less than three
    sessions and three days the answer is neutral.
    """
    found = factors(past)
    weights = _effective_weights(found.values, found.evidence, found.waiting)
    sessions, known_days = past.total(past.sessions), past.today - past.first
    enough = (sessions >= LEAST_SESSIONS) & (known_days >= LEAST_DAYS)
    raw = np.where(enough, (weights * found.values).sum(axis=1), 0.5)
    score = hundredths(np.clip(raw, 0.0, 1.0))
    contributions = np.where(enough[:, None], weights * (found.values - 0.5), 0.0)
    return DropoutRisk(
        score=score,
        probability=np.repeat(score[:, None], len(HORIZONS), axis=1),
        confidence=np.where(enough, _confidence(found), 0),
        names=FACTORS,
        contributions=round_contributions(contributions, score - 50),
        shown=enough[:, None] & (found.evidence > 0),
        enough=enough,
        factors=found,
    )


def _effective_weights(values: Floats, evidence: Floats, waiting: Floats) -> Floats:
    """Weights ``(n, 6)`` that add up to 1: the specification's times the evidence, fading with silence.

    With S the mean of the factors that silence moves, a factor that silence leaves as it was pulls the
    score away from S by its share. A pull downward fades, so the score never falls while S grows.
    """
    weighted = evidence * _WEIGHT
    moving = np.where(_STATIC, 0.0, weighted)
    total = np.maximum(weighted.sum(axis=1), 1e-9)
    moved = np.maximum(moving.sum(axis=1), 1e-9)
    mean = (moving * values).sum(axis=1) / moved
    fade = 1.0 / (1.0 + waiting / 10.0)
    share = np.where(_STATIC, weighted, 0.0) / total[:, None]
    share *= np.where(values < mean[:, None], fade[:, None], 1.0)
    return share + moving / moved[:, None] * (1.0 - share.sum(axis=1))[:, None]


def _confidence(found: Factors) -> Ints:
    """Share of the weights that has evidence, less for few active days and for a long silence."""
    covered = (found.evidence * _WEIGHT).sum(axis=1) / _WEIGHT.sum()
    silence = 90.0 / (90.0 + np.maximum(found.waiting - 30.0, 0.0))
    return hundredths(covered * found.days / (found.days + 3.0) * silence)

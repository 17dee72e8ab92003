"""Dropout risk: how likely a learner does not come back, as probabilities, a score and a level.

The product serves the hazard of silence (`lyo.models.formulas.hazard`). `predict_weights` computes the risk
by the specification's six weights. In both, silence never lowers the risk. Specification, "Dropout
Prevention".
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

MODEL = "dropout-hazard-2"
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

    ``probability (n, 3)`` is that of silence for each of `HORIZONS`; a longer silence is never more likely
    than a shorter one. ``contributions (n, k)``, one for each of ``names``, add up to ``score - 50``;
    ``shown (n, k)`` marks those with evidence. Where ``enough`` is false, the score is neutral with
    confidence 0.
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
    """Level ``(n,)`` of scores ``(n,)`` in hundredths: an index into `LEVELS`, each with its upper bound."""
    return np.searchsorted(np.array(LEVEL_BOUNDS), score, side="left")


def predict(past: History, fitted: Hazard | None = None) -> DropoutRisk:
    """Dropout risk of the learners ``(n,)`` of ``past``, by the hazard of silence.

    A learner who was never active gets a neutral score with confidence 0.

    Args:
        past: the learners' days.
        fitted: fitted coefficients; None: the shipped ones.
    """
    model = SHIPPED if fitted is None else fitted
    measured = factors(past)
    terms = hazard.terms(past, measured)
    raw, parts = hazard.score(model, terms)
    probability = hazard.probabilities(model, terms)
    enough = measured.days > 0
    score = hundredths(np.where(enough, raw, 0.5))
    return DropoutRisk(
        score=score,
        probability=hundredths(np.where(enough[:, None], probability, 0.5)),
        confidence=np.where(enough, np.maximum(_confidence(measured), 1), 0),
        names=PARTS,
        contributions=round_contributions(np.where(enough[:, None], parts, 0.0), score - 50),
        shown=enough[:, None] & hazard.with_evidence(measured.evidence),
        enough=enough,
        factors=measured,
    )


def predict_weights(past: History) -> DropoutRisk:
    """Dropout risk of the learners ``(n,)`` of ``past``, by the specification's six weights.

    The weights give a score only; it stands in for the probability of each horizon. A factor without evidence
    is left out, and the weights of the others are scaled up. With fewer than three sessions, or fewer than
    three days since the first activity, the score is neutral with confidence 0.
    """
    measured = factors(past)
    weights = _effective_weights(measured.values, measured.evidence, measured.waiting)
    sessions, known_days = past.total(past.sessions), past.today - past.first
    enough = (sessions >= LEAST_SESSIONS) & (known_days >= LEAST_DAYS)
    raw = np.where(enough, (weights * measured.values).sum(axis=1), 0.5)
    score = hundredths(np.clip(raw, 0.0, 1.0))
    contributions = np.where(enough[:, None], weights * (measured.values - 0.5), 0.0)
    return DropoutRisk(
        score=score,
        probability=np.repeat(score[:, None], len(HORIZONS), axis=1),
        confidence=np.where(enough, _confidence(measured), 0),
        names=FACTORS,
        contributions=round_contributions(contributions, score - 50),
        shown=enough[:, None] & (measured.evidence > 0),
        enough=enough,
        factors=measured,
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


def _confidence(measured: Factors) -> Ints:
    """Confidence ``(n,)`` in hundredths: the share of the weights that has evidence.

    Few active days and a long silence lower it.
    """
    covered = (measured.evidence * _WEIGHT).sum(axis=1) / _WEIGHT.sum()
    silence = 90.0 / (90.0 + np.maximum(measured.waiting - 30.0, 0.0))
    return hundredths(covered * measured.days / (measured.days + 3.0) * silence)

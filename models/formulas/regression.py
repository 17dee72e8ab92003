"""Regressions: skills that were mastered and are fading (specification, "skill_regressions")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths, round_contributions
from lyo.models.arrays.zones import DAY
from lyo.models.formulas.curves import mastery_at, review_at
from lyo.models.state.forgetting import crossing, recall
from lyo.models.state.mastery import MASTERY_UNIT, mastery
from lyo.models.state.regression_span import LEAST_PEAK, floor_of

__all__ = ["FACTORS", "LEAST_PEAK", "LEVELS", "MODEL", "Regressions", "predict"]

MODEL = "regression-1"
FACTORS = ("amount", "rate", "relearning")
LEVELS = ("low", "medium", "high", "critical")
LEVEL_BOUNDS = (30, 50, 70)
RELEARN_FROM = 400_000
_WEIGHTS = np.array([0.7, 0.15, 0.15])

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Regressions:
    """``n`` skills as of a moment; mastery, amounts, scores and confidence in hundredths.

    ``active`` says whether the skill has regressed; ``score`` is the urgency, 50 plus
    ``contributions (n, 3)``, neutral where nothing has; ``urgency`` is an index into `LEVELS`. The rate is
    what the first week without practice costs, so that urgency never falls while nothing is practised.
    """

    active: NDArray[np.bool_]
    detected: Ints  # ms
    peak: Ints
    current: Ints
    amount: Ints
    next_week: Ints
    days: Ints
    score: Ints
    urgency: Ints
    contributions: Ints
    confidence: Ints


def predict(states: NDArray[np.void], as_of: Ints) -> Regressions:
    """Regressions of MEMORY states ``(n,)`` as of instants ``(n,)`` in ms."""
    level = mastery(states["hits"], states["weight"])
    elapsed = np.maximum(as_of - states["last_at"], 0)
    current = mastery_at(states, elapsed)
    week = mastery_at(states, elapsed + 7 * DAY)
    floor = floor_of(states["peak"])
    since = states["regressed_since"]
    fades_at = review_at(states)
    active = (floor > 0) & ((since >= 0) | (current < floor))
    expensive = states["last_at"] + crossing(level, np.full(len(level), RELEARN_FROM), states["stability"])
    days_left = np.maximum(expensive - as_of, 0) / DAY
    amount = np.maximum(states["peak"] - current, 0)
    values = np.stack(
        [
            np.clip(amount / 350_000, 0.0, 1.0),
            np.clip(
                level * (1.0 - recall(np.full(len(level), 7 * DAY), states["stability"])) / 150_000, 0.0, 1.0
            ),
            1.0 / (1.0 + days_left / 7.0),
        ],
        axis=1,
    )
    contributions = np.where(active[:, None], _WEIGHTS * (values - 0.5), 0.0)
    score = hundredths(0.5 + contributions.sum(axis=1))
    scored = states["scored"].astype(np.float64)
    peak, now = hundredths(states["peak"] / MASTERY_UNIT), hundredths(current / MASTERY_UNIT)
    return Regressions(
        active=active,
        detected=np.where(since >= 0, since, fades_at),
        peak=peak,
        current=now,
        amount=np.maximum(peak - now, 0),
        next_week=hundredths(week / MASTERY_UNIT),
        days=elapsed // DAY,
        score=score,
        urgency=np.searchsorted(np.array(LEVEL_BOUNDS), score, side="left"),
        contributions=round_contributions(contributions, score - 50),
        confidence=np.where(active, hundredths(scored / (scored + 3.0)), 0),
    )

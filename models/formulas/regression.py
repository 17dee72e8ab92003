"""Regressions: skills that were mastered and are fading (specification, "skill_regressions").

A regression claims that the next answer fails more often than answers at the skills that this learner usually
reviews. The urgency is the probability that the next answer fails.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths, round_contributions
from lyo.models.arrays.zones import DAY
from lyo.models.formulas import plateau
from lyo.models.formulas.curves import limit_of, review_at
from lyo.models.formulas.recall import Calibration, mastery_now, peak_mastery, probability
from lyo.models.state.mastery import MASTERY_UNIT, STRENGTH_UNIT, strength
from lyo.models.state.regression_span import fallen_since

__all__ = ["FACTORS", "LEVELS", "MODEL", "Regressions", "past", "predict"]

MODEL = "regression-3"
FACTORS = ("usual", "record", "forgetting")
LEVELS = ("low", "medium", "high", "critical")
LEVEL_BOUNDS = (28, 52, 65)

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Regressions:
    """``n`` skills as of an instant; mastery, amounts, scores and confidence in hundredths.

    ``active`` says whether the skill has regressed. ``score`` is the urgency: 50 plus
    ``contributions (n, 3)``, and 50 where the skill has not regressed; ``urgency`` is an index into `LEVELS`.
    The contributions are how often the learner usually fails, how the skill's record differs from that, and
    how much has been forgotten since the last practice, which never falls without practice.
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


def predict(states: NDArray[np.void], as_of: Ints, learner: Calibration) -> Regressions:
    """Regressions of MEMORY states ``(n,)`` as of instants ``(n,)`` in ms, by their learners' calibration.

    A skill on a plateau is being practised: it has not regressed.
    """
    elapsed = np.maximum(as_of - states["last_at"], 0)
    active = strength(states, elapsed) <= limit_of(states, learner)
    active &= ~plateau.lasts(states, as_of)
    now, start = (_share(mastery_now(states, when, learner)) for when in (elapsed, np.zeros_like(elapsed)))
    usual = probability(learner, learner.usual)
    values = np.stack([0.5 - usual, usual - start, start - now], axis=1)
    contributions = np.where(active[:, None], values, 0.0)
    score = hundredths(0.5 + contributions.sum(axis=1))
    scored = states["scored"].astype(np.float64)
    peak, current = hundredths(_share(peak_mastery(states, learner))), hundredths(now)
    return Regressions(
        active=active,
        detected=np.where(active, fallen_since(states), review_at(states, learner)),
        peak=peak,
        current=current,
        amount=np.maximum(peak - current, 0),
        next_week=hundredths(_share(mastery_now(states, elapsed + 7 * DAY, learner))),
        days=elapsed // DAY,
        score=score,
        urgency=np.searchsorted(np.array(LEVEL_BOUNDS), score, side="left"),
        contributions=round_contributions(contributions, score - 50),
        confidence=np.where(active, hundredths(scored / (scored + 3.0)), 0),
    )


def past(states: NDArray[np.void], learner: Calibration) -> tuple[NDArray[np.bool_], Ints, Ints]:
    """Which of the ended spans ``(n, 2)`` of MEMORY states were regressions, with mastery at peak and end.

    Both masteries ``(n, 2)`` are in millionths, by the present calibration of the learners ``(n,)``.
    """
    spans = states["regressions"]
    ended = np.repeat(states[:, None], 2, axis=1)
    ended["peak_strength"] = spans["peak_strength"]
    flat, whose = ended.reshape(-1), learner.take(np.repeat(np.arange(len(states)), 2))
    low = spans["strength"].reshape(-1) / STRENGTH_UNIT
    had = (spans["detected"].reshape(-1) > 0) & (low <= limit_of(flat, whose))
    current = np.rint(probability(whose, low) * MASTERY_UNIT).astype(np.int64)
    shape = spans.shape
    return had.reshape(shape), peak_mastery(flat, whose).reshape(shape), current.reshape(shape)


def _share(millionths: Ints) -> NDArray[np.float64]:
    return millionths / MASTERY_UNIT

"""Plateaus: practice that no longer improves a skill (specification, "learning_plateaus").

A plateau claims that of the next ten answers under .85 are right, and less than .05 more than of the last
six.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths, round_contributions
from lyo.models.arrays.zones import DAY
from lyo.models.state.forgetting import recall
from lyo.models.state.mastery import MASTERY_UNIT, mastery
from lyo.models.state.plateau_window import (
    GAP,
    LEAST_ATTEMPTS,
    LEAST_DAYS,
    Pattern,
    improvement_of,
    pattern_of,
)

__all__ = ["FACTORS", "MODEL", "SUGGESTIONS", "WEAK_PREREQUISITE", "Plateaus", "lasts", "predict"]

MODEL = "plateau-3"
FACTORS = ("level", "attempts", "flatness")
_WEIGHTS = np.array([0.5, 0.25, 0.25])
SUGGESTIONS = {
    Pattern.MIXED: "Try a different kind of material on this topic, such as a worked example or a video",
    Pattern.QUICK_WRONG: "Slow down: read each question twice and say the first step aloud before answering",
    Pattern.SLOW_RIGHT: "The answers are right but slow: short timed drills will make them fluent",
    Pattern.SAME_ITEM: "Leave this exercise for now and try other ones on the same skill",
}
WEAK_PREREQUISITE = "Review {name} first: this topic builds on it"

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Plateaus:
    """The window of ``n`` skills as a plateau. ``mastery``, ``improvement`` and ``confidence`` in hundredths.

    ``is_plateau`` says whether the window is a plateau (open, or left without an end), ``lasts`` whether
    practice goes on, and ``active`` whether it does so without improvement. ``score`` is how clear it is: 50
    plus ``contributions (n, 3)``, and 50 without a plateau.
    """

    is_plateau: NDArray[np.bool_]
    lasts: NDArray[np.bool_]
    active: NDArray[np.bool_]
    detected: Ints  # ms
    left: Ints  # ms: when practice moved on, if it did
    days: Ints
    attempts: Ints
    mastery: Ints
    improvement: Ints
    pattern: Ints
    score: Ints
    contributions: Ints
    confidence: Ints


def lasts(states: NDArray[np.void], as_of: Ints) -> NDArray[np.bool_]:
    """Whether the windows of MEMORY states ``(n,)`` are plateaus, and practice has not moved on."""
    return (states["window_detected"] > 0) & (as_of <= states["last_at"] + GAP)


def predict(states: NDArray[np.void], as_of: Ints) -> Plateaus:
    """Plateaus of MEMORY states ``(n,)`` as of instants ``(n,)`` in ms."""
    is_plateau = states["window_detected"] > 0
    left = states["last_at"] + GAP
    level = mastery(states["hits"], states["weight"])
    improvement = improvement_of(states)
    attempts = states["window_attempts"].astype(np.int64)
    until = np.minimum(as_of, states["last_at"])
    values = np.stack(
        [
            1.0 - level / MASTERY_UNIT,
            attempts / (attempts + 8.0),
            1.0 / (1.0 + np.abs(improvement) / 100_000),
        ],
        axis=1,
    )
    contributions = np.where(is_plateau[:, None], _WEIGHTS * (values - 0.5), 0.0)
    score = hundredths(0.5 + contributions.sum(axis=1))
    days = states["window_days"]
    evidence = attempts / (attempts + LEAST_ATTEMPTS) * (days / (days + float(LEAST_DAYS)))
    kept = recall(as_of - states["last_at"], states["stability"])
    return Plateaus(
        is_plateau=is_plateau,
        lasts=lasts(states, as_of),
        active=lasts(states, as_of) & (improvement <= 0),
        detected=states["window_detected"],
        left=left,
        days=np.maximum(until - states["window_since"], 0) // DAY + 1,
        attempts=attempts,
        mastery=hundredths(level / MASTERY_UNIT),
        improvement=hundredths(improvement / MASTERY_UNIT),
        pattern=pattern_of(states),
        score=score,
        contributions=round_contributions(contributions, score - 50),
        confidence=np.where(is_plateau, hundredths(2.0 * evidence / (1.0 + evidence) * kept), 0),
    )

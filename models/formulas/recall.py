"""The probability that a learner's next answer at a skill is right: mastery now.

The skill's strength (`lyo.models.state.mastery`) is read by the learner's own reviews: log odds are ``slope *
strength + offset``. The slope is drawn from 0.4 toward what the learner's reviews show, that is, the
covariance of strength and outcome over the variance that a logistic would give it. The offset starts at the
learner's share of right answers and then follows the residuals of the reviews: of all that the row holds, of
the last 256, of the last 16, each drawn toward the one before by 8, 64 and 32 reviews' worth.

Predictions about a skill use the reviews of days before the day that they hold for, so that practice of one
skill does not change the predictions about the others. Answers to struggle requests use all reviews.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY
from lyo.models.state.mastery import MASTERY_UNIT, STRENGTH_UNIT, strength
from lyo.models.state.reviews import REVIEW_UNIT

__all__ = ["Calibration", "calibrate", "mastery_now", "peak_mastery", "probability"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

USED_DAYS = 30
"""Two fewer than a row holds, so that a new day does not push out a day that is used."""
SLOPE, SLOPE_WEIGHT = 0.4, 16.0
LEAST_SLOPE, MOST_SLOPE = 0.1, 1.5
SHARE, SHARE_WEIGHT = 0.85, 2.0
_RATE, _RATE_WEIGHT = 0.8, 4.0
_WINDOWS = ((np.inf, 8.0), (256.0, 64.0), (16.0, 32.0))  # reviews, and how many to trust them half


@dataclass(slots=True)
class Calibration:
    """How ``n`` learners remember: log odds are ``slope * strength + offset``.

    ``usual`` is the strength that the skills they practise have when they review them.
    """

    slope: Floats
    offset: Floats
    usual: Floats

    def take(self, which: Ints) -> Calibration:
        """Calibrations ``(k,)`` of the learners at ``which (k,)``; an index may occur more than once."""
        return Calibration(*(getattr(self, field.name)[which] for field in fields(self)))


def calibrate(rows: NDArray[np.void], until: Ints) -> Calibration:
    """Calibrations ``(n,)`` of LEARNER rows by the days that ended at ``until (n,)`` in ms or before.

    The UTC day of ``until`` is left out; an instant after the newest day uses all days.
    """
    days = rows["review_days"]
    used = (days["day"] > 0) & (days["day"] <= (until // DAY)[:, None])
    used &= np.cumsum(used, axis=1) <= USED_DAYS
    columns = {name: np.where(used, days[name], 0).astype(np.float64) for name in days.dtype.names or ()}
    for name in ("strength", "recalled_strength"):
        columns[name] /= REVIEW_UNIT
    columns["squares"] /= REVIEW_UNIT**2
    totals = {name: values.sum(axis=1) for name, values in columns.items()}
    slope = _slope(totals)
    share = (totals["right"] + SHARE_WEIGHT * SHARE) / (totals["scored"] + SHARE_WEIGHT)
    typical = float(_logit(np.array(SHARE)))
    offset, usual = _logit(share) - slope * typical, np.full(len(rows), typical)
    for most, weight in _WINDOWS:
        reviews, recalled, summed = _newest(columns, most)
        mean = summed / np.maximum(reviews, 1.0)
        expected = _share(slope * mean + offset)
        seen = (recalled + weight * expected) / (reviews + weight)
        offset = offset + _logit(seen) - _logit(expected)
        usual = (summed + weight * usual) / (reviews + weight)
    return Calibration(slope, offset, usual)


def _slope(totals: dict[str, Floats]) -> Floats:
    reviews = np.maximum(totals["reviews"], 1.0)
    rate = (totals["recalled"] + _RATE_WEIGHT * _RATE) / (totals["reviews"] + _RATE_WEIGHT)
    covariance = totals["recalled_strength"] - totals["strength"] * totals["recalled"] / reviews
    variance = np.maximum(totals["squares"] - totals["strength"] ** 2 / reviews, 0.0)
    slope = (covariance + SLOPE_WEIGHT * SLOPE) / (variance * rate * (1.0 - rate) + SLOPE_WEIGHT)
    return np.clip(slope, LEAST_SLOPE, MOST_SLOPE)


def _newest(columns: dict[str, Floats], most: float) -> list[Floats]:
    """The newest so many reviews: how many, how many recalled, sum of strengths; of the last day a share."""
    count = columns["reviews"]
    left = np.maximum(most - (np.cumsum(count, axis=1) - count), 0.0)
    share = np.minimum(left / np.maximum(count, 1.0), 1.0)
    return [(columns[name] * share).sum(axis=1) for name in ("reviews", "recalled", "strength")]


def probability(calibration: Calibration, odds: Floats) -> Floats:
    """Probability ``(n,)`` in (0, 1) of a right answer at strengths ``(n,)``."""
    return _share(calibration.slope * odds + calibration.offset)


def mastery_now(states: NDArray[np.void], elapsed: Ints, calibration: Calibration) -> Ints:
    """Mastery ``(n,)`` in millionths of MEMORY states ``(n,)``, ``elapsed`` ms after their last attempt."""
    return _millionths(probability(calibration, strength(states, elapsed)))


def peak_mastery(states: NDArray[np.void], calibration: Calibration) -> Ints:
    """Mastery ``(n,)`` in millionths at the peak of each MEMORY state's strength."""
    return _millionths(probability(calibration, states["peak_strength"] / STRENGTH_UNIT))


def _millionths(share: Floats) -> Ints:
    return np.rint(share * MASTERY_UNIT).astype(np.int64)


def _share(odds: Floats) -> Floats:
    shared: Floats = 1.0 / (1.0 + np.exp(-odds))
    return shared


def _logit(share: Floats) -> Floats:
    odds: Floats = np.log(share / (1.0 - share))
    return odds

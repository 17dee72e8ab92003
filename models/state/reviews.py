"""A learner's reviews, as sums per day, from which the learner's memory is calibrated.

A review is a scored attempt eight hours or more after the one before at the same skill. Its strength is the
skill's strength just before. A row holds the newest `REVIEW_DAYS` UTC days with a scored attempt,
newest first. All are sums, so they do not depend on the order in which skills are folded; an attempt that is
folded again in another place takes its old contribution back.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY

__all__ = [
    "NO_REVIEW",
    "REVIEW_DAY",
    "REVIEW_DAYS",
    "REVIEW_UNIT",
    "Contributions",
    "add_reviews",
    "sixteenths",
]

REVIEW_DAYS = 32
REVIEW_UNIT = 16
NO_REVIEW = -128
"""In place of a strength in 1/16: the attempt was no review."""
REVIEW_DAY = np.dtype(
    [
        ("day", "<u4"),  # UTC day number + 1, 0 = unused
        ("scored", "<u4"),  # attempts
        ("right", "<u4"),
        ("reviews", "<u4"),
        ("recalled", "<u4"),  # right ones of the reviews
        ("strength", "<i4"),  # sum of the reviews' strengths, 1/16: holds 26 million reviews a day
        ("squares", "<i8"),  # sum of their squares, 1/256
        ("recalled_strength", "<i4"),  # sum of the strengths of the recalled ones, 1/16
    ]
)
_DAY_BITS = 20  # of the number of a day before the year 2200
_SUMS = ("scored", "right", "reviews", "recalled", "strength", "squares", "recalled_strength")

Ints = NDArray[np.int64]
Rows = NDArray[np.void]


@dataclass(slots=True)
class Contributions:
    """What attempts ``(k,)`` add to the sums of their learners' days, or take back."""

    row: Ints  # of the skill
    at: Ints  # ms
    scored: Ints  # 1 for a scored attempt that is new, 0 for one that is folded again
    right: Ints
    strength: Ints  # 1/16, `NO_REVIEW` = no review
    recalled: NDArray[np.bool_]
    sign: Ints  # 1 adds, -1 takes back

    @classmethod
    def joined(cls, parts: list[Contributions]) -> Contributions:
        """Several contributions as one, in their order."""
        if not parts:
            none = np.zeros(0, np.int64)
            return cls(none, none, none, none, none, none.astype(bool), none)
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def sixteenths(strength: NDArray[np.float64]) -> Ints:
    """Strength in `REVIEW_UNIT`."""
    return np.rint(strength * REVIEW_UNIT).astype(np.int64)


def add_reviews(rows: Rows, who: Ints, added: Contributions) -> None:
    """Add contributions ``(k,)`` to the days of LEARNER rows ``(n,)`` in place; ``who (k,)`` are their rows.

    A day older than all days of a full row is left out, so that the newest days stay in any order of arrival.
    """
    if not len(who):
        return
    day = added.at // DAY + 1
    keys, group = np.unique(who << _DAY_BITS | day, return_inverse=True)
    sums = _sums(added, group, len(keys))
    whose, days = keys >> _DAY_BITS, keys & ((1 << _DAY_BITS) - 1)
    rank = np.arange(len(keys)) - np.searchsorted(whose, whose)
    for turn in range(int(rank.max()) + 1):
        chosen = np.flatnonzero(rank == turn)
        held = rows["review_days"][whose[chosen]]
        _add_one_day_each(held, days[chosen], {name: values[chosen] for name, values in sums.items()})
        rows["review_days"][whose[chosen]] = held


def _sums(added: Contributions, group: Ints, many: int) -> dict[str, Ints]:
    review = added.sign * (added.strength != NO_REVIEW)
    kept = review * added.recalled
    values = {
        "scored": added.scored,
        "right": added.right,
        "reviews": review,
        "recalled": kept,
        "strength": review * added.strength,
        "squares": review * added.strength**2,
        "recalled_strength": kept * added.strength,
    }
    sums = {name: np.zeros(many, np.int64) for name in _SUMS}
    for name, added_values in values.items():
        np.add.at(sums[name], group, added_values)
    return sums


def _add_one_day_each(held: Rows, day: Ints, sums: dict[str, Ints]) -> None:
    """Add to one day of each learner's ``(m, REVIEW_DAYS)`` in place; a new day pushes the oldest out."""
    is_day = held["day"] == day[:, None]
    begins = ~is_day.any(axis=1) & (day > held["day"][:, -1])
    if begins.any():
        part = held[begins]
        part[:, -1] = 0
        part["day"][:, -1] = day[begins]
        order = np.argsort(-part["day"].astype(np.int64), axis=1, kind="stable")
        held[begins] = np.take_along_axis(part, order, axis=1)
        is_day = held["day"] == day[:, None]
    row, place = np.nonzero(is_day)
    for name in _SUMS:
        column = held[name]
        held_now, limits = column[row, place].astype(np.int64), np.iinfo(column.dtype)
        column[row, place] = np.clip(held_now + sums[name][row], limits.min, limits.max)

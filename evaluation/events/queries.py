"""The questions of an evaluation: learner, time and label of each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Queries"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class Queries:
    """``n`` questions in the order of time, each about one learner at one moment.

    A question sees its learner's events before ``turn`` (their place in the stream) and nothing else.
    ``label`` is what came of it, ``settled`` when that was known (ms). ``row`` is the completion and
    ``skill`` the entry of its skills that it is about, -1 where neither. Questions of one ``stratum`` are
    fitted together; ``group`` is what `--split` keeps apart.
    """

    user: Ints
    at: Ints
    turn: Ints
    label: Bools
    settled: Ints
    row: Ints
    skill: Ints
    stratum: Ints
    group: Ints
    slices: dict[str, Bools] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of questions."""
        return len(self.user)

    def take(self, which: Ints) -> Queries:
        """The chosen questions."""
        return Queries(
            self.user[which],
            self.at[which],
            self.turn[which],
            self.label[which],
            self.settled[which],
            self.row[which],
            self.skill[which],
            self.stratum[which],
            self.group[which],
            {name: mask[which] for name, mask in self.slices.items()},
            dict(self.left_out),
        )

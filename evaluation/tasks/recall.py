"""Recall: every scored repetition of a skill, asked about before it is folded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.contenders import Constant, Contender, Rule, Served
from lyo.evaluation.events.attempts import Attempts, attempts
from lyo.evaluation.events.queries import Queries
from lyo.evaluation.events.slices import first_answers, gap_slices
from lyo.evaluation.events.stream import Events
from lyo.evaluation.tasks.skills import Scene, about, scene
from lyo.evaluation.tasks.task import Options, Task
from lyo.models.arrays.zones import DAY
from lyo.models.formulas.recall import calibrate, mastery_now
from lyo.models.state.forgetting import recall
from lyo.models.state.mastery import MASTERY_UNIT
from lyo.models.state.partition import State

__all__ = ["RecallTask"]

LATELY = 30 * DAY

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def _curve(scene: Scene) -> Floats:
    kept = recall(scene.as_of - scene.states["last_at"], np.maximum(scene.states["stability"], 1))
    column: Floats = kept[:, None]
    return column


def _mastery_now(scene: Scene) -> Floats:
    learners = calibrate(scene.rows, scene.as_of + DAY)  # by all reviews so far
    now: Floats = mastery_now(scene.states, scene.as_of - scene.states["last_at"], learners) / MASTERY_UNIT
    return now[:, None]


def _right_lately(scene: Scene) -> Floats:
    recent = scene.as_of - scene.states["last_at"] <= LATELY
    right: Floats = ((scene.last >= 0.5) & recent).astype(np.float64)[:, None]
    return right


class RecallTask(Task):
    """Positive: the skill is recalled, its score is at least 0.5."""

    name: ClassVar[str] = "recall"
    contenders: ClassVar[Mapping[str, Contender]] = {
        "weights": Served("mastery now", _mastery_now),
        "curve": Served("the forgetting curve alone", _curve),
        "constant": Constant(),
        "rule": Rule("the last score was at least 0.5, and that within 30 days", _right_lately, alarms=False),
    }

    def __init__(self, asks: str, tries: Attempts, queries: Queries) -> None:
        super().__init__(asks, queries)
        self._tries = tries

    @classmethod
    def over(cls, events: Events, options: Options) -> RecallTask:
        """Every repetition of a skill, with `least_gap` only those after so many days."""
        asks = "the skill is recalled (a score of 0.5 and more)"
        if options.least_gap:
            asks += f", after {options.least_gap:g} days and more"
        tries = attempts(events)
        which = np.flatnonzero(
            (tries.before > 0) & ~np.isnan(tries.score) & (tries.gap >= (options.least_gap or 0.0) * DAY)
        )
        queries = about(tries, which, tries.score[which] >= 0.5, tries.at[which])
        which = queries.skill
        queries.slices = {
            "first ten answers of a learner": first_answers(tries.user)[which],
            "a day and more": tries.gap[which] >= DAY,
            **gap_slices(tries.gap[which]),
        }
        return cls(asks, tries, queries)

    def scene(self, state: State, which: Ints) -> Scene:
        """Rows and states before the attempts."""
        return scene(state, self._tries, self.queries, which, self._tries.last, self._tries.recent)

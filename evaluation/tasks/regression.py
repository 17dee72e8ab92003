"""Regressions: does the first attempt at a skill after a day and more fail, alarmed or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.contenders import Constant, Contender, Rule, Served
from lyo.evaluation.events.attempts import Attempts, attempts
from lyo.evaluation.events.queries import Queries
from lyo.evaluation.events.slices import gap_slices
from lyo.evaluation.events.stream import Events
from lyo.evaluation.tasks.skills import Scene, about, at_end, scene
from lyo.evaluation.tasks.task import Options, Task
from lyo.models.arrays.zones import DAY
from lyo.models.formulas import regression
from lyo.models.formulas.recall import calibrate
from lyo.models.state.partition import State

__all__ = ["ALARMED_FROM", "RegressionTask"]

LEAST_GAP = 1.0
ALARMED_FROM = regression.LEVELS.index("high")
LOW_MASTERY = 0.6
PRACTISED = 3

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def _weights(scene: Scene) -> Floats:
    predictions = regression.predict(scene.states, scene.as_of, calibrate(scene.rows, scene.as_of))
    level = np.where(predictions.active, predictions.urgency, -1)
    return np.stack(
        [np.where(predictions.active, predictions.score / 100, 0.5), level >= ALARMED_FROM, level], axis=1
    )


def _mastery_low(scene: Scene) -> Floats:
    return (scene.recent < LOW_MASTERY).astype(np.float64)[:, None]


class RegressionTask(Task):
    """Positive: the attempt fails (a score under 0.5). The alarm: urgency high or critical before it.

    What the alarm claims is that such a skill fails more often than the learner's other practised skills:
    `odds_within` compares just these. Practised are those with three scored attempts and more.
    """

    name: ClassVar[str] = "regression"
    levels: ClassVar[tuple[str, ...]] = regression.LEVELS
    closes: ClassVar[bool] = True
    contenders: ClassVar[Mapping[str, Contender]] = {
        "weights": Served("urgency of the skill's regression, one half where there is none", _weights),
        "constant": Constant(),
        "rule": Rule("mastery (the mean of the last ten scores) under 0.6", _mastery_low),
    }

    def __init__(self, asks: str, tries: Attempts, queries: Queries) -> None:
        super().__init__(asks, queries)
        self._tries = tries

    @classmethod
    def over(cls, events: Events, options: Options) -> RegressionTask:
        """Every attempt at a practised skill after a day and more, or `least_gap`."""
        least = options.least_gap or LEAST_GAP
        asks = (
            f"the next attempt at a practised skill, after {least:g} days and more, fails (a score under 0.5)"
        )
        tries = attempts(events)
        which = np.flatnonzero(
            (tries.scored >= PRACTISED) & ~np.isnan(tries.score) & (tries.gap >= least * DAY)
        )
        queries = about(tries, which, tries.score[which] < 0.5, tries.at[which])
        queries.slices = gap_slices(tries.gap[queries.skill])
        return cls(asks, tries, queries)

    def closing(self, state: State, at: int) -> dict[str, Any]:
        """Active regressions by urgency, and those of urgency high and critical by learner."""
        states = state.skills.rows["now"]
        owner, as_of = state.skills.column("owner").astype(np.int64), np.maximum(states["last_at"], at)
        predictions = regression.predict(states, as_of, calibrate(state.learners.rows[owner], as_of))
        urgent = predictions.active & (predictions.urgency >= ALARMED_FROM)
        everything = at_end(state, predictions.active, predictions.urgency, self.levels)
        return {**everything, "urgent": at_end(state, urgent, predictions.urgency, self.levels)}

    def scene(self, state: State, which: Ints) -> Scene:
        """Rows and states before the attempts."""
        return scene(state, self._tries, self.queries, which, self._tries.last, self._tries.recent)

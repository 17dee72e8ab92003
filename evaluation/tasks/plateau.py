"""Plateaus: do the next ten attempts at a skill stagnate, alarmed or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.contenders import Constant, Contender, Rule, Served
from lyo.evaluation.events.attempts import Attempts, attempts
from lyo.evaluation.events.queries import Queries
from lyo.evaluation.events.stream import Events
from lyo.evaluation.tasks.skills import Scene, about, at_end, scene
from lyo.evaluation.tasks.task import Options, Task
from lyo.models.formulas import plateau
from lyo.models.state.partition import State
from lyo.models.state.plateau_window import LAST

__all__ = ["PlateauTask"]

AHEAD = 10
LEAST_GAIN = 0.05
MASTERED = 0.85
LOW_MASTERY = 0.6
RIGHT = 0.5
ASKS = "of the next ten answers under .85 are right, and less than .05 more than of the last six"

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def _weights(scene: Scene) -> Floats:
    predictions = plateau.predict(scene.states, scene.as_of)
    return np.stack([np.where(predictions.active, predictions.score / 100, 0.5), predictions.active], axis=1)


def _mastery_low(scene: Scene) -> Floats:
    return (scene.recent < LOW_MASTERY).astype(np.float64)[:, None]


class PlateauTask(Task):
    """Positive: of the next ten answers under 0.85 are right, and less than .05 more than of the last six.

    Asked after the sixth scored attempt at a skill and every ten from there, so that no answer is looked
    ahead to twice, as of that attempt: then the alarm goes out. Only where ten more follow.
    """

    name: ClassVar[str] = "plateau"
    closes: ClassVar[bool] = True
    contenders: ClassVar[Mapping[str, Contender]] = {
        "weights": Served("how clear the skill's plateau is, one half where there is none", _weights),
        "constant": Constant(),
        "rule": Rule("mastery (the mean of the last ten scores) under 0.6", _mastery_low),
    }

    def __init__(self, tries: Attempts, queries: Queries, last: Floats, recent: Floats) -> None:
        super().__init__(ASKS, queries)
        self._tries, self._last, self._recent = tries, last, recent

    @classmethod
    def over(cls, events: Events, _options: Options) -> PlateauTask:
        """The sixth attempt at a skill and every tenth from there that ten more follow."""
        tries = attempts(events)
        queries = about(tries, *_windows(tries))
        # Asked when the attempt has been folded: the alarm is raised by it.
        queries.turn = queries.turn + 1
        last, recent = _after(tries)
        level = recent[queries.skill]
        queries.slices = {
            "level under .4": level < 0.4,
            "level .4 to .6": (level >= 0.4) & (level < 0.6),
            "level .6 to .85": (level >= 0.6) & (level < MASTERED),
            "level .85 and more": level >= MASTERED,
        }
        return cls(tries, queries, last, recent)

    def closing(self, state: State, at: int) -> dict[str, Any]:
        """Active plateaus, and by learner."""
        states = state.skills.rows["now"]
        active = plateau.predict(states, np.maximum(states["last_at"], at)).active
        return at_end(state, active, np.zeros(len(active), np.int64), ())

    def scene(self, state: State, which: Ints) -> Scene:
        """Rows and states after these attempts."""
        return scene(state, self._tries, self.queries, which, self._last, self._recent)


def _windows(tries: Attempts) -> tuple[Ints, Bools, Ints]:
    """The scored attempts that ten more follow, whether these stagnate, and when the last was."""
    order = np.argsort(tries.chain, kind="stable")
    order = order[~np.isnan(tries.score[order])]
    chain = tries.chain[order]
    total = np.r_[0.0, np.cumsum(tries.score[order] >= RIGHT)]
    place = np.arange(len(order))
    number = tries.scored[order] + 1  # which scored attempt at the skill it is
    ends = np.minimum(place + AHEAD, len(order) - 1)
    kept = (number % AHEAD == LAST) & (place + AHEAD < len(order)) & (chain[ends] == chain)
    at = place[kept]
    before = (total[at + 1] - total[at + 1 - LAST]) / LAST
    after = (total[at + 1 + AHEAD] - total[at + 1]) / AHEAD
    label = (after - before < LEAST_GAIN) & (after < MASTERED)
    return order[at], label, tries.at[order[at + AHEAD]]


def _after(tries: Attempts) -> tuple[Floats, Floats]:
    """Newest score and mean of up to ten ``(k,)``, each attempt's own included."""
    order = np.argsort(tries.chain, kind="stable")
    following = np.full(len(order), -1)
    same = tries.chain[order][1:] == tries.chain[order][:-1]
    following[order[:-1][same]] = order[1:][same]
    known = following >= 0
    last = np.where(known, tries.last[following], np.nan)
    recent = np.where(known, tries.recent[following], np.nan)
    return last, recent

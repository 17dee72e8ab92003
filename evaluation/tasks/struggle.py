"""Struggle: every scored completion, asked about before it is folded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.contenders import Constant, Contender, Rule, Served
from lyo.evaluation.events.attempts import Attempts, attempts
from lyo.evaluation.events.queries import Queries
from lyo.evaluation.events.slices import cold_content, cold_skill, first_answers, so_far
from lyo.evaluation.events.stream import Events
from lyo.evaluation.tasks.task import Options, Task
from lyo.models.arrays.zones import DAY
from lyo.models.events.decode import Kind
from lyo.models.events.types import ContentMetadata
from lyo.models.formulas import struggle
from lyo.models.predictions.compute import Group, group, struggle_inputs
from lyo.models.state.partition import State
from lyo.models.state.struggle_requests import Request

__all__ = ["Scene", "StruggleTask"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ASKS = "the learner struggles with the content (says so, or a score under 0.5)"


@dataclass(slots=True)
class Scene:
    """``m`` questions, with the inputs from which the product computes their answers."""

    learners: Group
    inputs: struggle.StruggleInputs
    last_wrong: NDArray[np.bool_]


def _weights(scene: Scene) -> Floats:
    answers = struggle.predict(scene.inputs)
    return np.stack([answers.score / 100, answers.help], axis=1)


class StruggleTask(Task):
    """Positive: the completion says the learner struggled; where it does not say, its score is under 0.5.

    A completion's own prerequisites, similar topics and difficulty are asked with; without any of the first
    two, its skills stand for one of them.
    """

    name: ClassVar[str] = "struggle"
    contenders: ClassVar[Mapping[str, Contender]] = {
        "weights": Served("the specification's six weights", _weights),
        "constant": Constant(),
        "rule": Rule(
            "the last score on one of the content's skills was under 0.5",
            lambda scene: scene.last_wrong[:, None],
        ),
    }

    def __init__(self, events: Events, options: Options, queries: Queries, last_wrong: Bools) -> None:
        super().__init__(ASKS, queries)
        self._rows, self._skills_as = events.completions.rows, options.skills_as
        self._last_wrong = last_wrong

    @classmethod
    def over(cls, events: Events, options: Options) -> StruggleTask:
        """Every completion that says how it went."""
        tries = attempts(events)
        queries = _queries(events)
        rows, many = queries.row, len(events.completions.user)
        silent, _ = so_far(events, queries.user, queries.turn, queries.settled)
        queries.slices = {
            "first ten answers of a learner": first_answers(queries.user),
            "cold skill": cold_skill(tries, many)[rows],
            "cold content": cold_content(events)[rows],
            "gap over 30 days": silent > 30 * DAY,
        }
        return cls(events, options, queries, _last_wrong(tries, many)[rows])

    def scene(self, state: State, which: Ints) -> Scene:
        """The questions as the product resolves them."""
        owner = state.owners(self.queries.user[which])
        rows = state.learners.rows[owner]
        learners = group(rows, np.maximum(rows["newest"], self.queries.at[which]), state.catalogue)
        requests = [self._request(row) for row in self.queries.row[which].tolist()]
        everyone = np.arange(len(which))
        inputs = struggle_inputs(learners, everyone, owner, requests, state.catalogue, state.memories)
        return Scene(learners, inputs, self._last_wrong[which])

    def _request(self, row: int) -> Request:
        done = self._rows[row]
        prerequisites, similar = done.prerequisites, done.similar_topics
        if prerequisites is None and similar is None:
            prerequisites = done.skills if self._skills_as == "prerequisites" else None
            similar = done.skills if self._skills_as == "similar" else None
        metadata = ContentMetadata(
            difficulty_rating=done.difficulty, prerequisites=prerequisites, similar_topics=similar
        )
        return Request("", done.content_id, 0, 0, metadata)


def _queries(events: Events) -> Queries:
    """Every completion with a score, or that says whether the learner struggled."""
    done = events.completions
    assert done.score is not None
    assert done.struggled is not None
    assert done.duration is not None
    wrong = (done.score >= 0) & (done.score < 5_000)
    rows = np.flatnonzero((done.score >= 0) | (done.struggled >= 0))
    none = np.full(len(rows), -1)
    return Queries(
        user=done.user[rows],
        # Asked when the attempt began: how long it took would tell what came of it.
        at=(done.at - np.maximum(done.duration.astype(np.int64), 0) * 1000)[rows],
        turn=events.turn[Kind.LESSON_COMPLETION][rows],
        label=np.where(done.struggled >= 0, done.struggled == 1, wrong)[rows],
        settled=done.at[rows],
        row=rows,
        skill=none,
        stratum=np.zeros(len(rows), np.int64),
        group=done.user[rows],
    )


def _last_wrong(tries: Attempts, rows: int) -> Bools:
    """Of which completions ``(rows,)`` the newest earlier score on one of their skills was under 0.5."""
    known = np.flatnonzero(~np.isnan(tries.last))
    before = tries.at[known] - tries.gap[known]
    newest = np.full(rows, -1)
    np.maximum.at(newest, tries.row[known], before)
    latest = known[before == newest[tries.row[known]]]
    found = np.zeros(rows, bool)
    found[tries.row[latest[tries.last[latest] < 0.5]]] = True
    return found

"""Dropout: asked at the end of each learner's weeks, or at the times of a label file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.contenders import Constant, Contender, Fitted, Rule, Served
from lyo.evaluation.dropout.fit import fit_labels
from lyo.evaluation.events.labels import COURSE_HORIZON, Labelled, read_labels
from lyo.evaluation.events.moments import activity, turns
from lyo.evaluation.events.queries import Queries
from lyo.evaluation.events.slices import FIRST, so_far
from lyo.evaluation.events.stream import Events
from lyo.evaluation.logistic import fit_logistic
from lyo.evaluation.tasks.task import Options, Task
from lyo.models.arrays.zones import DAY
from lyo.models.formulas import dropout, hazard
from lyo.models.formulas.dropout_factors import factors
from lyo.models.formulas.hazard import SHIPPED, Hazard
from lyo.models.predictions.compute import Group, group
from lyo.models.state.history import History
from lyo.models.state.partition import State

__all__ = ["NEVER", "DropoutTask", "Scene", "served", "terms_of"]

HORIZON = 14
SILENT_WEEK = 7
NEVER = 9_999
GONE = 7
"""Days of silence that a label without a horizon stands for."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(slots=True)
class Scene:
    """``m`` learners as of the moments of the questions, about so many days of silence."""

    learners: Group
    horizon: int

    @property
    def past(self) -> History:
        """The learners' daily history."""
        return self.learners.past


def _weights(scene: Scene) -> Floats:
    risk = dropout.predict_weights(scene.past)
    return _answer(risk.score / 100, risk)


def served(what: str, model: Hazard = SHIPPED) -> Served:
    """A hazard as it is served: the probability of as many days of silence, with its level."""

    def observe(scene: Scene) -> Floats:
        stays = hazard.stays(model, terms_of(scene), scene.horizon)
        return _answer(stays, dropout.predict(scene.past, model))

    return Served(what, observe)


def _answer(probability: Floats, risk: dropout.DropoutRisk) -> Floats:
    level = np.where(risk.enough, dropout.level_of(risk.score), 0)
    return np.stack([probability, level == len(dropout.LEVELS) - 1, level], axis=1)


def terms_of(scene: Scene) -> Floats:
    """The hazard's terms ``(m, t)``."""
    return hazard.terms(scene.past, factors(scene.past))


def _fit_hazard(terms: Floats, label: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    model = fit_labels(terms, label)
    return lambda terms: hazard.probabilities(model, terms)[:, 0]


def _silent_a_week(scene: Scene) -> Floats:
    return (scene.past.silent >= SILENT_WEEK).astype(np.float64)[:, None]


def _counters(scene: Scene) -> Floats:
    """The eight counters of days silent, active days, amounts of all, of 7 and of 3 days, first day, gaps."""
    past = scene.past
    amount = past.minutes + past.completed
    age = past.today[past.who] - past.day
    busy = ((past.sessions > 0) | (past.completed > 0)).astype(np.float64)
    days = past.total(busy)
    span = np.maximum(past.last - past.first, 0)
    gap = np.where(days >= 2, span / np.maximum(days - 1, 1), span + 1.0)
    return np.stack(
        [
            np.log1p(past.silent),
            np.log1p(days),
            np.log1p(past.total(amount)),
            np.log1p(past.total(amount, age < 7)),
            past.total(busy, age < 7),
            np.log1p(past.total(amount, age < 3)),
            np.log1p(past.today - past.first),
            np.log1p(gap),
        ],
        axis=1,
    )


class DropoutTask(Task):
    """Positive: the learner has dropped out.

    Without labels: at the end of each week since a learner's first day, who has been silent for less than
    the horizon is asked about, and has dropped out if nothing comes in the next `horizon` days; weeks that
    the file does not settle are left out.
    """

    name: ClassVar[str] = "dropout"
    levels: ClassVar[tuple[str, ...]] = dropout.LEVELS
    contenders: ClassVar[Mapping[str, Contender]] = {
        "hazard": served("the hazard of silence, for as many days"),
        "weights": Served("the specification's six weights", _weights),
        "constant": Constant(),
        "rule": Rule("no visit for seven days", _silent_a_week),
        "fitted": Fitted("the hazard's terms, fitted", terms_of, _fit_hazard, 0.5),
        "logistic": Fitted("a logistic regression on eight counters", _counters, fit_logistic, 0.5),
    }

    horizon: int = HORIZON
    following: Ints | None = None
    """Whole days ``(n,)`` from each question until something came, `NEVER` without; of labels: None."""

    @classmethod
    def over(cls, events: Events, options: Options) -> DropoutTask:
        """Questions at the ends of the learners' weeks, or at the labels' times.

        Raises:
            OSError, ValueError: the labels cannot be read, or have no such column.
        """
        bad: list[tuple[int, str]] = []
        following = None
        horizon = options.horizon or HORIZON
        if options.labels is None:
            asks = f"nothing comes of the learner in the next {horizon} days"
            queries, following = _weekly(events, horizon)
        else:
            asks = f"dropped out, as {options.labels.name} says"
            labels = read_labels(options.labels, options.days, options.horizon)
            bad, queries = labels.bad, _labelled(events, labels, options)
            horizon = options.horizon or (COURSE_HORIZON if "withdrawn_day" in labels.columns else GONE)
        silent, count = so_far(events, queries.user, queries.turn, queries.at)
        queries.slices |= {
            "first ten events of a learner": count <= FIRST,
            "active in the last week": silent < SILENT_WEEK * DAY,
            "silent for a week and more": silent >= SILENT_WEEK * DAY,
        }
        task = cls(asks, queries, bad)
        task.horizon, task.following = horizon, following
        return task

    def scene(self, state: State, which: Ints) -> Scene:
        """The learners' rows as of the questions."""
        rows = state.learners.rows[state.owners(self.queries.user[which])]
        return Scene(group(rows, self.queries.at[which], state.catalogue), self.horizon)


def _weekly(events: Events, horizon: int) -> tuple[Queries, Ints]:
    """The questions, and the days until something came."""
    user, at, _ = activity(events)
    people, first, who = np.unique(user, return_index=True, return_inverse=True)
    start = at[first] // DAY * DAY
    weeks = np.maximum((events.last - horizon * DAY - start) // (7 * DAY), 0)
    learner = np.repeat(np.arange(len(people)), weeks)
    week = np.arange(len(learner)) - np.repeat(np.cumsum(weeks) - weeks, weeks) + 1
    moment = start[learner] + week * 7 * DAY
    base = at.min(initial=0)
    span = np.int64(events.last - base + 1000 * DAY)
    key = who * span + (at - base)
    place = np.searchsorted(key, learner * span + (moment - base), side="left")
    previous = at[place - 1]
    last = np.r_[first[1:], len(at)][learner]
    days = (at[np.minimum(place, len(at) - 1)] - moment) // DAY
    following = np.where(place < last, np.minimum(days, NEVER), NEVER)
    kept = np.flatnonzero(moment - previous < horizon * DAY)
    order = kept[np.lexsort((people[learner[kept]], moment[kept]))]
    queries = Queries(
        user=people[learner[order]],
        at=moment[order],
        turn=turns(events, moment[order]),
        label=following[order] >= horizon,
        settled=moment[order] + horizon * DAY,
        row=np.full(len(order), -1),
        skill=np.full(len(order), -1),
        stratum=np.zeros(len(order), np.int64),
        group=people[learner[order]],
        slices={
            "first week": week[order] == 1,
            "second to fourth week": (week[order] > 1) & (week[order] <= 4),
            "fifth week and later": week[order] > 4,
        },
    )
    return queries, following[order]


def _labelled(events: Events, labels: Labelled, options: Options) -> Queries:
    group_of = labels.group(options.split or "learner")
    turn = turns(events, labels.at)
    silent, _ = so_far(events, labels.user, turn, labels.at)
    known = silent >= 0
    kept = np.flatnonzero(known)
    order = kept[np.lexsort((labels.user[kept], labels.at[kept]))]
    days = [day for day in np.unique(labels.day).tolist() if day]
    return Queries(
        user=labels.user[order],
        at=labels.at[order],
        turn=turn[order],
        label=labels.dropped[order],
        settled=labels.at[order],
        row=np.full(len(order), -1),
        skill=np.full(len(order), -1),
        stratum=labels.day[order],
        group=group_of[order],
        slices={f"day {day}": labels.day[order] == day for day in days},
        left_out=_left_out(known, labels.dropped),
    )


def _left_out(known: NDArray[np.bool_], dropped: NDArray[np.bool_]) -> dict[str, int]:
    """Which labels ``(n,)`` are of unknown learners, and how many of these dropped out."""
    if known.all():
        return {}
    return {
        "without an event by then": int((~known).sum()),
        "of these dropped out": int((dropped & ~known).sum()),
    }

"""Timing: the hour of the local day at which a learner's next session begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.contenders import HOURS, Contender, Known, Served, Verdict
from lyo.evaluation.events.moments import activity, turns
from lyo.evaluation.events.queries import Queries
from lyo.evaluation.events.slices import first_answers
from lyo.evaluation.events.stream import Events
from lyo.evaluation.tasks.task import Options, Task
from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.formulas import timing
from lyo.models.formulas.send_time import USUAL_HOURS, good_hours
from lyo.models.formulas.timing import weekday
from lyo.models.predictions.compute import Group, group
from lyo.models.state.partition import State

__all__ = ["Scene", "TimingTask"]

ASKS = "the learner's next session begins in this hour of the local day"
APART = HOUR
"""A session begins with the first activity after an hour without."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(slots=True)
class Scene:
    """``m`` learners just before a session begins, and the local time ``(m,)`` at which it does, ms."""

    learners: Group
    local: Ints


def _profile(scene: Scene) -> Floats:
    """Shares of sessions by hour ``(m, 24)``, which hours are peaks, and what is called a good time."""
    learners = scene.learners
    profile = timing.predict(
        learners.past, learners.rows, learners.as_of, learners.zones, learners.quiet_hours
    )
    unknown = profile.begins.sum(axis=1, keepdims=True) <= 0
    weeks = np.stack([good_hours(profile, learner) for learner in range(len(scene.local))])
    everyone = np.arange(len(weeks))
    begins = weeks[everyone, weekday(scene.local // DAY), scene.local // HOUR % HOURS]
    covers = weeks.mean(axis=(1, 2))
    features: Floats = np.c_[np.where(unknown, USUAL_HOURS, profile.begins), profile.peak, begins, covers]
    return features


@dataclass(frozen=True, slots=True)
class Histogram:
    """A model that counts sessions that ended before the question: `count` gives ``(n, 24)``."""

    what: str
    count: Callable[[Queries, Ints], Floats]

    @staticmethod
    def observe(scene: Scene) -> Floats:
        """The hour in which the session began."""
        return (scene.local // HOUR % HOURS)[:, None].astype(np.float64)

    def conclude(self, observed: Floats, known: Known) -> Verdict:
        """Shares of the counts, with one count spread over all hours."""
        counts = self.count(known.queries, observed[:, 0].astype(np.int64)) + 1 / HOURS
        return Verdict(counts / counts.sum(axis=1, keepdims=True))


def _counts(value: Ints, settled: Ints, at: Ints) -> Floats:
    """How often each value of 0 to 23 was known before each moment ``(m, 24)``; -1 is not counted."""
    order = np.argsort(settled, kind="stable")
    once = np.zeros((len(order) + 1, HOURS))
    known = np.flatnonzero(value[order] >= 0)
    once[known + 1, value[order][known]] = 1.0
    counts: Floats = np.cumsum(once, axis=0)[np.searchsorted(settled[order], at, side="left")]
    return counts


def _everyones(queries: Queries, hour: Ints) -> Floats:
    return _counts(hour, queries.settled, queries.at)


def _own(queries: Queries, hour: Ints) -> Floats:
    """A learner's sessions lie an hour apart, so that all earlier ones are settled."""
    order = np.argsort(queries.user, kind="stable")
    user = queries.user[order]
    once = np.zeros((len(order) + 1, HOURS))
    once[np.arange(len(order)) + 1, hour[order]] = 1.0
    total = np.cumsum(once, axis=0)[:-1]
    begin = np.ones(len(order), bool)
    begin[1:] = user[1:] != user[:-1]
    first = np.maximum.accumulate(np.where(begin, np.arange(len(order)), 0))
    profile = np.empty_like(total)
    profile[order] = total - total[first]
    return profile


def _around_last(queries: Queries, hour: Ints) -> Floats:
    """Differences between the hours of consecutive sessions, counted around the last hour; else zeros."""
    order = np.argsort(queries.user, kind="stable")
    last = np.full(len(order), -1)
    same = queries.user[order][1:] == queries.user[order][:-1]
    last[order[1:][same]] = hour[order[:-1][same]]
    away = np.where(last >= 0, (hour - last) % HOURS, -1)
    counts = _counts(away, queries.settled, queries.at)
    place = (np.arange(HOURS)[None, :] - last[:, None]) % HOURS
    return np.where(last[:, None] >= 0, np.take_along_axis(counts, place, axis=1), 0.0)


class TimingTask(Task):
    """Each of the 24 hours is a question, positive for the one in which the session begins."""

    name: ClassVar[str] = "timing"
    contenders: ClassVar[Mapping[str, Contender]] = {
        "weights": Served("the profile's share of sessions by hour", _profile),
        "constant": Histogram("everyone's sessions until then, by hour", _everyones),
        "rule": Histogram("as far from the last session as sessions were until then", _around_last),
        "own": Histogram("the learner's own sessions until then, by hour", _own),
        "uniform": Histogram("every hour alike", lambda queries, _hour: np.zeros((len(queries), HOURS))),
    }

    def __init__(self, queries: Queries) -> None:
        super().__init__(ASKS, queries)
        self.hour = np.zeros(len(queries), np.int64)

    @classmethod
    def over(cls, events: Events, _options: Options) -> TimingTask:
        """Every session but a learner's first."""
        user, at, end = activity(events)
        reached = _reached(user, end)
        begins = np.zeros(len(user), bool)
        begins[1:] = (user[1:] == user[:-1]) & (at[1:] - reached[:-1] > APART)
        which = np.flatnonzero(begins)
        which = which[np.lexsort((user[which], at[which]))]
        many = len(which)
        nothing = np.full(many, -1)
        queries = Queries(
            user=user[which],
            at=at[which],
            turn=turns(events, at[which]),
            label=np.ones(many, bool),
            settled=end[which],
            row=nothing,
            skill=nothing,
            stratum=np.zeros(many, np.int64),
            group=user[which],
        )
        early = first_answers(queries.user)
        queries.slices = {"first ten sessions of a learner": early, "later sessions": ~early}
        return cls(queries)

    def scene(self, state: State, which: Ints) -> Scene:
        """The learners before the sessions."""
        rows = state.learners.rows[state.owners(self.queries.user[which])]
        at = self.queries.at[which]
        learners = group(rows, np.maximum(rows["newest"], at), state.catalogue)
        local = at + learners.zones.offsets(at)
        self.hour[which] = local // HOUR % HOURS
        return Scene(learners, local)


def _reached(user: Ints, end: Ints) -> Ints:
    """Latest end so far of each learner's activity ``(n,)``; rows are ordered by learner."""
    _, who = np.unique(user, return_inverse=True)
    base = who.astype(np.int64) << 44
    reached: Ints = np.maximum.accumulate(base + end) - base
    return reached

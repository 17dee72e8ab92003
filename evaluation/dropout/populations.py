"""Simulates populations of learners, from those that most leave to those that few leave.

The shipped coefficients know of silence only what is assumed here: learners differ in how often they study
and in how likely each day of study is their last (both by population and within one); some fade before they
stop, some take breaks; learners who leave early study less and score a little lower. Nothing is assumed of
mood. Beta-distributed leaving and gamma-distributed gaps are those of the "buy till you die" models of
customers (Fader, Hardie and Lee 2005). The ranges were chosen by hand, wide, with results on the files of
docs/accuracy.md in view; none was fitted to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY
from lyo.models.events.decode import Columns, Kind
from lyo.models.state.learner import empty_learners, fold_completions, fold_sessions

__all__ = ["Moment", "moments"]

LEARNERS, DAYS = 300, 150
LAST_ASKED = 120
FIRST_DAY = 16_000
NOON, MINUTE = DAY // 2, 60_000
NEVER = 999

Rng = np.random.Generator
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class Moment:
    """The learners of a population who had begun by a moment: LEARNER rows ``(n,)`` and instants ``(n,)``.

    ``following`` are whole days ``(n,)`` until the next activity, `NEVER` if there is none.
    """

    rows: NDArray[np.void]
    as_of: Ints
    following: Ints


@dataclass(slots=True)
class _Population:
    """What ``n`` learners do on ``d`` days ``(n, d)``."""

    active: Bools
    minutes: Ints
    completions: Ints
    scores: Floats
    has_sessions: bool


def moments(populations: int, seed: int, each: int = 4) -> Iterator[Moment]:
    """Simulate populations, and yield `each` moments of every one."""
    rng = np.random.default_rng(seed)
    for _ in range(populations):
        people = _population(rng)
        for day in sorted(rng.choice(np.arange(2, LAST_ASKED), each, replace=False).tolist()):
            began = people.active[:, :day].any(axis=1)
            later = people.active[began, day:]
            following = np.where(later.any(axis=1), later.argmax(axis=1), NEVER)
            rows = _folded(people, day)[began]
            yield Moment(rows, np.full(len(rows), (FIRST_DAY + day) * DAY), following)


def _between(rng: Rng, low: float, high: float) -> float:
    """A number between two, its logarithm uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _population(rng: Rng) -> _Population:
    leaving, precision = _between(rng, 0.04, 0.7), _between(rng, 0.5, 8.0)
    leave = np.clip(rng.beta(leaving * precision, (1.0 - leaving) * precision, LEARNERS), 1e-4, 0.98)
    flight = np.log(leave / (1.0 - leave))
    flight = (flight - flight.mean()) / (flight.std() + 1e-9)
    active, left = _days(rng, leave)
    after = np.arange(DAYS) >= left[:, None]
    shape = (LEARNERS, DAYS)
    own = rng.normal(0.0, 0.5, LEARNERS)[:, None]
    amount = np.log(_between(rng, 8.0, 30.0)) - rng.uniform(0.0, 0.6) * flight[:, None] + own
    amount = amount + rng.normal(0.0, 0.7, shape) - rng.uniform(0.0, 0.7) * after
    minutes = np.clip(np.rint(np.exp(amount)), 1, 600).astype(np.int64)
    kind = rng.random()  # of events: completions alone, both, sessions alone
    pace = _between(rng, 5.0, 20.0)
    least = 1 if kind < 0.2 else 0
    completions = (
        np.maximum(rng.poisson(minutes / pace), least) * active if kind < 0.7 else np.zeros(shape, np.int64)
    )
    slope, own = rng.uniform(0.05, 0.25), rng.normal(0.0, 0.05, LEARNERS)
    level = (0.72 - slope * flight + own)[:, None] - rng.uniform(0.0, 0.2) * after
    scores = np.clip(level + rng.normal(0.0, 0.1, shape), 0.0, 1.0)
    return _Population(active, minutes, completions, scores, kind >= 0.2)


def _days(rng: Rng, leave: Floats) -> tuple[Bools, Ints]:
    """Active days ``(n, d)``, and the day on which each begins to leave, `DAYS` for who does not."""
    rate = np.clip(_between(rng, 0.08, 0.9) * np.exp(rng.normal(0.0, 0.5, LEARNERS)), 0.02, 0.97)
    weekend, first_weekday = rng.uniform(0.3, 1.3), int(rng.integers(7))
    fades = rng.random(LEARNERS) < rng.uniform(0.1, 0.7)
    fading = np.where(fades, rng.uniform(3.0, 35.0, LEARNERS), 1e-9)  # days until nothing is left
    breaks = rng.uniform(0.0, 0.01)
    joined = rng.integers(0, 30, LEARNERS)
    active = np.zeros((LEARNERS, DAYS), bool)
    left, away = np.full(LEARNERS, DAYS), np.zeros(LEARNERS, np.int64)
    pace = rng.gamma(2.0, 0.5, LEARNERS)  # of the present gap
    for day in range(DAYS):
        chance = rate * pace * (weekend if (day + first_weekday) % 7 >= 5 else 1.0)
        chance = chance * np.clip(1.0 - np.maximum(day - left, 0) / fading, 0.0, 1.0)
        chance = np.where((day < away) | (day <= joined), 0.0, np.minimum(chance, 0.98))
        today = (rng.random(LEARNERS) < chance) | (day == joined)
        active[:, day] = today
        pace = np.where(today, rng.gamma(2.0, 0.5, LEARNERS), pace)
        left = np.where(today & (left == DAYS) & (rng.random(LEARNERS) < leave), day, left)
        away = np.where(rng.random(LEARNERS) < breaks, day + rng.integers(10, 40, LEARNERS), away)
    return active, left


def _folded(people: _Population, until: int) -> NDArray[np.void]:
    """LEARNER rows of everyone after all days before ``until``."""
    rows = empty_learners(np.arange(1, LEARNERS + 1))
    who, day = np.nonzero(people.active[:, :until])
    at = (FIRST_DAY + day) * DAY + NOON
    everything = np.ones(len(who), bool)
    if people.has_sessions:
        sessions = _columns(Kind.SESSION, who, at)
        sessions.end = at + people.minutes[who, day] * MINUTE
        fold_sessions(rows, who, sessions, everything)
    times = np.repeat(np.arange(len(who)), people.completions[who, day])
    if len(times):
        completions = _columns(Kind.LESSON_COMPLETION, who[times], at[times] + MINUTE)
        completions.score = np.rint(people.scores[who, day][times] * 10_000).astype(np.int16)
        completions.struggled = np.full(len(times), -1, np.int8)
        fold_completions(rows, who[times], completions, np.ones(len(times), bool))
    return rows


def _columns(kind: Kind, who: Ints, at: Ints) -> Columns:
    many = len(who)
    index = np.arange(many)
    return Columns(
        kind, index.astype(np.int32), who + 1, np.zeros(many, np.int64), at, index.astype(np.uint64), []
    )

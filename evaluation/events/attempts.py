"""Attempts at skills, from the events alone, with what came before and after each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.events.stream import Events
from lyo.models.events.decode import Kind

__all__ = ["Attempts", "attempts"]

RECENT = 10

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(slots=True)
class Attempts:
    """``k`` attempts, one for each skill of each completion, in the order of time.

    ``row`` is the completion, ``skill`` a number of the skill in ``names``. ``before`` counts the learner's
    earlier attempts at the skill and ``scored`` those with a score; ``last`` is the score of the newest of
    these and ``recent`` the mean of up to ten, NaN where there is none. ``gap`` is the time since the last
    attempt in ms, -1 for a first one.
    """

    names: list[str]
    row: Ints
    skill: Ints
    user: Ints
    at: Ints
    turn: Ints
    score: Floats
    before: Ints
    scored: Ints
    last: Floats
    recent: Floats
    gap: Ints
    chain: Ints
    """Number of the learner's skill, the same for all attempts at it."""


def attempts(events: Events) -> Attempts:
    """Attempts of a stream."""
    done = events.completions
    assert done.skill_of is not None
    assert done.skills is not None
    assert done.score is not None
    numbers: dict[str, int] = {}
    skill = np.fromiter(
        (numbers.setdefault(name, len(numbers)) for name in done.skills), np.int64, len(done.skills)
    )
    row = done.skill_of.astype(np.int64)
    user, at = done.user[row], done.at[row]
    score = np.where(done.score[row] < 0, np.nan, done.score[row] / 10_000)
    _, who = np.unique(user, return_inverse=True)
    _, chain = np.unique(who * max(len(numbers), 1) + skill, return_inverse=True)
    order = np.argsort(chain, kind="stable")
    begin = _begins(chain[order])
    place = np.arange(len(order))
    known = ~np.isnan(score[order])
    total = np.r_[0, np.cumsum(known)]
    scored_before = total[:-1] - total[begin]
    # Place of each scored attempt among the scored ones, to look up the newest ten.
    scores = np.r_[0.0, np.cumsum(score[order][known])]
    until = total[:-1]
    since = np.maximum(until - RECENT, total[begin])
    few = np.maximum(until - since, 1)
    recent = np.where(until > since, (scores[until] - scores[since]) / few, np.nan)
    values = np.r_[np.nan, score[order][known]]
    last = np.where(scored_before > 0, values[until], np.nan)
    gap = np.where(place > begin, at[order] - np.r_[0, at[order][:-1]], -1)
    back = np.empty(len(order), np.int64)
    back[order] = place
    return Attempts(
        list(numbers),
        row,
        skill,
        user,
        at,
        events.turn[Kind.LESSON_COMPLETION][row],
        score,
        (place - begin)[back],
        scored_before[back],
        last[back],
        recent[back],
        gap[back],
        chain,
    )


def _begins(groups: Ints) -> Ints:
    """Where the run of equal neighbours that each belongs to begins ``(n,)``."""
    starts = np.ones(len(groups), bool)
    starts[1:] = groups[1:] != groups[:-1]
    return np.maximum.accumulate(np.where(starts, np.arange(len(groups)), 0))

"""Slices: parts of the questions with figures of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.events.attempts import Attempts
from lyo.evaluation.events.stream import ACTIVITY, Events
from lyo.models.arrays.zones import DAY

__all__ = ["cold_content", "cold_skill", "first_answers", "gap_slices", "so_far"]

FIRST = 10
GAPS = ((0, 1), (1, 7), (7, 30), (30, 90), (90, None))

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def first_answers(user: Ints, most: int = FIRST) -> Bools:
    """Which of the answers ``(n,)``, in the order of time, are among their learner's first ten."""
    order = np.argsort(user, kind="stable")
    starts = np.ones(len(order), bool)
    starts[1:] = user[order][1:] != user[order][:-1]
    place = np.arange(len(order))
    result = np.zeros(len(order), bool)
    result[order] = place - np.maximum.accumulate(np.where(starts, place, 0)) < most
    return result


def cold_skill(tries: Attempts, rows: int) -> Bools:
    """Which completions ``(rows,)`` practise nothing that their learner has practised before."""
    warm = np.zeros(rows, bool)
    warm[tries.row[tries.before > 0]] = True
    return ~warm


def cold_content(events: Events) -> Bools:
    """Which completions are the first of their content by anybody."""
    seen: set[str] = set()
    found = np.zeros(len(events.completions.rows), bool)
    for one, row in enumerate(events.completions.rows):
        if row.content_id not in seen:
            seen.add(row.content_id)
            found[one] = True
    return found


def so_far(events: Events, user: Ints, turn: Ints, at: Ints) -> tuple[Ints, Ints]:
    """Time since the learner's last activity before each moment ``(n,)`` in ms, -1 without; and how many."""
    users = np.concatenate([events.columns[kind].user for kind in ACTIVITY])
    turns = np.concatenate([events.turn[kind] for kind in ACTIVITY])
    whens = np.concatenate([events.when[kind] for kind in ACTIVITY])
    if not len(users):
        return np.full(len(user), -1), np.zeros(len(user), np.int64)
    order = np.lexsort((turns, users))
    users, turns, whens = users[order], turns[order], whens[order]
    people = np.unique(users)
    span = np.int64(max(int(turns.max()), int(turn.max(initial=0))) + 2)
    keys = np.searchsorted(people, users) * span + turns
    who = np.searchsorted(people, user)
    place = np.searchsorted(keys, who * span + turn, side="left") - 1
    known = (place >= 0) & (who < len(people))
    known[known] = users[place[known]] == user[known]
    count = np.where(known, place + 1 - np.searchsorted(users, user), 0)
    return np.where(known, at - whens[np.maximum(place, 0)], -1), count


def gap_slices(gap: Ints) -> dict[str, Bools]:
    """Slices by the time since the last attempt ``(n,)`` in ms."""
    slices = {"gap over 30 days": gap > 30 * DAY}
    for low, high in GAPS:
        name = f"gap of {low} to {high} days" if high is not None else f"gap over {low} days"
        slices[name] = (gap >= low * DAY) & (gap < high * DAY if high is not None else True)
    return slices

"""Folds a stream and asks questions on the way, each before the event that it is about is folded.

Learners do not depend on each other, and the fold gives the same rows for any cut into batches. So the
stream is cut into rounds: in round k every learner's events up to the k-th moment at which something is
asked about that learner are folded in one batch, then all those questions are answered together. The
answers are those of one event at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.events.queries import Queries
from lyo.evaluation.events.stream import Events, reordered, sliced
from lyo.models.engine import Engine
from lyo.models.events.decode import Columns, Kind

__all__ = ["walk"]

PIECE = 4_096

Ints = NDArray[np.int64]


def walk(
    engine: Engine,
    events: Events,
    queries: Queries,
    on_done: Callable[[int, int], None] | None = None,
    *,
    to_the_end: bool = False,
) -> Iterator[Ints]:
    """Fold, and yield the indexes of questions to be answered from the engine's present state.

    Args:
        engine: that nothing was folded into.
        events: the stream.
        queries: what is asked, in the order of time.
        on_done: told how many questions were answered and how many there are.
        to_the_end: fold what comes after the last questions, too, when all are answered.
    """
    rounds, moments = _moments(queries)
    batches = [_by_round(events, kind, moments) for kind in events.columns if len(events.turn[kind])]
    order = np.argsort(rounds, kind="stable")
    bounds = np.searchsorted(rounds[order], np.arange(int(rounds.max(initial=-1)) + 2))
    for turn, (start, stop) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        folded = [sliced(columns, *marks[turn : turn + 2].tolist()) for columns, marks in batches]
        engine.fold([columns for columns in folded if len(columns.user)])
        for first in range(start, stop, PIECE):
            yield order[first : min(first + PIECE, stop)]
        if on_done is not None:
            on_done(stop, len(order))
    if to_the_end:
        engine.fold([rest for columns, marks in batches if len((rest := sliced(columns, *marks[-2:])).user)])


def _moments(queries: Queries) -> tuple[Ints, tuple[Ints, Ints, Ints]]:
    """Round ``(n,)`` of each question; and all moments by learner: learner, turn and round ``(m,)``."""
    order = np.lexsort((queries.turn, queries.user))
    user, turn = queries.user[order], queries.turn[order]
    fresh, begins = np.ones(len(order), bool), np.ones(len(order), bool)
    fresh[1:] = (user[1:] != user[:-1]) | (turn[1:] != turn[:-1])
    begins[1:] = user[1:] != user[:-1]
    moment = np.cumsum(fresh) - 1
    first = np.maximum.accumulate(np.where(begins, moment, 0))
    rounds = np.empty(len(order), np.int64)
    rounds[order] = moment - first
    return rounds, (user[fresh], turn[fresh], (moment - first)[fresh])


def _by_round(events: Events, kind: Kind, moments: tuple[Ints, Ints, Ints]) -> tuple[Columns, Ints]:
    """Events of one kind in the order of their rounds, and where each round begins and ends.

    After the last one stand those that come after their learner's last question.
    """
    user, turn, rounds = moments
    columns, mine = events.columns[kind], events.turn[kind]
    people = np.unique(user)
    span = np.int64(max(int(turn.max(initial=0)), int(mine.max(initial=0))) + 2)
    asked_at = np.searchsorted(people, user) * span + turn
    who = np.searchsorted(people, columns.user)
    known = who < len(people)
    known[known] = people[who[known]] == columns.user[known]
    # The next moment of the same learner that comes after the event: a question does not see its own turn.
    following = np.searchsorted(asked_at, who * span + mine, side="right")
    before_a_question = known & (following < len(asked_at))
    before_a_question[before_a_question] = (
        user[following[before_a_question]] == columns.user[before_a_question]
    )
    last = int(rounds.max(initial=-1)) + 1
    at = np.full(len(mine), last)
    at[before_a_question] = rounds[following[before_a_question]]
    order = np.argsort(at, kind="stable")
    return reordered(columns, order), np.searchsorted(at[order], np.arange(last + 2))

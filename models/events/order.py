"""The order of a batch's events, and where to cut it so that a request sees only events before it.

Events of one kind are in the order of their topic. Across kinds the order is that of ``Columns.turn``; events
without one come after those of the columns before them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lyo.models.events.decode import Columns, Kind

__all__ = ["cut", "merged"]

Ints = NDArray[np.int64]


def cut(batches: list[Columns]) -> list[list[Columns]]:
    """Parts of a batch, to be folded one after the other; nearly always the batch itself.

    In each part a learner's struggle requests come last. Learners without an event after a request are whole
    in the first part; later parts hold only the others.
    """
    askers_by_batch = [batch.user for batch in batches if _asks(batch)]
    if not askers_by_batch or len(askers_by_batch) == len(batches):
        return [batches]
    by_turn = sorted(zip(batches, _turns(batches), strict=True), key=lambda pair: _asks(pair[0]))
    batches, turns = [batch for batch, _ in by_turn], [turn for _, turn in by_turn]
    askers = np.unique(np.concatenate(askers_by_batch))
    mine = [np.flatnonzero(np.isin(batch.user, askers)) for batch in batches]
    users = np.concatenate([batch.user[which] for batch, which in zip(batches, mine, strict=True)])
    turn = np.concatenate([turns[number][which] for number, which in enumerate(mine)])
    asks = np.repeat(list(map(_asks, batches)), list(map(len, mine)))
    order = np.lexsort((turn, users))
    same = users[order][1:] == users[order][:-1]
    broken = same & asks[order][:-1] & ~asks[order][1:]
    if not broken.any():
        return [batches]
    breaks = np.concatenate([[0], np.cumsum(broken)])
    begins = np.concatenate([[True], ~same])
    parts = np.empty(len(order), np.int64)
    parts[order] = breaks - np.maximum.accumulate(np.where(begins, breaks, 0))
    return _parts(batches, mine, parts)


def _asks(batch: Columns) -> bool:
    return batch.kind is Kind.STRUGGLE_REQUEST


def _parts(batches: list[Columns], mine: list[Ints], parts: Ints) -> list[list[Columns]]:
    """The batch divided by ``parts``, the part number of each index in ``mine``, concatenated."""
    divided: list[list[Columns]] = [[] for _ in range(int(parts.max()) + 1)]
    start = 0
    for batch, which in zip(batches, mine, strict=True):
        part = np.zeros(len(batch.user), np.int64)
        part[which] = parts[start : start + len(which)]
        start += len(which)
        for number in np.unique(part).tolist():
            chosen = np.flatnonzero(part == number)
            divided[number].append(batch if len(chosen) == len(part) else batch.take(chosen))
    return divided


def _turns(batches: list[Columns]) -> list[Ints]:
    """The position of each event in one order over all columns."""
    turns, after = [], 0
    for batch in batches:
        turn = np.arange(after, after + len(batch.user)) if batch.turn is None else batch.turn
        turns.append(turn)
        after = max(after, int(turn.max(initial=-1)) + 1)
    return turns


def merged(stamps: Mapping[Kind, Sequence[int]]) -> dict[Kind, Ints]:
    """The turn of each record of several topics, each ordered by itself, from the records' times (ms).

    The next record is always the one at the head of its topic with the oldest time, as Kafka Streams chooses
    (of equal times the topic named first): so a record that is out of time in its topic moves no other.
    """
    if not stamps:
        return {}
    # A record waits for all before it in its topic, so the newest time up to it counts.
    reached = [np.maximum.accumulate(np.asarray(times, np.int64)) for times in stamps.values()]
    ranks = np.empty(sum(map(len, reached)), np.int64)
    ranks[np.argsort(np.concatenate(reached), kind="stable")] = np.arange(len(ranks))
    ends = np.cumsum(list(map(len, reached)))[:-1]
    return dict(zip(stamps, np.split(ranks, ends), strict=True))

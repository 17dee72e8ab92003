"""Recognising an event that was sent again: each learner's last 64 event ids of a topic.

Ids are remembered as 48-bit hashes in arrival order. Deciding a batch at once gives the same answer as
deciding event by event, so batches do not matter.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.runs import ranks
from lyo.models.arrays.zones import DAY
from lyo.models.events.decode import Kind
from lyo.models.state.learner import DAYS, RING, RING_KINDS, Rows

__all__ = ["far_behind", "late", "recognise"]

_LOW = np.uint64(0xFFFFFFFF)
_MOST, _FEWER = 1 << 31, RING << 24


def recognise(
    rows: Rows, who: NDArray[np.int64], ids: NDArray[np.uint64], kind: Kind, allowed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Say which events are new, and remember those, in place.

    Args:
        rows: LEARNER rows ``(n,)``.
        who: row of each event ``(m,)``, in arrival order.
        ids: 48-bit hash of each event's id ``(m,)``.
        kind: the events' kind, one of `RING_KINDS`.
        allowed: events ``(m,)`` that may be counted at all.

    Returns:
        True for each allowed event that is not among the learner's last 64 of this kind ``(m,)``.
    """
    ring = RING_KINDS.index(kind)
    fresh = allowed.copy()
    doubtful = np.unique(who[_suspects(rows, who, ids, ring, allowed)])
    if len(doubtful):
        mine = np.isin(who, doubtful)
        fresh[mine] = _one_by_one(rows, who[mine], ids[mine], ring, allowed[mine])
        mine = ~mine & allowed
        _remember(rows, who[mine], ids[mine], ring)
    else:
        _remember(rows, who[fresh], ids[fresh], ring)
    return fresh


def far_behind(
    rows: Rows,
    who: NDArray[np.int64],
    at: NDArray[np.int64],
    newest: NDArray[np.int64],
    kind: Kind,
    counted: NDArray[np.bool_],
) -> int:
    """How many counted events ``(m,)`` might have been counted before, without anyone being able to tell.

    They are more than a day older than their learner's newest event before this batch (``newest``, ms), and
    the ring of ids is full: an event sent again from further back than it reaches looks like a late one.
    """
    behind = counted & (at < newest - DAY)
    if not behind.any():
        return 0
    full = rows["rings"]["count"][who[behind], RING_KINDS.index(kind)] > RING
    return int(full.sum())


def late(
    at: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    who: NDArray[np.int64],
    counted: NDArray[np.bool_],
) -> int:
    """How many counted events ``(m,)`` came when their learner's newest was 90 days ahead: no day holds them.

    ``before`` and ``after (m,)`` are the learners' newest events without and with this batch, ms.
    """
    if not (counted & (at // DAY <= after // DAY - DAYS)).any():
        return 0
    order = np.argsort(who, kind="stable")
    base = who[order] << 32
    reached = np.maximum(np.where(counted, at, 0), before)[order] // DAY
    reached = np.maximum.accumulate(base + reached) - base
    return int((counted[order] & (at[order] // DAY <= reached - DAYS)).sum())


def _suspects(
    rows: Rows, who: NDArray[np.int64], ids: NDArray[np.uint64], ring: int, allowed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Events that equal one in the ring or an earlier one of the batch; all others are surely new."""
    low = (ids & _LOW).astype(np.uint32)
    held = rows["rings"]["low"][:, ring][who] == low[:, None]
    suspects = held.any(axis=1)
    order = np.lexsort((ids, who))
    same = (who[order][1:] == who[order][:-1]) & (ids[order][1:] == ids[order][:-1])
    suspects[order[1:][same]] = True
    return suspects & allowed


def _one_by_one(
    rows: Rows, who: NDArray[np.int64], ids: NDArray[np.uint64], ring: int, allowed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    fresh = np.zeros(len(who), bool)
    rings: dict[int, deque[int]] = {one: _held(rows[one], ring) for one in np.unique(who).tolist()}
    for position, (one, number, usable) in enumerate(
        zip(who.tolist(), ids.tolist(), allowed.tolist(), strict=True)
    ):
        if usable and number not in rings[one]:
            rings[one].append(number)
            fresh[position] = True
    _remember(rows, who[fresh], ids[fresh], ring)
    return fresh


def _held(row: np.void, ring: int) -> deque[int]:
    """The ids of one ring, oldest first."""
    count = int(row["rings"]["count"][ring])
    places = np.arange(max(0, count - RING), count) % RING
    low = row["rings"]["low"][ring][places].astype(np.uint64)
    high = row["rings"]["high"][ring][places].astype(np.uint64)
    return deque((low | high << np.uint64(32)).tolist(), maxlen=RING)


def _remember(rows: Rows, who: NDArray[np.int64], ids: NDArray[np.uint64], ring: int) -> None:
    if not len(who):
        return
    order = np.argsort(who, kind="stable")
    who, ids = who[order], ids[order]
    rank = ranks(who)
    rings = rows["rings"]
    ones, counts = np.unique(who, return_counts=True)
    place = (rings["count"][who, ring].astype(np.int64) + rank) % RING
    newest = rank >= np.repeat(counts, counts) - RING
    rings["low"][who[newest], ring, place[newest]] = (ids[newest] & _LOW).astype(np.uint32)
    rings["high"][who[newest], ring, place[newest]] = (ids[newest] >> np.uint64(32)).astype(np.uint16)
    total = rings["count"][ones, ring].astype(np.int64) + counts
    # Only the next place and whether the ring is full follow from it, so a multiple of the ring may go.
    rings["count"][ones, ring] = np.where(total > _MOST, total - _FEWER, total)

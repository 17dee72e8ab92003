"""Deduplication: recognises an event that was sent again by each learner's last 64 event ids of a topic.

Ids are stored as 48-bit hashes in arrival order. A batch gives the same result as its events one by one, so
batching makes no difference.
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
    """Which events are new; their ids are stored in the rows, in place.

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
    repeating = np.unique(who[_suspects(rows, who, ids, ring, allowed)])
    if len(repeating):
        slow = np.isin(who, repeating)
        fresh[slow] = _one_by_one(rows, who[slow], ids[slow], ring, allowed[slow])
        fast = ~slow & allowed
        _remember(rows, who[fast], ids[fast], ring)
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
    """Number of counted events ``(m,)`` that may be undetected duplicates.

    They are more than a day older than their learner's newest event before this batch (``newest (m,)``, ms),
    and the learner's ring of ids is full: a duplicate from before its oldest id looks like a late event.
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
    """Number of counted events ``(m,)`` 90 days or more older than their learner's newest: no day holds them.

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
    """Events ``(m,)`` that may equal one in the ring or an earlier one of the batch; all others are new."""
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
    rings: dict[int, deque[int]] = {row: _ids_of(rows[row], ring) for row in np.unique(who).tolist()}
    for position, (row, number, usable) in enumerate(
        zip(who.tolist(), ids.tolist(), allowed.tolist(), strict=True)
    ):
        if usable and number not in rings[row]:
            rings[row].append(number)
            fresh[position] = True
    _remember(rows, who[fresh], ids[fresh], ring)
    return fresh


def _ids_of(row: np.void, ring: int) -> deque[int]:
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
    distinct, counts = np.unique(who, return_counts=True)
    place = (rings["count"][who, ring].astype(np.int64) + rank) % RING
    newest = rank >= np.repeat(counts, counts) - RING
    rings["low"][who[newest], ring, place[newest]] = (ids[newest] & _LOW).astype(np.uint32)
    rings["high"][who[newest], ring, place[newest]] = (ids[newest] >> np.uint64(32)).astype(np.uint16)
    total = rings["count"][distinct, ring].astype(np.int64) + counts
    # Only the next place and whether the ring is full follow from it, so a multiple of the ring may go.
    rings["count"][distinct, ring] = np.where(total > _MOST, total - _FEWER, total)

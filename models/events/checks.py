"""Checks of a decoded record beyond its type: key, partition, times, zone."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, known
from lyo.models.events.identity import partitions
from lyo.models.events.refusals import shown

FIRST = 0  # 1970-01-01
LAST = 7_258_118_400_000  # 2200-01-01, exclusive
PARTITION = "partition"
"""The field of a dead letter about a record in another partition than its key's."""
TIMESTAMP = "timestamp"
"""The field of a dead letter about a record without one."""
NO_TIMESTAMP = (
    "timestamp: the record has none: set the topic's message.timestamp.type, or let the client set it"
)


class Placed(NamedTuple):
    """Which partitions records are in: of each ``(n,)`` or of all, and how many partitions the topic has."""

    partitions: Sequence[int] | int
    of: int


def check_keys(
    keys: Sequence[bytes | None],
    index: NDArray[np.int32],
    user: NDArray[np.int64],
    bad: dict[int, tuple[str, str]],
) -> None:
    """Refuse records whose key is not their user's id; adds to ``bad`` by place among the rows ``(n,)``."""
    expected = [b"%d" % number for number in user.tolist()]
    if len(expected) == len(keys) and expected == keys:
        return
    for row, position in enumerate(index.tolist()):
        key = keys[position]
        if key is None:
            bad[row] = "user_id: the record has no key", "user_id"
        elif key != expected[row]:
            bad[row] = f"user_id: the key {shown(key)} does not match", "user_id"


def check_partitions(
    placed: Placed, index: NDArray[np.int32], user: NDArray[np.int64], bad: dict[int, tuple[str, str]]
) -> None:
    """Refuse records that are not in the partition that Kafka's default partitioner gives their key."""
    users, which = np.unique(user, return_inverse=True)
    right = partitions([b"%d" % number for number in users.tolist()], placed.of)[which]
    actual = (
        np.full(len(index), placed.partitions)
        if isinstance(placed.partitions, int)
        else np.asarray(placed.partitions)[index]
    )
    for row in np.flatnonzero(right != actual).tolist():
        reason = (
            f"{PARTITION}: the key belongs to partition {right[row]} of {placed.of}, the record is in "
            f"{actual[row]}: set partitioner=murmur2_random in the client"
        )
        bad.setdefault(row, (reason, PARTITION))


def times(instants: Any, count: int) -> NDArray[np.int64]:
    """Datetimes as ms since the epoch ``(count,)``."""
    seconds = np.fromiter(map(datetime.timestamp, instants), np.float64, count)
    return np.rint(seconds * 1000).astype(np.int64)


def check_times(
    field: str, at: NDArray[np.int64], stamps: NDArray[np.int64], bad: dict[int, tuple[str, str]]
) -> None:
    """Refuse times ``(n,)`` out of the allowed years, or more than a day after their record's own."""
    for row in np.flatnonzero((at < FIRST) | (at >= LAST)).tolist():
        bad.setdefault(row, (f"{field}: the year is outside 1970 to 2199", field))
    for row in np.flatnonzero((at > stamps + DAY) & (stamps >= 0)).tolist():
        bad.setdefault(row, (f"{field}: more than a day after the record's own time", field))


def session_ends(
    rows: list[Any], at: NDArray[np.int64], stamps: NDArray[np.int64], bad: dict[int, tuple[str, str]]
) -> NDArray[np.int64]:
    """Return when each session ended, ms, -1 for an open one; (n,)."""
    closed = np.array([row.ended_at is not None for row in rows], np.bool_)
    end = np.full(len(rows), -1, np.int64)
    end[closed] = times((row.ended_at for row in rows if row.ended_at is not None), int(closed.sum()))
    # For an open session its start is checked again.
    check_times("ended_at", np.where(closed, end, at), stamps, bad)
    for row in np.flatnonzero(closed & (end < at)).tolist():
        bad.setdefault(row, ("ended_at: before started_at", "ended_at"))
    for row in np.flatnonzero(closed & (end - at > DAY)).tolist():
        bad.setdefault(row, ("ended_at: more than 24 hours after started_at", "ended_at"))
    return end


def check_zones(rows: list[Any], bad: dict[int, tuple[str, str]]) -> None:
    """Refuse preferences with a zone that the database does not have."""
    for number, row in enumerate(rows):
        if isinstance(row.timezone, str) and not known(row.timezone):
            bad.setdefault(number, ("timezone: not an IANA time zone", "timezone"))


def check_consents(
    rows: list[Any], at: NDArray[np.int64], stamps: NDArray[np.int64], bad: dict[int, tuple[str, str]]
) -> None:
    """Refuse erasures whose time of consent is not allowed."""
    consents = [row.consented_at for row in rows]
    times_checked = at.copy()
    with_consent = np.array([consent is not None for consent in consents], np.bool_)
    times_checked[with_consent] = times(
        (consent for consent in consents if consent is not None), int(with_consent.sum())
    )
    check_times("consented_at", times_checked, stamps, bad)

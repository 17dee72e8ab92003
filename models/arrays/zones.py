"""Local time by arrays: offsets of a time zone at many instants, local days and daily boundaries."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays import tzif
from lyo.models.arrays.index import mix64

__all__ = ["DAY", "HOUR", "Zones", "boundary", "known", "next_boundary", "zone"]

HOUR = 3_600_000
DAY = 24 * HOUR
_SPREAD = np.uint64(HOUR)


class Zone:
    """One IANA time zone as the instants at which its offset changes (all times in milliseconds, UTC).

    Raises:
        ValueError: the name is not an IANA time zone.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        starts, offsets = tzif.changes(name)
        self._starts = starts * 1000
        self._offsets = offsets * 1000

    def offsets(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Offset from UTC in milliseconds at each instant ``(n,)``."""
        return self._offsets[self._starts.searchsorted(at, side="right")]


@lru_cache(maxsize=700)
def zone(name: str) -> Zone:
    """The zone of an IANA name.

    Raises:
        ValueError: the name is not an IANA time zone.
    """
    return Zone(name)


def known(name: str) -> bool:
    """Whether the time zone database has a zone."""
    return name in tzif.names()


class Zones:
    """The zones of ``n`` learners: a name each, asked for in one call per distinct name.

    Args:
        names: IANA names ``(n,)``.
        sources: who named each one ``(n,)``; left out where nobody asks.
    """

    def __init__(self, names: list[str], sources: list[str] | None = None) -> None:
        index: dict[str, int] = {}
        self.names = names
        self.sources = sources or []
        self._of = np.fromiter((index.setdefault(name, len(index)) for name in names), np.int32, len(names))
        self._zones = [zone(name) for name in index]

    def offsets(self, at: NDArray[np.int64], who: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Offsets in ms at instants ``(m,)`` of the learners ``who (m,)``; of all, in order, if None."""
        of = self._of if who is None else self._of[who]
        if len(self._zones) == 1:
            return self._zones[0].offsets(at)
        result = np.empty(len(at), np.int64)
        for number, zone_ in enumerate(self._zones):
            mine = of == number
            result[mine] = zone_.offsets(at[mine])
        return result

    def local_days(self, at: NDArray[np.int64], who: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Local day numbers (days since 1970-01-01 of the local calendar) at instants ``(m,)``."""
        return (at + self.offsets(at, who)) // DAY

    def instants(self, local: NDArray[np.int64]) -> NDArray[np.int64]:
        """Instants of local wall-clock times ``(n,)`` (milliseconds since the local 1970-01-01).

        A time that a change to daylight saving skips becomes the same distance past the change.
        """
        before = local - self.offsets(local - DAY)
        after = local - self.offsets(local + DAY)
        kept = (before + self.offsets(before) == local) | (after + self.offsets(after) != local)
        return np.where(kept, before, after)


def _spread(users: NDArray[np.int64]) -> NDArray[np.int64]:
    return (mix64(users.astype(np.uint64)) % _SPREAD).astype(np.int64)


def boundary(users: NDArray[np.int64], zones: Zones, limit: NDArray[np.int64]) -> NDArray[np.int64]:
    """Latest daily boundary of each learner at or before ``limit (n,)``, in milliseconds.

    A learner's day ends at local midnight and, so that not all are due at once, up to an hour later
    by a hash of the user id.
    """
    spread = _spread(users)
    days = zones.local_days(limit - spread)
    latest = zones.instants(days * DAY) + spread
    earlier = zones.instants((days - 1) * DAY) + spread
    return np.where(latest <= limit, latest, earlier)


def next_boundary(users: NDArray[np.int64], zones: Zones, after: NDArray[np.int64]) -> NDArray[np.int64]:
    """First daily boundary of each learner later than ``after (n,)``, in milliseconds."""
    spread = _spread(users)
    days = zones.local_days(after - spread)
    next_one = zones.instants(days * DAY) + spread
    for step in (1, 2):
        next_one = np.where(next_one > after, next_one, zones.instants((days + step) * DAY) + spread)
    return next_one

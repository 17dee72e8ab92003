"""The next times at which a learner may be reached, under all limits at once, and why others were refused.

One pure function, asked by whoever places something. Candidates are the full hours of the learner's local
days: an hour that the change to daylight saving skips is none, of one that the change back doubles only the
first is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas.timing import quiet
from lyo.models.interventions.cadence import ANY_HOUR

__all__ = ["Limit", "Limits", "Refused", "Slots", "next_slots", "runs", "violated"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Limit(StrEnum):
    """Why a time was refused, in the order in which limits are asked."""

    QUIET_HOURS = "quiet_hours"
    DAILY_CAP = "daily_cap"
    COOL_DOWN = "cool_down"
    OUTSIDE_HOURS = "outside_hours"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a slot must satisfy.

    Attributes:
        zone: IANA name; all days and hours below are this zone's.
        quiet_from: minute of the local day at which quiet hours begin, -1 = none; may wrap midnight.
        quiet_to: the minute at which they end.
        most_per_day: most decisions on one local day; 0 means none.
        hours: local hours that are recommended, [0, 23].
        placed: instants (ms) of the decisions that count toward the daily cap.
        cooling: instants (ms), each with the local days that must lie between it and a slot.
    """

    zone: str
    quiet_from: int = -1
    quiet_to: int = -1
    most_per_day: int = 3
    hours: frozenset[int] = ANY_HOUR
    placed: tuple[int, ...] = ()
    cooling: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A candidate (ms) that is not a slot, and the first limit that it violates."""

    at: int
    limit: Limit


@dataclass(frozen=True, slots=True)
class Slots:
    """The answer: slots (ms) in order, the candidates refused before the last one, and why there are no more.

    ``ended`` is None if all the slots asked for were found; else DAILY_CAP where the cap is 0, so that none
    will ever be, and "horizon" where the days given hold no more.
    """

    found: list[int]
    refused: list[Refused]
    ended: str | None


def next_slots(start: int, days: int, limits: Limits, most: int = 1) -> Slots:
    """The first ``most`` admissible full hours from ``start`` (ms) on, within so many local days.

    Each is admissible for one decision beside those placed already; they are alternatives to each other.

    Raises:
        ValueError: the zone is unknown.
    """
    at, local = _candidates(start, days, limits.zone)
    reasons = _reasons(local, limits)
    free = np.flatnonzero(reasons < 0)[:most]
    ended = None
    if len(free) < most:
        ended = str(Limit.DAILY_CAP) if limits.most_per_day == 0 else "horizon"
    until = int(free[-1]) if ended is None and most > 0 else len(at)
    order = tuple(Limit)
    refused = [
        Refused(moment, order[reason])
        for moment, reason in zip(at[:until].tolist(), reasons[:until].tolist(), strict=True)
        if reason >= 0
    ]
    return Slots(at[free].tolist(), refused, ended)


def violated(at: int, limits: Limits) -> Limit | None:
    """The first limit that an instant (ms) violates, None if it is admissible.

    Raises:
        ValueError: the zone is unknown.
    """
    local = np.array([at]) + Zones([limits.zone]).offsets(np.array([at]))
    reason = int(_reasons(local, limits)[0])
    return None if reason < 0 else tuple(Limit)[reason]


def runs(refused: list[Refused]) -> list[tuple[int, int, Limit]]:
    """Candidates refused one after another for the same reason as (first, last, limit)."""
    joined: list[tuple[int, int, Limit]] = []
    for one in refused:
        if joined and joined[-1][2] is one.limit:
            joined[-1] = (joined[-1][0], one.at, one.limit)
        else:
            joined.append((one.at, one.at, one.limit))
    return joined


def _candidates(start: int, days: int, name: str) -> tuple[Ints, Ints]:
    """Instants of the full local hours from ``start`` on, ascending, and their local times; both in ms."""
    zones = Zones([name])
    first = (start + int(zones.offsets(np.array([start]))[0])) // DAY * DAY
    local = first + np.arange(max(days, 0) * 24, dtype=np.int64) * HOUR
    at = zones.instants(local)
    exists = at + zones.offsets(at) == local
    kept = exists & (at >= start)
    return at[kept], local[kept]


def _reasons(local: Ints, limits: Limits) -> Ints:
    """The first limit, by its place in `Limit`, that each local time violates; -1 for none."""
    violated = (
        quiet(local % DAY // 60_000, np.array([limits.quiet_from]), np.array([limits.quiet_to])),
        _full(local // DAY, limits),
        _cooling(local // DAY, limits),
        ~np.isin(local // HOUR % 24, np.fromiter(limits.hours, np.int64, len(limits.hours))),
    )
    reasons = np.full(len(local), -1, np.int64)
    for place in range(len(violated) - 1, -1, -1):
        reasons[violated[place]] = place
    return reasons


def _full(day: Ints, limits: Limits) -> Bools:
    """Which local days hold as many decisions as are allowed."""
    if not limits.placed:
        return np.full(len(day), limits.most_per_day <= 0)
    taken = Zones([limits.zone] * len(limits.placed)).local_days(np.array(limits.placed, np.int64))
    return (day[:, None] == taken).sum(axis=1) >= limits.most_per_day


def _cooling(day: Ints, limits: Limits) -> Bools:
    """Which local days are too near to a decision that must lie apart."""
    if not limits.cooling:
        return np.zeros(len(day), bool)
    moments, apart = np.array(limits.cooling, np.int64).T
    near = Zones([limits.zone] * len(moments)).local_days(moments)
    return (np.abs(day[:, None] - near) < apart).any(axis=1)

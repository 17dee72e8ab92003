"""The next times at which a learner may be contacted under all limits, and why other times are refused.

Candidates are the full hours of the learner's local days. Hours skipped by a daylight-saving change are no
candidates; of a repeated hour only the first is.
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
    """Why a time was refused, in the order in which limits are checked."""

    QUIET_HOURS = "quiet_hours"
    DAILY_CAP = "daily_cap"
    COOL_DOWN = "cool_down"
    OUTSIDE_HOURS = "outside_hours"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that a slot must satisfy.

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
    """Slots (ms) in order, the candidates refused before the last one, and why there are no more.

    ``ended`` is None if as many slots as wanted were found, DAILY_CAP if the cap is 0, so that there is never
    a slot, and "horizon" if the given days have no more.
    """

    instants: list[int]
    refused: list[Refused]
    ended: str | None


def next_slots(start: int, days: int, limits: Limits, most: int = 1) -> Slots:
    """The first ``most`` admissible full hours from ``start`` (ms) on, within so many local days.

    Each is admissible for one further decision; the slots are alternatives.

    Raises:
        ValueError: the zone is unknown.
    """
    at, local = _candidates(start, days, limits.zone)
    limits_violated = _first_violated(local, limits)
    free = np.flatnonzero(limits_violated < 0)[:most]
    ended = None
    if len(free) < most:
        ended = str(Limit.DAILY_CAP) if limits.most_per_day == 0 else "horizon"
    until = int(free[-1]) if ended is None and most > 0 else len(at)
    order = tuple(Limit)
    refused = [
        Refused(instant, order[violated_limit])
        for instant, violated_limit in zip(at[:until].tolist(), limits_violated[:until].tolist(), strict=True)
        if violated_limit >= 0
    ]
    return Slots(at[free].tolist(), refused, ended)


def violated(at: int, limits: Limits) -> Limit | None:
    """The first limit that an instant (ms) violates, None if it is admissible.

    Raises:
        ValueError: the zone is unknown.
    """
    local = np.array([at]) + Zones([limits.zone]).offsets(np.array([at]))
    place = int(_first_violated(local, limits)[0])
    return None if place < 0 else tuple(Limit)[place]


def runs(refused: list[Refused]) -> list[tuple[int, int, Limit]]:
    """Candidates refused one after another for the same reason as (first, last, limit)."""
    joined: list[tuple[int, int, Limit]] = []
    for candidate in refused:
        if joined and joined[-1][2] is candidate.limit:
            joined[-1] = (joined[-1][0], candidate.at, candidate.limit)
        else:
            joined.append((candidate.at, candidate.at, candidate.limit))
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


def _first_violated(local: Ints, limits: Limits) -> Ints:
    """The first limit that each local time ``(n,)`` (ms) violates, as an index into `Limit`; -1: none."""
    violated = (
        quiet(local % DAY // 60_000, np.array([limits.quiet_from]), np.array([limits.quiet_to])),
        _full(local // DAY, limits),
        _cooling(local // DAY, limits),
        ~np.isin(local // HOUR % 24, np.fromiter(limits.hours, np.int64, len(limits.hours))),
    )
    first_violated = np.full(len(local), -1, np.int64)
    for place in range(len(violated) - 1, -1, -1):
        first_violated[violated[place]] = place
    return first_violated


def _full(day: Ints, limits: Limits) -> Bools:
    """Which local days ``(n,)`` have reached the daily cap."""
    if not limits.placed:
        return np.full(len(day), limits.most_per_day <= 0)
    taken = Zones([limits.zone] * len(limits.placed)).local_days(np.array(limits.placed, np.int64))
    return (day[:, None] == taken).sum(axis=1) >= limits.most_per_day


def _cooling(day: Ints, limits: Limits) -> Bools:
    """Which local days ``(n,)`` are within a cool-down."""
    if not limits.cooling:
        return np.zeros(len(day), bool)
    moments, apart = np.array(limits.cooling, np.int64).T
    near = Zones([limits.zone] * len(moments)).local_days(moments)
    return (np.abs(day[:, None] - near) < apart).any(axis=1)

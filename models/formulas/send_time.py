"""Is a moment a good time to reach a learner, why, and when would be the next one.

Good are the fewest hours of the local day in which half of the learner's sessions begin, but on weekdays that
the learner hardly studies on; with under ten sessions, people's hours in general fill in.

One learner at a time: asked by the API and by whoever delivers. Specification, "Optimal Timing".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths, round_contributions
from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas.timing import BANDS, TimingProfile, quiet, weekday

__all__ = ["AGAINST", "FACTORS", "GOOD_FROM", "PEOPLES", "Limits", "Moment", "check", "good_hours", "is_good"]

GOOD_FROM = 50
HORIZON_HOURS = 14 * 24
FACTORS = ("hour", "weekday", "studied_today")
_MARGIN, _STUDIED = 0.2, -0.3

AGAINST = {
    "hour": "This is outside your usual study hours",
    "weekday": "You rarely study on this day",
    "studied_today": "You have already studied today",
}
"""What is said of a bad time, by what speaks most against it."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NIGHT, _DAY = [4, 2, 1, 1, 1, 2, 5], [10, 12, 12, 12, 11, 10, 10, 12, 12]
_EVENING = [13, 14, 15, 16, 16, 15, 11, 7]
_WAKING = np.array([*_NIGHT, *_DAY, *_EVENING], np.float64)
PEOPLES: Floats = _WAKING / _WAKING.sum()
"""Shares of study by local hour ``(24,)`` where a learner's own are unknown: assumed, evenings most."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What forbids a moment: quiet hours in minutes of the local day (-1 = none), and the daily cap."""

    quiet_from: int = -1
    quiet_to: int = -1
    most_per_day: int = -1
    sent_today: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """The answer: ``score`` and ``contributions`` in hundredths around 50, ``alternative`` in ms."""

    is_good: bool
    reasoning: str
    score: int
    contributions: tuple[int, ...]
    confidence: int
    alternative: int | None


def check(
    profile: TimingProfile, one: int, at: int, zones: Zones, studied_today: bool, limits: Limits
) -> Moment:
    """Judge the instant ``at`` (ms) for learner ``one`` of ``profile``, whose zone is ``zones``' only one."""
    local = _local(at, zones)
    score, contributions = _score(profile, one, local, studied_today)
    forbidden = _forbidden(local, limits)
    good = forbidden is None and score >= GOOD_FROM
    rounded = round_contributions(contributions, np.array([score - 50]))[0]
    return Moment(
        is_good=good,
        reasoning=forbidden or _reason(profile, one, local, contributions[0], good=good),
        score=score,
        contributions=tuple(int(part) for part in rounded),
        confidence=int(profile.confidence[one]),
        alternative=None if good else _next(profile, one, local, zones, studied_today, limits),
    )


def is_good(
    profile: TimingProfile, one: int, at: int, zones: Zones, studied_today: bool, limits: Limits
) -> bool:
    """Whether `check` calls the instant a good one, without the reasons and the search for another."""
    local = _local(at, zones)
    return _forbidden(local, limits) is None and _score(profile, one, local, studied_today)[0] >= GOOD_FROM


def good_hours(profile: TimingProfile, one: int) -> NDArray[np.bool_]:
    """Which hours of the local week ``(7, 24)`` `check` calls good, where nothing forbids or was done yet."""
    monday = 4 * DAY
    local = monday + np.arange(7 * 24, dtype=np.int64) * HOUR
    contributions = _contributions(profile, one, local, np.zeros(len(local), bool))
    return (hundredths(0.5 + contributions.sum(axis=1)) >= GOOD_FROM).reshape(7, 24)


def _local(at: int, zones: Zones) -> int:
    return at + int(zones.offsets(np.array([at]))[0])


def _contributions(profile: TimingProfile, one: int, local: Ints, studied: NDArray[np.bool_]) -> Floats:
    """Contributions ``(k, 3)`` around 0.5 at local times ``(k,)`` in ms, and whether studied that day.

    The score is logistic in the sum of three parts: how much the hour has against the least of the good
    ones, how rare the weekday is, and a little less on a day on which the learner has studied.
    """
    rhythm = _rhythm(profile, one)
    least = _least_good(rhythm)
    against = np.log(np.maximum(rhythm, 1e-4) / least)
    hours = np.clip(against + np.where(rhythm >= least, _MARGIN, -_MARGIN), -2.0, 1.5)
    days = np.log(np.clip(2.0 * 7.0 * profile.weekdays[one], 0.1, 1.0))
    days = np.where(profile.confidence[one] == 0, 0.0, days)
    parts = np.stack(
        [hours[local // HOUR % 24], days[weekday(local // DAY)], np.where(studied, _STUDIED, 0.0)], axis=1
    )
    total = parts.sum(axis=1, keepdims=True)
    safe = np.where(np.abs(total) < 1e-9, 1.0, total)
    slope = np.where(np.abs(total) < 1e-9, 0.25, (1.0 / (1.0 + np.exp(-total)) - 0.5) / safe)
    return parts * slope


def _rhythm(profile: TimingProfile, one: int) -> Floats:
    """Shares of sessions by local hour ``(24,)``; below ten sessions the rest is people's in general."""
    own = min(int(profile.sessions[one]), BANDS[0]) / BANDS[0]
    if not profile.begins[one].any():
        own = 0.0
    return own * profile.begins[one] + (1.0 - own) * PEOPLES


def _least_good(rhythm: Floats) -> float:
    """The least share of an hour among the fewest hours that hold half of the sessions."""
    shares = np.sort(rhythm)[::-1]
    return float(shares[np.searchsorted(np.cumsum(shares), 0.5 - 1e-9)])


def _score(profile: TimingProfile, one: int, local: int, studied_today: bool) -> tuple[int, Floats]:
    contributions = _contributions(profile, one, np.array([local]), np.array([studied_today]))
    return int(hundredths(0.5 + contributions.sum(axis=1))[0]), contributions


def _forbidden(local: int, limits: Limits) -> str | None:
    minute = np.array([local % DAY // 60_000])
    if quiet(minute, np.array([limits.quiet_from]), np.array([limits.quiet_to]))[0]:
        return "These are your quiet hours"
    if limits.most_per_day >= 0 and limits.sent_today >= limits.most_per_day:
        return "You have had as many reminders today as you allow"
    return None


def _reason(profile: TimingProfile, one: int, local: int, parts: Floats, *, good: bool) -> str:
    """Why, in words: of a good time what speaks for it, of a bad one what speaks most against it ``(3,)``."""
    if profile.confidence[one] == 0:
        few = f"Not enough sessions to know your rhythm yet ({int(profile.sessions[one])} of 10)"
        return f"{few}: by when people study, this is a {'good' if good else 'bad'} time"
    if good:
        peak = bool(profile.peak[one, local // HOUR % 24])
        usual = bool(profile.typical[one, int(weekday(np.array([local // DAY]))[0])])
        if peak:
            return "This aligns with your peak learning hours" + (" on a usual study day" if usual else "")
        return "You often study around this time"
    return AGAINST[FACTORS[int(np.argmin(parts))]]


def _next(
    profile: TimingProfile, one: int, now: int, zones: Zones, studied_today: bool, limits: Limits
) -> int | None:
    """First full local hour after ``now``, a local time, that is allowed and good, within two weeks."""
    hours = (now // HOUR + 1 + np.arange(HORIZON_HOURS)) * HOUR
    instants = zones.instants(hours)
    local = instants + zones.offsets(instants, np.zeros(len(instants), np.int64))
    today = hours // DAY <= now // DAY
    shut = quiet(local % DAY // 60_000, np.array(limits.quiet_from), np.array(limits.quiet_to))
    if limits.most_per_day >= 0:
        shut |= np.where(today, limits.sent_today, 0) >= limits.most_per_day
    good = (
        hundredths(0.5 + _contributions(profile, one, local, today & studied_today).sum(axis=1)) > GOOD_FROM
    )
    found = np.flatnonzero(~shut & good)
    return int(instants[found[0]]) if len(found) else None

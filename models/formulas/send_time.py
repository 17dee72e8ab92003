"""Whether an instant is a good time to reach a learner, why, and when the next good time is.

Good hours are the fewest hours of the local day in which half of the learner's sessions begin, except on
weekdays on which the learner hardly studies. With fewer than ten sessions, the hours at which people usually
study fill in.

Each call is about one learner: the API and the delivering service ask. Specification, "Optimal Timing".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths, round_contributions
from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas.timing import BANDS, TimingProfile, quiet, weekday

__all__ = [
    "AGAINST",
    "FACTORS",
    "GOOD_FROM",
    "USUAL_HOURS",
    "Limits",
    "TimeCheck",
    "check",
    "good_hours",
    "is_good",
]

GOOD_FROM = 50
HORIZON_HOURS = 14 * 24
FACTORS = ("hour", "weekday", "studied_today")
_MARGIN, _STUDIED = 0.2, -0.3

AGAINST = {
    "hour": "This is outside your usual study hours",
    "weekday": "You rarely study on this day",
    "studied_today": "You have already studied today",
}
"""Reason given for a bad time, by the factor that lowers the score most."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NIGHT, _DAY = [4, 2, 1, 1, 1, 2, 5], [10, 12, 12, 12, 11, 10, 10, 12, 12]
_EVENING = [13, 14, 15, 16, 16, 15, 11, 7]
_WAKING = np.array([*_NIGHT, *_DAY, *_EVENING], np.float64)
USUAL_HOURS: Floats = _WAKING / _WAKING.sum()
"""Assumed shares of study by local hour ``(24,)`` where a learner's own are unknown; evenings have most."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What forbids an instant: quiet hours in minutes of the local day (-1 = none), and the daily cap."""

    quiet_from: int = -1
    quiet_to: int = -1
    most_per_day: int = -1
    sent_today: int = 0


@dataclass(frozen=True, slots=True)
class TimeCheck:
    """Result of a check: ``score`` and ``confidence`` in hundredths, ``alternative`` in ms.

    ``contributions``, one for each of `FACTORS`, add up to ``score - 50``. ``alternative`` is the next good
    time; None if the checked one is good, or no good one lies within two weeks.
    """

    is_good: bool
    reasoning: str
    score: int
    contributions: tuple[int, ...]
    confidence: int
    alternative: int | None


def check(
    profile: TimingProfile, learner: int, at: int, zones: Zones, studied_today: bool, limits: Limits
) -> TimeCheck:
    """Check the instant ``at`` (ms) for one learner.

    Args:
        profile: timing profiles.
        learner: the learner's index in ``profile``.
        at: the instant, ms.
        zones: the learner's time zone alone.
        studied_today: whether the learner has studied on the local day of ``at``.
        limits: the learner's limits.
    """
    local = _local(at, zones)
    score, contributions = _score(profile, learner, local, studied_today)
    forbidden = _forbidden(local, limits)
    good = forbidden is None and score >= GOOD_FROM
    rounded = round_contributions(contributions, np.array([score - 50]))[0]
    return TimeCheck(
        is_good=good,
        reasoning=forbidden or _reason(profile, learner, local, contributions[0], good=good),
        score=score,
        contributions=tuple(int(part) for part in rounded),
        confidence=int(profile.confidence[learner]),
        alternative=None if good else _next(profile, learner, local, zones, studied_today, limits),
    )


def is_good(
    profile: TimingProfile, learner: int, at: int, zones: Zones, studied_today: bool, limits: Limits
) -> bool:
    """Whether `check` calls the instant good, without its reason and search; arguments as in `check`."""
    local = _local(at, zones)
    return (
        _forbidden(local, limits) is None and _score(profile, learner, local, studied_today)[0] >= GOOD_FROM
    )


def good_hours(profile: TimingProfile, learner: int) -> NDArray[np.bool_]:
    """Which hours of the local week ``(7, 24)``, Monday first, `check` calls good without limits or study."""
    monday = 4 * DAY
    local = monday + np.arange(7 * 24, dtype=np.int64) * HOUR
    contributions = _contributions(profile, learner, local, np.zeros(len(local), bool))
    return (hundredths(0.5 + contributions.sum(axis=1)) >= GOOD_FROM).reshape(7, 24)


def _local(at: int, zones: Zones) -> int:
    return at + int(zones.offsets(np.array([at]))[0])


def _contributions(profile: TimingProfile, learner: int, local: Ints, studied: NDArray[np.bool_]) -> Floats:
    """Contributions ``(k, 3)`` to the score, in shares around 0.5, at local times ``(k,)`` in ms.

    The score is logistic in the sum of three parts: the hour's share of sessions against the least good
    hour's, how rare the weekday is, and a small deduction where the learner has ``studied (k,)`` that day.
    """
    rhythm = _rhythm(profile, learner)
    least = _least_good(rhythm)
    against = np.log(np.maximum(rhythm, 1e-4) / least)
    hours = np.clip(against + np.where(rhythm >= least, _MARGIN, -_MARGIN), -2.0, 1.5)
    days = np.log(np.clip(2.0 * 7.0 * profile.weekdays[learner], 0.1, 1.0))
    days = np.where(profile.confidence[learner] == 0, 0.0, days)
    parts = np.stack(
        [hours[local // HOUR % 24], days[weekday(local // DAY)], np.where(studied, _STUDIED, 0.0)], axis=1
    )
    total = parts.sum(axis=1, keepdims=True)
    safe = np.where(np.abs(total) < 1e-9, 1.0, total)
    slope = np.where(np.abs(total) < 1e-9, 0.25, (1.0 / (1.0 + np.exp(-total)) - 0.5) / safe)
    return parts * slope


def _rhythm(profile: TimingProfile, learner: int) -> Floats:
    """Shares of sessions by local hour ``(24,)``; below ten sessions `USUAL_HOURS` fill in."""
    own = min(int(profile.sessions[learner]), BANDS[0]) / BANDS[0]
    if not profile.begins[learner].any():
        own = 0.0
    return own * profile.begins[learner] + (1.0 - own) * USUAL_HOURS


def _least_good(rhythm: Floats) -> float:
    """Smallest share of an hour among the fewest hours that hold half of the sessions."""
    shares = np.sort(rhythm)[::-1]
    return float(shares[np.searchsorted(np.cumsum(shares), 0.5 - 1e-9)])


def _score(profile: TimingProfile, learner: int, local: int, studied_today: bool) -> tuple[int, Floats]:
    contributions = _contributions(profile, learner, np.array([local]), np.array([studied_today]))
    return int(hundredths(0.5 + contributions.sum(axis=1))[0]), contributions


def _forbidden(local: int, limits: Limits) -> str | None:
    minute = np.array([local % DAY // 60_000])
    if quiet(minute, np.array([limits.quiet_from]), np.array([limits.quiet_to]))[0]:
        return "These are your quiet hours"
    if limits.most_per_day >= 0 and limits.sent_today >= limits.most_per_day:
        return "You have had as many reminders today as you allow"
    return None


def _reason(profile: TimingProfile, learner: int, local: int, parts: Floats, *, good: bool) -> str:
    """The reason in words, from contributions ``(3,)``: for a bad time the one that lowers the score most."""
    if profile.confidence[learner] == 0:
        few = f"Not enough sessions to know your rhythm yet ({int(profile.sessions[learner])} of 10)"
        return f"{few}: by when people study, this is a {'good' if good else 'bad'} time"
    if good:
        peak = bool(profile.peak[learner, local // HOUR % 24])
        usual = bool(profile.typical[learner, int(weekday(np.array([local // DAY]))[0])])
        if peak:
            return "This aligns with your peak learning hours" + (" on a usual study day" if usual else "")
        return "You often study around this time"
    return AGAINST[FACTORS[int(np.argmin(parts))]]


def _next(
    profile: TimingProfile, learner: int, now: int, zones: Zones, studied_today: bool, limits: Limits
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
        hundredths(0.5 + _contributions(profile, learner, local, today & studied_today).sum(axis=1))
        > GOOD_FROM
    )
    free = np.flatnonzero(~shut & good)
    return int(instants[free[0]]) if len(free) else None

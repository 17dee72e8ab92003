"""Timing profile: when a learner studies, in local time (specification, "Optimal Timing").

Each active half hour is read with the offset valid at that instant, so daylight saving and a zone that
became known late are right. Recent weeks weigh more, except in the hours at which sessions begin. Scores by
hour are drawn toward the learner's mean, since differences by hour rarely last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.state.history import History, active_half_hours
from lyo.models.state.learner import DAYS, Rows

__all__ = ["MODEL", "WEEKDAYS", "QuietHours", "TimingProfile", "confidence_of", "predict", "quiet", "weekday"]

MODEL = "timing-2"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
BANDS = (10, 30, 50)
BAND_CONFIDENCE = np.array([0, 50, 70, 90])
MOST_PEAKS = 4
PEAK_SHARE = 0.6
MOST_BEST_DAYS = 3
TYPICAL_SHARE = 0.5
PRIOR_SCORES = 20.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
QuietHours: TypeAlias = tuple[Ints, Ints]
"""Minutes of the local day ``(n,)`` at which the quiet hours of ``n`` learners begin and end; -1 = none."""

_RECENCY: Floats = np.cumprod(np.r_[1.0, np.full(DAYS, 0.985)]).astype(np.float64)


@dataclass(slots=True)
class TimingProfile:
    """Profiles of ``n`` learners. Hours are local, weekdays count from Monday = 0; -1 or NaN = unknown.

    ``activity (n, 24)`` is the share of activity by hour, adding up to 1; ``begins (n, 24)`` that of hours in
    which sessions begin, after an hour without; ``weekdays (n, 7)`` likewise by day. ``confidence`` is in
    hundredths.
    """

    activity: Floats
    begins: Floats  # (n, 24)
    weekdays: Floats
    peak: Bools  # (n, 24)
    best: Bools  # (n, 7)
    typical: Bools  # (n, 7)
    most_active: Ints
    least_active: Ints
    optimal: Ints
    scores: Floats  # (n, 24), NaN where nothing is known
    average_minutes: Floats
    preferred_minutes: Ints
    sessions: Ints
    confidence: Ints
    recommended: Ints  # ms


def weekday(day: Ints) -> Ints:
    """Weekdays ``(n,)`` of day numbers ``(n,)`` since 1970-01-01, Monday = 0."""
    return (day + 3) % 7


def confidence_of(sessions: Ints) -> Ints:
    """Confidence ``(n,)`` in hundredths: 0 under 10 sessions, then 0.5, from 30 on 0.7, from 50 on 0.9."""
    return BAND_CONFIDENCE[np.searchsorted(np.array(BANDS), sessions, side="right")]


def quiet(minute: Ints, start: Ints, end: Ints) -> Bools:
    """Whether minutes of the local day lie in quiet hours ``[start, end)``, also over midnight; -1 = none."""
    inside = np.where(start <= end, (minute >= start) & (minute < end), (minute >= start) | (minute < end))
    return (start >= 0) & (end >= 0) & inside


def predict(past: History, rows: Rows, as_of: Ints, zones: Zones, quiet_hours: QuietHours) -> TimingProfile:
    """Timing profiles of LEARNER rows ``(n,)`` as of instants ``(n,)`` in ms; ``past`` is their history."""
    entry, local = active_half_hours(past, zones)
    hour = local // HOUR % 24
    by_hour = _by(past, past.who[entry], hour, 24, _RECENCY[past.age[entry]])
    busy = (past.sessions > 0) | (past.half > 0)
    day = weekday(past.day[busy])
    by_day = _by(past, past.who[busy], day, 7, _RECENCY[past.age[busy]])
    smooth = 0.5 * by_hour + 0.25 * np.roll(by_hour, 1, axis=1) + 0.25 * np.roll(by_hour, -1, axis=1)
    peak = _peaks(by_hour, smooth)
    best = _largest(by_day, MOST_BEST_DAYS) & (by_day >= by_day.sum(axis=1, keepdims=True) / 7) & (by_day > 0)
    known = by_hour.sum(axis=1) > 0
    optimal = np.where(known, np.argmax(np.where(peak, by_hour, -1.0), axis=1), -1)
    sessions = past.total(past.sessions).astype(np.int64)
    return TimingProfile(
        activity=_share(by_hour),
        begins=_share(_begins(past, zones)),
        weekdays=_share(by_day),
        peak=peak,
        best=best,
        typical=_typical(past, busy, day),
        most_active=np.where(known, np.argmax(by_hour, axis=1), -1),
        least_active=np.where(known, np.argmin(np.where(by_hour > 0, by_hour, np.inf), axis=1), -1),
        optimal=optimal,
        scores=_scores(past, entry, hour),
        average_minutes=_average_minutes(past),
        preferred_minutes=_preferred_minutes(rows["recent_sessions"]),
        sessions=sessions,
        confidence=confidence_of(sessions),
        recommended=_recommended(quiet_hours, optimal, best, as_of, zones),
    )


def _begins(past: History, zones: Zones) -> Floats:
    """Counts ``(n, 24)`` of half hours with activity after two without, by local hour.

    All ninety days count alike, which predicts the start of the next session better (docs/accuracy.md).
    """
    half = past.half
    first = half & ~(half << np.uint64(1)) & ~(half << np.uint64(2))
    entry, local = active_half_hours(replace(past, half=first), zones)
    return _by(past, past.who[entry], local // HOUR % 24, 24, np.ones(len(entry)))


def _by(past: History, who: Ints, column: Ints, width: int, weight: Floats) -> Floats:
    many = len(past.today)
    summed = np.bincount(who * width + column, weight, many * width).astype(np.float64, copy=False)
    return summed.reshape(many, width)


def _share(values: Floats) -> Floats:
    return values / np.maximum(values.sum(axis=1, keepdims=True), 1e-9)


def _largest(values: Floats, most: int) -> Bools:
    order = np.argsort(-values, axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable") < most


def _peaks(by_hour: Floats, smooth: Floats) -> Bools:
    """Up to four hours with activity that reach 0.6 of the busiest."""
    active = np.where(by_hour > 0, smooth, 0.0)
    return (
        _largest(active, MOST_PEAKS)
        & (active > 0)
        & (active >= PEAK_SHARE * active.max(axis=1, keepdims=True))
    )


def _typical(past: History, busy: Bools, day: Ints) -> Bools:
    """Weekdays on which the learner was active in at least half of the weeks seen."""
    counts = _by(past, past.who[busy], day, 7, np.ones(len(day)))
    oldest = np.zeros(len(past.today), np.int64)
    np.maximum.at(oldest, past.who[busy], past.age[busy])
    weeks = np.maximum(np.ceil((oldest + 1) / 7.0), 1.0)
    return (counts > 0) & (counts >= TYPICAL_SHARE * weeks[:, None])


def _scores(past: History, entry: Ints, hour: Ints) -> Floats:
    """Mean score of the days active at each hour, drawn toward the learner's mean by 20 answers' weight."""
    once = np.unique(entry * 24 + hour)
    entry, hour = once // 24, once % 24
    total = _by(past, past.who[entry], hour, 24, past.score[entry])
    count = _by(past, past.who[entry], hour, 24, past.scored[entry].astype(float))
    overall = past.total(past.score) / np.maximum(past.total(past.scored), 1)
    return np.where(count > 0, (total + PRIOR_SCORES * overall[:, None]) / (count + PRIOR_SCORES), np.nan)


def _average_minutes(past: History) -> Floats:
    timed = past.minutes > 0
    sessions = past.total(past.sessions, timed)
    return np.where(sessions > 0, past.total(past.minutes, timed) / np.maximum(sessions, 1), np.nan)


def _preferred_minutes(recent: NDArray[np.uint64]) -> Ints:
    """Median length of the last sessions, to five minutes; -1 with none."""
    minutes = np.where(recent > 0, (recent & np.uint64(0xFFFF)).astype(np.int64), 1 << 20)
    minutes.sort(axis=1)
    count = (recent > 0).sum(axis=1)
    middle = minutes[np.arange(len(minutes)), np.maximum(count - 1, 0) // 2]
    return np.where(count > 0, np.maximum((middle + 2) // 5 * 5, 5), -1)


def _recommended(quiet_hours: QuietHours, optimal: Ints, best: Bools, as_of: Ints, zones: Zones) -> Ints:
    """Next optimal hour after ``as_of`` on a best day, moved out of quiet hours; -1 = unknown."""
    start, end = quiet_hours
    minute = np.maximum(optimal, 0) * 60
    minute = np.where(quiet(minute, start, end), end, minute)
    local_now = as_of + zones.offsets(as_of)
    today = local_now // DAY
    days = best | ~best.any(axis=1, keepdims=True)
    chosen = np.full(len(as_of), -1)
    for ahead in range(7, -1, -1):
        local = (today + ahead) * DAY + minute * 60_000
        fits = days[np.arange(len(as_of)), weekday(today + ahead)] & (local > local_now)
        chosen = np.where(fits, local, chosen)
    return np.where((optimal >= 0) & (chosen >= 0), zones.instants(chosen), -1)

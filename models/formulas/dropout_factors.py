"""The six factors of dropout risk (specification, "Dropout Prevention"), from a learner's local days.

Each is a continuous number in [0, 1] with its own evidence in [0, 1]. Silence leaves sentiment and
performance as they were; it never lowers the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.state.history import History, recent_sentiment
from lyo.models.state.learner import DAYS

__all__ = ["A_LONG_GAP", "A_STREAK", "A_WHILE", "FACTORS", "WEIGHTS", "Factors", "evident", "factors"]

WEIGHTS = {
    "declining_engagement": 0.25,
    "infrequent_sessions": 0.20,
    "negative_sentiment": 0.20,
    "no_progress": 0.15,
    "declining_performance": 0.10,
    "broken_streak": 0.10,
}
FACTORS = tuple(WEIGHTS)
A_LONG_GAP = 7
"""From this mean gap in days on, days of study count as far apart, however long the present gap is."""
A_WHILE = 3
"""Days without a finished lesson from which `no_progress` is shown."""
A_STREAK = 3
"""Days in a row from which the end of a streak is shown."""
_MANY_SESSIONS = 10.0
_RECENT, _USUAL = 0.86, 0.97  # a day's weight against the next
_FAST = np.cumprod(np.r_[1.0, np.full(DAYS, _RECENT)])
_SLOW = np.cumprod(np.r_[1.0, np.full(DAYS, _USUAL)])
_FAST_SUM, _SLOW_SUM = np.cumsum(_FAST), np.cumsum(_SLOW)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Factors:
    """Factors of ``n`` learners: ``values (n, 6)`` and ``evidence (n, 6)``, both in [0, 1], as `FACTORS`.

    ``days`` are active days, ``silent`` days since the last one and ``waiting`` those beyond the usual gap,
    ``span`` the days from the first active one to the last; all of the last 90 days. ``decline`` is how
    steadily sessions became fewer, in [0, 1). The rest are the metrics of the specification; NaN means
    unknown.
    """

    values: Floats
    evidence: Floats
    days: Ints
    span: Ints
    silent: Floats
    waiting: Floats
    decline: Floats
    trend: Floats
    gap: Floats
    sentiment: Floats
    since_completion: Floats
    performance: Floats
    longest_streak: Ints
    current_streak: Ints


@dataclass(slots=True)
class _Factor:
    value: Floats
    evidence: Floats
    metric: Floats


def factors(past: History) -> Factors:
    """Factors of the learners ``(n,)`` of ``past``."""
    active = past.active_days()
    gap = _usual_gap(active)
    silent = past.silent.astype(float)
    waiting = np.maximum(silent - np.where(np.isnan(gap), 2.0, gap), 0.0)
    longest, ending, streak = _streaks(active, silent)
    engagement, decline = _declining_engagement(past, waiting)
    by_name = {
        "declining_engagement": engagement,
        "infrequent_sessions": _infrequent_sessions(active, gap, silent, waiting),
        "negative_sentiment": _negative_sentiment(past),
        "no_progress": _no_progress(past),
        "declining_performance": _declining_performance(past),
        "broken_streak": streak,
    }
    return Factors(
        values=np.stack([by_name[name].value for name in FACTORS], axis=1),
        evidence=np.stack([by_name[name].evidence for name in FACTORS], axis=1),
        days=active.sum(axis=1),
        span=np.where(active.any(axis=1), _oldest(active), 0),
        silent=silent,
        waiting=waiting,
        decline=decline,
        trend=by_name["declining_engagement"].metric,
        gap=gap,
        sentiment=by_name["negative_sentiment"].metric,
        since_completion=by_name["no_progress"].metric,
        performance=by_name["declining_performance"].metric,
        longest_streak=longest,
        current_streak=np.where(silent <= 1, ending, 0),
    )


def evident(measured: Factors) -> NDArray[np.bool_]:
    """Whether the metrics shown beside each factor ``(n, 6)`` support the factor's wording.

    A factor may raise the risk and still not be shown: a learner who was frustrated a month ago is not
    frustrated "lately", and one whose gap is as long as always is not away "longer than usual".
    """
    least = -0.005  # less is shown as 0
    return np.stack(
        [
            measured.trend < least,
            ~np.isnan(measured.gap) & ((measured.waiting > 0) | (measured.gap >= A_LONG_GAP)),
            np.nan_to_num(measured.sentiment) < least,
            np.nan_to_num(measured.since_completion) >= A_WHILE,
            np.nan_to_num(measured.performance) < least,
            (measured.longest_streak >= A_STREAK) & (measured.current_streak < measured.longest_streak),
        ],
        axis=1,
    )


def _either(*parts: Floats) -> Floats:
    """Soft "or" of numbers in [0, 1]: one minus the product of their complements."""
    rest = np.ones_like(parts[0])
    for part in parts:
        rest = rest * (1.0 - np.clip(part, 0.0, 1.0))
    return 1.0 - rest


def _oldest(active: NDArray[np.bool_]) -> Ints:
    """Age of the first active day ``(n,)``."""
    return DAYS - 1 - np.argmax(active[:, ::-1], axis=1)


def _usual_gap(active: NDArray[np.bool_]) -> Floats:
    """Mean days between active days ``(n,)``, NaN with fewer than two."""
    days = active.sum(axis=1)
    return np.where(days >= 2, _oldest(active) / np.maximum(days - 1, 1), np.nan)


def _declining_engagement(past: History, waiting: Floats) -> tuple[_Factor, Floats]:
    """Recent sessions against the learner's own level, and how early in the known time the sessions lie.

    Both levels are exponentially weighted daily rates. Sessions that fall to none in a straight line have
    their mean at a third of the time; what chance alone would do with so few sessions is taken off. A steady
    decline ``(n,)`` is both at once, drawn toward none by few sessions: who crams before examinations has
    fewer sessions in between, but not ever fewer.
    """
    recent = past.total(past.sessions * _FAST[past.age])
    usual = past.total(past.sessions * _SLOW[past.age])
    known = np.clip(past.last - past.first, 0, DAYS - 1)
    usual_rate = usual / _SLOW_SUM[known]
    ratio = (recent / _FAST_SUM[known]) / np.maximum(usual_rate, 1e-9)
    ratio = np.where(usual_rate > 0, ratio, 1.0) * (_RECENT / _USUAL) ** np.minimum(waiting, 365.0)
    count = np.maximum(past.total(past.sessions), 1.0)
    half = (known + 1) / 2.0
    early = (past.total(past.sessions * (past.age + 0.5)) / count - half) / half
    early = np.clip((early - 0.5 / np.sqrt(count)) / 0.2, 0.0, 1.0)
    # Of a learner who has just come back, all sessions but one are long ago: the recent level counts.
    decline = early * np.clip((1.0 - ratio) / 0.3, 0.0, 1.0)
    value = _either((1.0 - ratio) / 0.45, decline)
    enough = np.clip(past.total(past.sessions) / 4.0, 0.0, 1.0)
    metric = np.clip(ratio - 1.0, -1.0, 1.0)
    return _Factor(value, enough, metric), decline * count / (count + _MANY_SESSIONS)


def _infrequent_sessions(active: NDArray[np.bool_], gap: Floats, silent: Floats, waiting: Floats) -> _Factor:
    """The present gap and the last two against the usual one, the usual one itself, and a month as a cap."""
    days = active.sum(axis=1)
    usual = np.where(np.isnan(gap), 2.0, gap)
    last_two = np.argmax(np.cumsum(active, axis=1) == 3, axis=1) / 2.0
    value = _either(
        waiting / (3.0 + 2.0 * usual) / 2.4,
        np.where(days >= 4, (last_two / usual - 1.5) / 3.0, 0.0),
        (usual - 3.0) / 18.0,
        (silent - 7.0) / 38.0,
    )
    return _Factor(value, np.clip(days / 3.0, 0.0, 1.0), gap)


def _negative_sentiment(past: History) -> _Factor:
    """Mean sentiment of the seven days up to the last one known, drawn toward 0 by few observations.

    It stays as it was before a silence; the metric is that of the last seven days alone.
    """
    mean, count, fresh = recent_sentiment(past)
    value = np.clip(-mean / 0.6, 0.0, 1.0)
    return _Factor(value, count / (count + 1.5), np.where(fresh, mean, np.nan))


def _no_progress(past: History) -> _Factor:
    """Days since the last completion, and active days since then that brought none."""
    done = past.completed > 0
    latest = np.full(len(past.today), -1)
    np.maximum.at(latest, past.who[done], past.day[done])
    ever = latest >= 0
    since = np.where(ever, past.today - latest, 0).astype(float)
    days_done = past.total(np.ones(len(done)), done)
    oldest = np.full(len(past.today), np.iinfo(np.int64).max)
    np.minimum.at(oldest, past.who[done], past.day[done])
    usual = np.where(days_done >= 2, (latest - oldest) / np.maximum(days_done - 1, 1), 3.0)
    idle = past.total(np.ones(len(done)), (past.sessions > 0) & (past.day > latest[past.who]))
    value = _either((since - np.maximum(usual, 1.0)) / 24.0, idle / 10.0)
    return _Factor(
        np.where(ever, value, 0.0),
        np.where(ever, days_done / (days_done + 1.0), 0.0),
        np.where(ever, since, np.nan),
    )


def _declining_performance(past: History) -> _Factor:
    """Slope of daily mean scores over the last four weeks, weighted by attempts, in score per week."""
    used = (past.scored > 0) & (past.age < 28)
    weight = past.scored.astype(np.float64)
    mean = past.score / np.maximum(past.scored, 1)
    total = np.maximum(past.total(weight, used), 1e-9)
    at = -past.age / 7.0
    mean_at = past.total(weight * at, used) / total
    mean_score = past.total(weight * mean, used) / total
    apart = at - mean_at[past.who]
    spread = past.total(weight * apart * apart, used)
    slope = past.total(weight * apart * (mean - mean_score[past.who]), used) / (spread + 2.0)
    days = past.total(np.ones(len(used)), used)
    return _Factor(
        np.clip(-slope / 0.12, 0.0, 1.0),
        np.clip((days - 1.0) / 4.0, 0.0, 1.0),
        np.where(days >= 2, slope, np.nan),
    )


def _streaks(active: NDArray[np.bool_], silent: Floats) -> tuple[Ints, Ints, _Factor]:
    """Longest streak, the one ending on the last active day, and how much of a streak was lost."""
    age = np.arange(DAYS)
    # How many active days in a row lie at each age, counted from the day next to it that was not active.
    run = age - np.maximum.accumulate(np.where(active, -1, age), axis=1)
    ends = run == age + 1
    longest, ending = run.max(axis=1), ends.sum(axis=1)
    earlier = np.where(ends, 0, run)
    before, begin = earlier.max(axis=1), earlier.argmax(axis=1)
    before_end = np.where(before > 0, begin - before + 1, DAYS)
    lost_now = np.clip((silent - 1.0) / 4.0, 0.0, 1.0) * np.clip((ending - 2.0) / 4.0, 0.0, 1.0)
    lost_before = np.clip((before - ending - 1.0) / 6.0, 0.0, 1.0) * np.clip(
        1.0 - before_end / 28.0, 0.0, 1.0
    )
    # A streak that ended long before the last active day is no evidence any more.
    known = np.maximum(
        np.clip((before - 1.0) / 3.0, 0.0, 1.0) * np.clip(1.0 - before_end / 28.0, 0.0, 1.0),
        np.clip((ending - 1.0) / 3.0, 0.0, 1.0),
    )
    return longest, ending, _Factor(_either(lost_now, lost_before), known, longest.astype(float))

"""A learner's days in local time, as columns: what dropout risk and timing are computed from.

Everything is taken relative to the learner's last active day, and silence is counted from there, so that
what is known does not dissolve while nothing happens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, Zones
from lyo.models.state.learner import DAYS, SENTIMENT_UNIT, Rows

__all__ = ["HALF_HOUR", "History", "active_half_hours", "history", "known", "recent_sentiment"]

HALF_HOUR = DAY // 48
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def known(rows: Rows) -> NDArray[np.bool_]:
    """Whether learners ``(n,)`` have any event besides struggle requests, by their LEARNER rows."""
    preferences = rows["zone_stamp"] | rows["quiet_stamp"] | rows["nudges_stamp"]
    outcomes = rows["outcome_at"].any(axis=-1)
    return np.asarray((rows["applied"] > 0) | (preferences > 0) | outcomes, bool)


@dataclass(slots=True)
class History:
    """``n`` learners and the ``m`` UTC days on which they did something, within 90 days of their last.

    Days are local day numbers. Per learner ``(n,)``: ``today`` (of as_of), ``last`` active day (-1 = never),
    ``first`` active day. Per entry ``(m,)``: ``who`` (row, ascending), ``day``, ``age`` (days before
    ``last``, 0..89), ``sessions``, ``minutes``, ``completed``, ``scored``, ``score`` (sum, [0, scored]),
    ``sentiments``, ``sentiment`` (sum), ``half`` (48 bits, UTC) and ``utc_day``.
    """

    today: Ints
    last: Ints
    first: Ints
    who: Ints
    day: Ints
    age: Ints
    sessions: Ints
    minutes: Ints
    completed: Ints
    scored: Ints
    score: NDArray[np.float64]
    sentiments: Ints
    sentiment: NDArray[np.float64]
    half: NDArray[np.uint64]
    utc_day: Ints

    @property
    def silent(self) -> Ints:
        """Whole local days since the last active one ``(n,)``, 0 for a learner never active."""
        return np.where(self.last < 0, 0, np.maximum(self.today - self.last, 0))

    def total(
        self, values: NDArray[np.float64] | Ints, where: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Sum of an entry column ``(m,)`` per learner ``(n,)``."""
        who = self.who if where is None else self.who[where]
        chosen = values if where is None else values[where]
        return np.bincount(who, chosen, len(self.today)).astype(np.float64, copy=False)

    def active_days(self) -> NDArray[np.bool_]:
        """Which of the last 90 local days up to the last active one saw activity: ``(n, 90)``, by age."""
        active = np.zeros((len(self.today), DAYS), bool)
        busy = (self.sessions > 0) | (self.completed > 0)
        active[self.who[busy], self.age[busy]] = True
        return active


def history(rows: Rows, as_of: Ints, zones: Zones) -> History:
    """History of LEARNER rows ``(n,)`` as of instants ``(n,)`` in ms, in the learners' zones."""
    utc_today = as_of // DAY
    stamps = rows["day"].astype(np.int64) - 1
    newest = stamps.max(axis=1)
    who, slot = np.nonzero(
        (stamps >= 0) & (stamps > newest[:, None] - DAYS) & (stamps <= utc_today[:, None] + 1)
    )
    utc_day = stamps[who, slot]
    bits = rows["halfhours"][who, slot].astype(np.uint64)
    half = bits[:, 0] | bits[:, 1] << np.uint64(16) | bits[:, 2] << np.uint64(32)
    lowest = half & (~half + np.uint64(1))
    begin = np.where(half == 0, 24, np.log2(np.maximum(lowest, 1).astype(np.float64)).astype(np.int64))
    day = zones.local_days(utc_day * DAY + begin * HALF_HOUR, who)
    sessions, completed = _column(rows, "started", who, slot), _column(rows, "completed", who, slot)
    sessions = np.where((completed > 0) & (sessions == 0), 1, sessions)
    active = (sessions > 0) | (half > 0)
    last, first = np.full(len(rows), -1), np.full(len(rows), np.iinfo(np.int64).max)
    np.maximum.at(last, who[active], day[active])
    np.minimum.at(first, who[active], day[active])
    today = np.maximum(zones.local_days(as_of), last)
    reference = np.where(last < 0, today, last)
    known_first = zones.local_days(np.where(rows["first"] >= 0, rows["first"], as_of))
    return History(
        today=today,
        last=last,
        first=np.minimum(np.minimum(first, known_first), today),
        who=who,
        day=day,
        age=np.clip(reference[who] - day, 0, DAYS - 1),
        sessions=sessions,
        minutes=_column(rows, "minutes", who, slot),
        completed=completed,
        scored=_column(rows, "scored", who, slot),
        score=_column(rows, "score_sum", who, slot) / 10_000,
        sentiments=_column(rows, "sentiments", who, slot),
        sentiment=_column(rows, "sentiment_sum", who, slot) / SENTIMENT_UNIT,
        half=half,
        utc_day=utc_day,
    )


def active_half_hours(past: History, zones: Zones) -> tuple[Ints, Ints]:
    """Entry ``(k,)`` and local time ``(k,)``, ms of the local calendar, of every half hour with activity.

    Each is read with the offset valid at that moment, so both changes to daylight saving are right.
    """
    bits = np.unpackbits(
        past.half.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :6], axis=1, bitorder="little"
    )
    entry, half = np.nonzero(bits)
    at = past.utc_day[entry] * DAY + half * HALF_HOUR
    return entry, at + zones.offsets(at, past.who[entry])


def recent_sentiment(past: History) -> tuple[NDArray[np.float64], NDArray[np.float64], Bools]:
    """Mean sentiment ``(n,)`` in [-1, 1] of the seven days up to the last known one, and the count ``(n,)``.

    Few observations draw the mean toward 0. Third, whether the last known one is of the last seven days
    ``(n,)``, so that it says something about the present.
    """
    felt = past.sentiments > 0
    latest = np.full(len(past.today), np.iinfo(np.int64).min)
    np.maximum.at(latest, past.who[felt], past.day[felt])
    week = felt & (past.day > latest[past.who] - 7)
    count = past.total(past.sentiments, week)
    return past.total(past.sentiment, week) / (count + 2.0), count, latest > past.today - 7


def _column(rows: Rows, name: str, who: Ints, slot: Ints) -> Ints:
    return rows[name][who, slot].astype(np.int64)

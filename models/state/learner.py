"""The LEARNER row: a learner's last 90 days as sums per UTC day, and what else is a pure fold of events.

Sums, maxima and "the newest n" do not depend on the order of events, so any order inside the 90 days
gives the same bytes. Local days and hours are derived when predicting. Design: "State: columns, not objects".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from lyo.models.arrays.rounding import increased
from lyo.models.arrays.runs import keep_largest, ranks
from lyo.models.arrays.zones import DAY
from lyo.models.events.decode import Columns, Kind, OutcomeKind, Preferences
from lyo.models.events.types import INPUTS, QuietHours
from lyo.models.state.reviews import REVIEW_DAY, REVIEW_DAYS

__all__ = [
    "BOOKKEEPING",
    "DAYS",
    "FOLDS",
    "LEARNER",
    "OUTCOME_KINDS",
    "RECENT",
    "RING",
    "RING_KINDS",
    "begin_learners",
    "empty_learners",
    "fold_completions",
    "fold_outcomes",
    "fold_preferences",
    "fold_requests",
    "fold_sentiment",
    "fold_sessions",
    "quiet_minutes",
]

DAYS = 90
RING = 64
RECENT = 16
RING_KINDS = tuple(kind for kind, topic in INPUTS.items() if topic.recognised)
"""Deduplicated kinds in the order of their rings in stored rows; a new one comes last, in the same layout."""
OUTCOME_KINDS = tuple(OutcomeKind)
SENTIMENT_UNIT = 127
MINUTE = 60_000
HALF_HOUR = 30 * MINUTE

EVENT_IDS = np.dtype(
    [
        ("count", "<u4"),  # events so far; the next id goes to this place, modulo RING
        ("low", "<u4", (RING,)),  # low 32 bits of the newest event-id hashes
        ("high", "<u2", (RING,)),  # and the high 16
    ]
)
LEARNER = np.dtype(
    [
        # The first six are at the same place in every layout: SQL reads them out of stored rows.
        # 1970-01-01T00:00:00Z is a time like others: of times in ms, -1 says that there is none; times in
        # seconds, days and stamps are counted from 1, and 0 says so.
        ("user", "<i8"),
        ("organization", "<i8"),
        ("newest", "<i8"),  # newest event of any kind, ms
        ("first", "<i8"),  # first session or completion, ms
        ("last_session", "<i8"),
        ("last_completion", "<i8"),
        ("open_since", "<i8"),  # newest start of a session without an end
        ("fingerprint", "<u8"),  # sum of the applied events' id hashes, mod 2**64
        ("zone_stamp", "<u8"),  # when a preference was last set: see stamps
        ("quiet_stamp", "<u8"),
        ("nudges_stamp", "<u8"),
        ("recent_sessions", "<u8", (RECENT,)),  # newest ends: seconds + 1 << 16 | minutes, descending
        ("recent_completions", "<u8", (RECENT,)),  # newest times in seconds + 1, descending
        ("outcome_at", "<u8", (len(OUTCOME_KINDS),)),  # newest of each kind, seconds + 1
        ("applied", "<u4"),
        ("sessions", "<u4"),
        ("completions", "<u4"),
        ("all_tried", "<u4"),  # as tried and struggled below, but of all days
        ("all_struggled", "<u4"),
        ("score_sum", "<u4", (DAYS,)),  # 1/10000
        ("day", "<u4", (DAYS,)),  # UTC day number of each slot + 1, 0 = unused
        ("minutes", "<u2", (DAYS,)),
        ("completed", "<u2", (DAYS,)),
        ("scored", "<u2", (DAYS,)),
        ("sentiment_sum", "<i2", (DAYS,)),  # 1/127
        ("halfhours", "<u2", (DAYS, 3)),  # 48 bits: which half hours of the UTC day saw activity
        ("tried", "<u2", (DAYS,)),  # completions of which it is known whether the learner struggled
        ("struggled", "<u2", (DAYS,)),  # and of those, the ones with which the learner did
        ("started", "u1", (DAYS,)),  # sessions
        ("sentiments", "u1", (DAYS,)),
        ("quiet_from", "<i2"),  # minute of the local day, -1 = not set
        ("quiet_to", "<i2"),
        ("nudges", "<i2"),  # most nudges a day, -1 = not set
        ("zone", "S32"),
        ("review_days", REVIEW_DAY, (REVIEW_DAYS,)),  # newest first
        # Last: a stored row may hold fewer, see `models.state.layout`.
        ("rings", EVENT_IDS, (len(RING_KINDS),)),
    ]
)
BOOKKEEPING = ("rings",)
"""Columns that depend on the order of arrival; all others are the same for every order inside the bounds.

The bounds are 90 days, and for ``review_days`` eight later attempts at the same skill.
"""

_TIMES = ("newest", "first", "last_session", "last_completion", "open_since")

Rows = NDArray[np.void]
Indexes = NDArray[np.int64]


def empty_learners(users: NDArray[np.int64]) -> Rows:
    """LEARNER rows ``(n,)`` of learners ``(n,)`` without events."""
    rows = np.zeros(len(users), LEARNER)
    begin_learners(rows, np.arange(len(users)), users)
    return rows


def begin_learners(rows: Rows, slots: Indexes, users: NDArray[np.int64]) -> None:
    """Make the zeroed rows at ``slots (n,)`` those of ``users (n,)`` without events, in place."""
    rows["user"][slots] = users
    for name in (*_TIMES, "quiet_from", "quiet_to", "nudges"):
        rows[name][slots] = -1


def fold_sessions(rows: Rows, who: Indexes, events: Columns, take: NDArray[np.bool_]) -> None:
    """Fold sessions into ``rows`` in place; of an open session only its start is kept.

    Args:
        rows: LEARNER rows ``(n,)``.
        who: row of each event ``(m,)``.
        events: the session columns ``(m,)``.
        take: which events count ``(m,)``.
    """
    assert events.end is not None
    _note(rows, who, events, take)
    closed = take & (events.end >= 0)
    opened = take & ~closed
    np.maximum.at(rows["open_since"], who[opened], events.at[opened])
    row, start, end = who[closed], events.at[closed], events.end[closed]
    _first(rows, row, start)
    np.maximum.at(rows["last_session"], row, end)
    _count(rows["sessions"], row)
    minutes = (end - start + MINUTE // 2) // MINUTE
    keep_largest(rows["recent_sessions"], row, ((end // 1000 + 1) << 16 | minutes).astype(np.uint64))
    last = np.maximum(end - 1, start)
    first_half, last_half = start // HALF_HOUR, last // HALF_HOUR
    crosses = last // DAY > start // DAY
    mask = _bits(first_half % 48, np.where(crosses, 47, last_half % 48))
    sums = {"started": np.ones(len(row), np.int64), "minutes": minutes}
    _add_to_days(rows, row, start // DAY, sums, mask)
    if crosses.any():
        tail = _bits(np.zeros(int(crosses.sum()), np.int64), last_half[crosses] % 48)
        _add_to_days(rows, row[crosses], last[crosses] // DAY, {}, tail)


def fold_completions(rows: Rows, who: Indexes, events: Columns, take: NDArray[np.bool_]) -> None:
    """Fold lesson completions into ``rows`` in place; arguments as in `fold_sessions`."""
    assert events.score is not None
    assert events.struggled is not None
    _note(rows, who, events, take)
    row, at, score = who[take], events.at[take], events.score[take].astype(np.int64)
    _first(rows, row, at)
    np.maximum.at(rows["last_completion"], row, at)
    _count(rows["completions"], row)
    keep_largest(rows["recent_completions"], row, (at // 1000 + 1).astype(np.uint64))
    scored, known = score >= 0, events.struggled[take] >= 0
    struggled = events.struggled[take] == 1
    _count(rows["all_tried"], row[known])
    _count(rows["all_struggled"], row[struggled])
    sums = {
        "completed": np.ones(len(row), np.int64),
        "scored": scored.astype(np.int64),
        "score_sum": np.where(scored, score, 0),
        "tried": known.astype(np.int64),
        "struggled": struggled.astype(np.int64),
    }
    half = at // HALF_HOUR % 48
    _add_to_days(rows, row, at // DAY, sums, _bits(half, half))


def fold_sentiment(rows: Rows, who: Indexes, events: Columns, take: NDArray[np.bool_]) -> None:
    """Fold sentiment into ``rows`` in place, at most 255 a day; arguments as in `fold_sessions`."""
    assert events.sentiment is not None
    _note(rows, who, events, take)
    row, at = who[take], events.at[take]
    value = np.rint(events.sentiment[take] * (SENTIMENT_UNIT / 10_000)).astype(np.int64)
    sums = {"sentiments": np.ones(len(row), np.int64), "sentiment_sum": value}
    _add_to_days(rows, row, at // DAY, sums, None)


def fold_outcomes(rows: Rows, who: Indexes, events: Columns) -> None:
    """Keep the newest time of each kind of outcome, in place; duplicates make no difference."""
    np.maximum.at(rows["newest"], who, events.at)
    kinds = np.fromiter((OUTCOME_KINDS.index(row.kind) for row in events.rows), np.int64, len(events.rows))
    np.maximum.at(rows["outcome_at"], (who, kinds), (events.at // 1000 + 1).astype(np.uint64))


def fold_requests(rows: Rows, who: Indexes, events: Columns) -> None:
    """Fold requests for predictions, in place: they change nothing but the time of the newest event."""
    np.maximum.at(rows["newest"], who, events.at)


def fold_preferences(rows: Rows, who: Indexes, events: Columns) -> None:
    """Set each preference that an event names, in place; of each preference the newest event wins."""
    np.maximum.at(rows["newest"], who, events.at)
    marks = stamps(events)
    for place, stamp, event in zip(who.tolist(), marks.tolist(), events.rows, strict=True):
        row = rows[place]
        for name, values in _settings(event).items():
            if stamp > int(row[f"{name}_stamp"]):
                row[f"{name}_stamp"] = stamp
                for column, value in values.items():
                    row[column] = value


# Folds of deduplicated kinds are passed which events count; the others are passed only events that count.
FOLDS: dict[Kind, Callable[..., None]] = {
    Kind.LESSON_COMPLETION: fold_completions,
    Kind.SESSION: fold_sessions,
    Kind.SENTIMENT: fold_sentiment,
    Kind.OUTCOME: fold_outcomes,
    Kind.PREFERENCES: fold_preferences,
    Kind.STRUGGLE_REQUEST: fold_requests,
}


def _settings(event: Preferences) -> dict[str, dict[str, int | bytes]]:
    """The columns that a preferences event sets, by the name of the setting; a null clears."""
    named: dict[str, dict[str, int | bytes]] = {}
    if event.timezone is not UNSET:
        named["zone"] = {"zone": (event.timezone or "").encode()}
    if event.quiet_hours is not UNSET:
        start, end = quiet_minutes(event.quiet_hours)
        named["quiet"] = {"quiet_from": start, "quiet_to": end}
    if event.max_nudges_per_day is not UNSET:
        cap = event.max_nudges_per_day
        named["nudges"] = {"nudges": -1 if cap is None else cap}
    return named


def quiet_minutes(hours: QuietHours | None) -> tuple[int, int]:
    """First minute of the local day in quiet hours, and the first minute after them; -1 = none.

    A minute that quiet hours touch lies in them whole: seconds are rounded outward.
    """
    if hours is None:
        return -1, -1
    start, end = (int(text[:2]) * 60 + int(text[3:5]) for text in (hours.start, hours.end))
    return start, end + (hours.end[6:] not in ("", "00"))


def stamps(events: Columns) -> NDArray[np.uint64]:
    """Comparable numbers ``(m,)`` of events: the time, then bits of the id's hash within a millisecond."""
    return ((events.at + 1).astype(np.uint64) << np.uint64(21)) | (events.id >> np.uint64(27))


def _note(rows: Rows, who: Indexes, events: Columns, take: NDArray[np.bool_]) -> None:
    row = who[take]
    np.maximum.at(rows["newest"], row, events.at[take])
    np.add.at(rows["fingerprint"], row, events.id[take])
    _count(rows["applied"], row)


def _count(column: NDArray[np.uint32], who: Indexes) -> None:
    """Count one for each of ``who (m,)`` in place, up to what the column holds."""
    distinct, many = np.unique(who, return_counts=True)
    column[distinct] = increased(column[distinct], many)


def _first(rows: Rows, who: Indexes, at: Indexes) -> None:
    unset = rows["first"][who] < 0
    rows["first"][who[unset]] = np.iinfo(np.int64).max
    np.minimum.at(rows["first"], who, at)


def _bits(first: Indexes, last: Indexes) -> NDArray[np.uint64]:
    one = np.uint64(1)
    return ((one << (last + 1).astype(np.uint64)) - one) & ~((one << first.astype(np.uint64)) - one)


def _add_to_days(
    rows: Rows, who: Indexes, day: Indexes, sums: dict[str, Indexes], mask: NDArray[np.uint64] | None
) -> None:
    """Add values to the slots of their days; a newer day takes the slot over, an older one is too late."""
    if not len(who):
        return
    key = who * DAYS + day % DAYS
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0])
    slots = key[order][starts]
    row, place = slots // DAYS, slots % DAYS
    newest = np.maximum.reduceat(day[order], starts)
    _take_over(rows, row, place, newest)
    kept_day = rows["day"][row, place].astype(np.int64) - 1
    group = np.empty(len(key), np.int64)
    group[order] = np.repeat(np.arange(len(slots)), np.diff(np.r_[starts, len(key)]))
    late = day != kept_day[group]
    if "sentiments" in sums:
        _bound_sentiment(rows, row, place, group, late, sums)
    for name, values in sums.items():
        more = np.add.reduceat(np.where(late, 0, values)[order], starts)
        limit = np.iinfo(LEARNER[name].base).max
        rows[name][row, place] = np.minimum(rows[name][row, place].astype(np.int64) + more, limit)
    if mask is not None:
        bits = np.bitwise_or.reduceat(np.where(late, np.uint64(0), mask)[order], starts)
        for part in range(3):
            rows["halfhours"][row, place, part] |= (
                (bits >> np.uint64(16 * part)) & np.uint64(0xFFFF)
            ).astype("<u2")


def _take_over(rows: Rows, row: Indexes, place: Indexes, newest: Indexes) -> None:
    taken = newest >= rows["day"][row, place]  # which is one more than the day that it holds
    row, place = row[taken], place[taken]
    for name in (
        "score_sum",
        "minutes",
        "completed",
        "scored",
        "tried",
        "struggled",
        "sentiment_sum",
        "halfhours",
        "started",
        "sentiments",
    ):
        rows[name][row, place] = 0
    rows["day"][row, place] = newest[taken] + 1


def _bound_sentiment(
    rows: Rows,
    row: Indexes,
    place: Indexes,
    group: Indexes,
    late: NDArray[np.bool_],
    sums: dict[str, Indexes],
) -> None:
    """Drop what goes over 255 sentiments of a day, so that count and sum stay about the same events."""
    held = rows["sentiments"][row, place].astype(np.int64)[group]
    order = np.lexsort((np.arange(len(group)), late, group))
    rank = np.empty(len(group), np.int64)
    rank[order] = ranks(group[order])
    over = ~late & (held + rank >= 255)
    for values in sums.values():
        values[over] = 0

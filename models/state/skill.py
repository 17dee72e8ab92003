"""The SKILL row: what a learner's attempts at one skill add up to.

A row holds the state after all attempts, the state before the last eight, and those eight, so that an
attempt that arrives late is folded again in its place (order: time, then event-id hash). State is
fixed point and is quantised after every attempt; only elementwise arithmetic is used, so any batching
gives the same bytes. Design: "State: columns, not objects"; notes on mastery, forgetting and plateaus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import increased
from lyo.models.arrays.runs import ranks
from lyo.models.state.forgetting import FIRST_DIFFICULTY, FIRST_STABILITY, after_attempt
from lyo.models.state.mastery import REVIEW_AFTER, RIGHT_FROM, add_evidence, mastery, strength
from lyo.models.state.plateau_window import PLATEAU, end_window_by_gap, extend_window
from lyo.models.state.regression_span import REGRESSION, close_span, open_by_silence
from lyo.models.state.reviews import NO_REVIEW, Contributions, sixteenths
from lyo.models.state.struggles import add_struggle

__all__ = [
    "BOOKKEEPING",
    "HELD",
    "MEMORY",
    "SKILL",
    "Attempts",
    "begin_skills",
    "empty_skills",
    "fold_attempts",
]

HELD = 8

MEMORY = np.dtype(
    [
        ("first_at", "<i8"),
        ("last_at", "<i8"),
        ("last_id", "<u8"),
        ("regressed_since", "<i8"),  # ms, -1 = no span is open by what was last practised
        ("window_since", "<i8"),
        ("window_detected", "<i8"),  # ms, 0 = no plateau: none is detected on the first day
        ("attempts", "<u4"),
        ("scored", "<u4"),
        ("right", "<u4"),  # of the scored
        ("hits", "<i4"),  # recency-weighted count of right answers, 1e-6
        ("weight", "<i4"),  # recency-weighted count, 1e-6
        ("stability", "<i4"),  # days to 90 % recall, 1e-3
        ("struggles", "<i4"),  # see models.state.struggles: recency-weighted sum, 1e-6
        ("tries", "<i4"),  # recency-weighted count of attempts that say whether the learner struggled, 1e-6
        ("usual_time", "<i4"),  # ms
        ("timed", "<u4"),  # attempts with a duration
        ("window_attempts", "<u4"),
        ("window_item", "<u4"),
        ("difficulty", "<u2"),  # [1, 10], 1e-3
        ("peak_strength", "<i2"),  # greatest strength after an attempt, 1e-3, 0 = none
        ("window_days", "<u2"),
        ("window_last_day", "<u4"),  # UTC day number + 1, 0 = none
        ("window_quick_wrong", "<u2"),
        ("window_slow_right", "<u2"),
        ("window_repeated", "<u2"),
        ("window_outcomes", "u1"),  # of the last six answers, the newest in the lowest bit, 1 = right
        ("plateaus", PLATEAU, (2,)),  # ended ones, newest last
        ("regressions", REGRESSION, (2,)),
    ]
)
SKILL = np.dtype(
    [
        ("user", "<i8"),
        ("now", MEMORY),
        ("before", MEMORY),
        ("at", "<i8", (HELD,)),
        ("id", "<u8", (HELD,)),
        ("item", "<u4", (HELD,)),
        ("score", "<i2", (HELD,)),
        ("seconds", "<u2", (HELD,)),
        ("struggled", "i1", (HELD,)),
        ("strength", "i1", (HELD,)),  # just before each, 1/16, `NO_REVIEW` = it was no review
        ("held", "u1"),
        ("topic_stamp", "<u8"),
        ("reordered", "<u4"),
    ]
)
BOOKKEEPING = ("reordered",)
_ATTEMPT = ("at", "id", "item", "score", "seconds", "struggled")
_HELD = (*_ATTEMPT, "strength")

Rows = NDArray[np.void]


@dataclass(slots=True)
class Attempts:
    """Attempts ``(m,)`` as columns, in arrival order."""

    at: NDArray[np.int64]  # ms
    id: NDArray[np.uint64]  # 48-bit hash of the event id
    item: NDArray[np.uint32]  # hash of the content id
    score: NDArray[np.int16]  # 0..10000, -1 = none
    seconds: NDArray[np.uint16]  # duration, 65535 = unknown
    struggled: NDArray[np.int8]  # 0, 1, or -1 = unknown

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Attempts:
        """The chosen attempts."""
        return Attempts(*(getattr(self, name)[which] for name in _ATTEMPT))


def empty_skills(users: NDArray[np.int64]) -> Rows:
    """Rows ``(n,)`` of skills never practised, with the learners' ids."""
    rows = np.zeros(len(users), SKILL)
    begin_skills(rows, np.arange(len(users)), users)
    return rows


def begin_skills(rows: Rows, slots: NDArray[np.int64], users: NDArray[np.int64]) -> None:
    """Make the zeroed rows at ``slots (n,)`` those of skills that ``users (n,)`` never practised."""
    rows["user"][slots] = users
    for part in ("now", "before"):
        rows[part]["stability"][slots] = FIRST_STABILITY
        rows[part]["regressed_since"][slots] = -1
        rows[part]["difficulty"][slots] = FIRST_DIFFICULTY


def fold_attempts(
    rows: Rows, which: NDArray[np.int64], attempts: Attempts
) -> tuple[NDArray[np.bool_], Contributions]:
    """Fold attempts into SKILL rows ``(n,)`` in place, each skill's in arrival order.

    Args:
        rows: SKILL rows ``(n,)``.
        which: row of each attempt ``(m,)``.
        attempts: the attempts ``(m,)``.

    Returns:
        Which attempts ``(m,)`` came after more than eight later ones and were folded as well as the row
        allows; and what all attempts contribute to their learners' reviews.
    """
    reordered = np.zeros(len(which), bool)
    order = _in_turn(rows, which, attempts)
    rank = np.empty(len(which), np.int64)
    rank[order] = ranks(which[order])
    by_rank = np.argsort(rank, kind="stable")
    bounds = np.searchsorted(rank[by_rank], np.arange(rank.max(initial=-1) + 2))
    added: list[Contributions] = []
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        turn = by_rank[start:stop]
        part = rows[which[turn]]
        reordered[turn] = _fold_one_each(part, attempts.take(turn), which[turn], added)
        rows[which[turn]] = part
    return reordered, Contributions.joined(added)


def _in_turn(rows: Rows, which: NDArray[np.int64], attempts: Attempts) -> NDArray[np.int64]:
    """Attempts grouped by row, each row's in the order in which to fold them.

    That is the order of arrival. Where all of a row's attempts are newer than those it holds and are at most
    eight, it is the order of time: the result is the same, and appending is cheaper than inserting.
    """
    by_time = np.lexsort((attempts.id, attempts.at, which))
    arrival = np.argsort(which, kind="stable")
    size = np.bincount(which, minlength=len(rows))
    oldest = np.full(len(rows), np.iinfo(np.int64).max)
    np.minimum.at(oldest, which, attempts.at)
    simple = (size <= HELD) & (oldest > rows["now"]["last_at"])
    return np.where(simple[which[arrival]], by_time, arrival)


def _fold_one_each(
    rows: Rows, attempts: Attempts, which: NDArray[np.int64], added: list[Contributions]
) -> NDArray[np.bool_]:
    """Fold one attempt into each row ``(m,)``, the ``which (m,)`` of all; note what they contribute."""
    held = rows["held"].astype(np.int64)
    every_row = np.arange(len(rows))
    newest = np.maximum(held - 1, 0)
    later = (held == 0) | _after(
        attempts.at, attempts.id, rows["at"][every_row, newest], rows["id"][every_row, newest]
    )
    reordered = np.zeros(len(rows), bool)
    for chosen, fold in ((later, _append), (~later, _insert)):
        if chosen.any():
            part = rows[chosen]
            reordered[chosen] = fold(part, attempts.take(chosen), which[chosen], added)
            rows[chosen] = part
    return reordered


def _after(
    at: NDArray[np.int64], number: NDArray[np.uint64], other_at: NDArray[np.int64], other: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    return (at > other_at) | ((at == other_at) & (number > other))


def _append(
    rows: Rows, attempts: Attempts, which: NDArray[np.int64], added: list[Contributions]
) -> NDArray[np.bool_]:
    """Fold attempts that are each row's newest."""
    full = rows["held"] == HELD
    if full.any():
        part = rows[full]
        _drop_oldest(part)
        rows[full] = part
    every_row, place = np.arange(len(rows)), rows["held"].astype(np.int64)
    for name in _ATTEMPT:
        rows[name][every_row, place] = getattr(attempts, name)
    rows["held"] += 1
    strengths = _step(rows["now"], attempts)
    rows["strength"][every_row, place] = strengths
    added.append(_contributions(which, attempts.at, attempts.score, strengths, new=True))
    return np.zeros(len(rows), bool)


def _contributions(
    which: NDArray[np.int64],
    at: NDArray[np.int64],
    score: NDArray[np.int16],
    strengths: NDArray[np.int64],
    *,
    new: bool = False,
    sign: int = 1,
) -> Contributions:
    """What attempts contribute; the counts of attempts only once, when they are new."""
    right = score >= RIGHT_FROM
    counted = np.zeros(len(which), np.int64) if not new else (score >= 0).astype(np.int64)
    return Contributions(which, at, counted, counted * right, strengths, right, np.full(len(which), sign))


def _drop_oldest(rows: Rows) -> None:
    """Move the oldest of the eight held attempts into the state before them."""
    _step(rows["before"], Attempts(*(rows[name][:, 0].copy() for name in _ATTEMPT)))
    for name in _HELD:
        rows[name][:, :-1] = rows[name][:, 1:].copy()
        rows[name][:, -1] = 0
    rows["held"] -= 1


def _insert(
    rows: Rows, attempts: Attempts, which: NDArray[np.int64], added: list[Contributions]
) -> NDArray[np.bool_]:
    """Fold attempts that are older than some of the eight held: put them in their place and fold again."""
    _contribute_held(rows, which, added, sign=-1)
    none = np.full(len(rows), NO_REVIEW)
    added.append(_contributions(which, attempts.at, attempts.score, none, new=True))
    before = rows["before"]
    beyond = (
        (rows["held"] == HELD)
        & (before["attempts"] > 0)
        & ~_after(attempts.at, attempts.id, before["last_at"], before["last_id"])
    )
    if beyond.any():
        part = before[beyond]
        _step(part, attempts.take(beyond))
        before[beyond] = part
        rows["reordered"][beyond] = increased(rows["reordered"][beyond], 1)
    placed = ~beyond
    if placed.any():
        part = rows[placed]
        _place(part, attempts.take(placed), which[placed], added)
        rows[placed] = part
    now = rows["before"].copy()
    for turn in range(HELD):
        some = rows["held"] > turn
        if some.any():
            part = now[some]
            strengths = _step(part, Attempts(*(rows[name][some, turn] for name in _ATTEMPT)))
            rows["strength"][some, turn] = strengths
            now[some] = part
    rows["now"] = now
    _contribute_held(rows, which, added, sign=1)
    return beyond


def _contribute_held(rows: Rows, which: NDArray[np.int64], added: list[Contributions], *, sign: int) -> None:
    """Note what the held attempts contribute as reviews."""
    row, place = np.nonzero(np.arange(HELD) < rows["held"][:, None])
    at, score, strengths = (rows[name][row, place] for name in ("at", "score", "strength"))
    added.append(_contributions(which[row], at, score, strengths.astype(np.int64), sign=sign))


def _place(rows: Rows, attempts: Attempts, which: NDArray[np.int64], added: list[Contributions]) -> None:
    """Sort one attempt into each row's held ones; what no longer fits moves into the state before them."""
    many = len(rows)
    unused = np.arange(HELD + 1) >= np.c_[rows["held"], np.zeros(many, np.int64)].astype(np.int64)[:, :1]
    unused[:, HELD] = False
    columns = {name: np.c_[rows[name], getattr(attempts, name)] for name in _ATTEMPT}
    order = np.lexsort((columns["id"], columns["at"], unused), axis=1)
    columns = {name: np.take_along_axis(values, order, axis=1) for name, values in columns.items()}
    spill = rows["held"] == HELD
    if spill.any():
        part = rows["before"][spill]
        oldest = Attempts(*(columns[name][spill, 0] for name in _ATTEMPT))
        strengths = _step(part, oldest)
        rows["before"][spill] = part
        added.append(_contributions(which[spill], oldest.at, oldest.score, strengths))
    for name, values in columns.items():
        rows[name] = np.where(spill[:, None], values[:, 1:], values[:, :-1])
    rows["held"] = np.minimum(rows["held"] + 1, HELD)


def _step(state: Rows, attempts: Attempts) -> NDArray[np.int64]:
    """Fold one attempt into each MEMORY ``(m,)`` in place; strength before it ``(m,)`` if it was a review.

    An attempt older than the state's last counts at the time of that one: nothing runs backwards.
    """
    first = state["attempts"] == 0
    at = np.where(first, attempts.at, np.maximum(attempts.at, state["last_at"]))
    gap = np.where(first, 0, at - state["last_at"])
    scored, right = attempts.score >= 0, attempts.score >= RIGHT_FROM
    before = strength(state, gap)
    end_window_by_gap(state, gap, mastery(state["hits"], state["weight"]))
    open_by_silence(state, before)
    add_evidence(state, right, scored)
    add_struggle(state, attempts.struggled, attempts.seconds)
    state["stability"], state["difficulty"] = after_attempt(
        state["stability"], state["difficulty"], attempts.score, gap, first
    )
    state["attempts"] = increased(state["attempts"], 1)
    close_span(state, at, before, scored)
    after = mastery(state["hits"], state["weight"])
    extend_window(state, attempts.score, attempts.seconds, attempts.item, at, after)
    newer = (
        first
        | (attempts.at > state["last_at"])
        | ((attempts.at == state["last_at"]) & (attempts.id > state["last_id"]))
    )
    state["last_id"] = np.where(newer, attempts.id, state["last_id"])
    state["first_at"] = np.where(first, at, state["first_at"])
    state["last_at"] = at
    return np.where(scored & (gap >= REVIEW_AFTER), sixteenths(before), NO_REVIEW)

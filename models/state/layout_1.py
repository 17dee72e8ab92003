"""Layout 1 of stored rows, frozen: rows of it lie in changelogs and in Postgres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.state.mastery import NO_STRENGTH, thousandths
from lyo.models.state.reviews import NO_REVIEW

__all__ = ["LEARNER", "SKILL", "lower_learners", "lower_skills", "raise_learners", "raise_skills"]

RINGS = 3
"""Lesson completions, sessions, sentiment."""

LEARNER = np.dtype(
    [
        ("user", "<i8"),
        ("organization", "<i8"),
        ("newest", "<i8"),
        ("first", "<i8"),
        ("last_session", "<i8"),
        ("last_completion", "<i8"),
        ("open_since", "<i8"),
        ("fingerprint", "<u8"),
        ("zone_stamp", "<u8"),
        ("quiet_stamp", "<u8"),
        ("nudges_stamp", "<u8"),
        ("recent_sessions", "<u8", (16,)),
        ("recent_completions", "<u4", (16,)),
        ("outcome_at", "<u4", (12,)),
        ("applied", "<u4"),
        ("sessions", "<u4"),
        ("completions", "<u4"),
        ("score_sum", "<u4", (90,)),
        ("day", "<u2", (90,)),
        ("minutes", "<u2", (90,)),
        ("completed", "<u2", (90,)),
        ("scored", "<u2", (90,)),
        ("sentiment_sum", "<i2", (90,)),
        ("halfhours", "<u2", (90, 3)),
        ("started", "u1", (90,)),
        ("sentiments", "u1", (90,)),
        ("quiet_from", "<i2"),
        ("quiet_to", "<i2"),
        ("nudges", "<i2"),
        ("zone", "S32"),
        ("ring_count", "<u4", (RINGS,)),
        ("ring_low", "<u4", (RINGS, 64)),
        ("ring_high", "<u2", (RINGS, 64)),
    ]
)
PLATEAU = np.dtype(
    [
        ("since", "<u4"),
        ("detected", "<u4"),
        ("ended", "<u4"),
        ("attempts", "<u4"),
        ("mastery", "<i4"),
        ("improvement", "<i4"),
        ("reason", "u1"),
        ("pattern", "u1"),
    ]
)
REGRESSION = np.dtype(
    [("detected", "<u4"), ("ended", "<u4"), ("practised", "<u4"), ("peak", "<i4"), ("current", "<i4")]
)
MEMORY = np.dtype(
    [
        ("first_at", "<i8"),
        ("last_at", "<i8"),
        ("last_id", "<u8"),
        ("regressed_since", "<i8"),
        ("window_since", "<i8"),
        ("window_detected", "<i8"),
        ("window_jumps", "<i8"),
        ("attempts", "<u4"),
        ("scored", "<u4"),
        ("hits", "<i4"),
        ("weight", "<i4"),
        ("peak", "<i4"),
        ("stability", "<i4"),
        ("window_sum", "<i4"),
        ("window_fast", "<i4"),
        ("window_attempts", "<u4"),
        ("window_item", "<u4"),
        ("window_days", "<u2"),
        ("window_last_day", "<u2"),
        ("window_quick_wrong", "<u2"),
        ("window_slow_right", "<u2"),
        ("window_repeated", "<u2"),
        ("window_last", "<i2"),
        ("plateaus", PLATEAU, (2,)),
        ("regressions", REGRESSION, (2,)),
    ]
)
SKILL = np.dtype(
    [
        ("user", "<i8"),
        ("now", MEMORY),
        ("before", MEMORY),
        ("at", "<i8", (8,)),
        ("id", "<u8", (8,)),
        ("item", "<u4", (8,)),
        ("score", "<i2", (8,)),
        ("seconds", "<u2", (8,)),
        ("held", "u1"),
        ("topic_stamp", "<u8"),
        ("reordered", "<u4"),
    ]
)

Rows = NDArray[np.void]
_MILLISECOND = 1 << 21  # of a stamp
_COUNTED = {
    "recent_sessions": 1 << 16,
    "recent_completions": 1,
    "outcome_at": 1,
    "day": 1,
    "zone_stamp": _MILLISECOND,
    "quiet_stamp": _MILLISECOND,
    "nudges_stamp": _MILLISECOND,
}
"""Columns that layout 2 counts from 1, and what that one is."""
_SLOPE, _OFFSET = 0.4, 1.04
_RING = {"count": "ring_count", "low": "ring_low", "high": "ring_high"}


def raise_learners(old: Rows, new: Rows) -> None:
    """Finish LEARNER rows ``new (n,)``, in place, that have the like-named columns of ``old (n,)``.

    Layout 2 has a record for each ring of event ids, at the end of the row. Where 0 said "none" and was also
    the first moment of 1970, it has -1 for times in ms, and counts the others from 1. It counts struggles, of
    which the scores' sums tell how many there were if each was right or wrong, and about how many if not.
    """
    missed = old["scored"].astype(np.int64) * 10_000 - old["score_sum"].astype(np.int64)
    new["tried"] = old["scored"]
    new["struggled"] = (np.maximum(missed, 0) + 5_000) // 10_000
    for name in ("tried", "struggled"):
        new[f"all_{name}"] = new[name].sum(axis=1)
    for name, column in _RING.items():
        new["rings"][name][:, :RINGS] = old[column]
    _no_time(new["first"], old["sessions"] + old["completions"] == 0)
    _no_time(new["last_session"], old["sessions"] == 0)
    _no_time(new["last_completion"], old["completions"] == 0)
    _no_time(new["open_since"], old["open_since"] == 0)
    for name, offset in _COUNTED.items():
        new[name] += np.where(old[name] > 0, offset, 0).astype(old[name].dtype)


def lower_learners(new: Rows, old: Rows) -> None:
    """The reverse: finish rows ``old (n,)`` of this layout. Rings that it does not have are left out."""
    for name, column in _RING.items():
        old[column] = new["rings"][name][:, :RINGS]
    for name in ("newest", "first", "last_session", "last_completion", "open_since"):
        old[name] = np.maximum(new[name], 0)
    for name, offset in _COUNTED.items():
        old[name] -= np.where(new[name] > 0, offset, 0).astype(new[name].dtype)


def raise_skills(old: Rows, new: Rows) -> None:
    """The same for SKILL rows; of struggles, too, the held scores and the weighted sums tell.

    Layout 2 counts right answers where this one sums scores, and knows strength where this one knows mastery:
    they are estimated, and the next attempts replace the estimate. Windows begin anew.
    """
    new["struggled"] = np.where(old["score"] < 0, -1, old["score"] < 5_000)
    new["struggled"][np.arange(8) >= old["held"][:, None]] = 0
    for part in ("now", "before"):
        was, is_now = old[part], new[part]
        hits, weight = was["hits"].astype(np.int64), was["weight"].astype(np.int64)
        is_now["tries"] = np.minimum(weight, 3_333_333)
        is_now["struggles"] = (weight - hits) * is_now["tries"] // np.maximum(weight, 1)
        _no_time(is_now["regressed_since"], was["regressed_since"] == 0)
        level = hits / np.maximum(weight, 1)
        is_now["right"] = np.rint(was["scored"] * np.clip(level, 0.0, 1.0))
        is_now["stability"] = np.where(was["attempts"] > 0, was["stability"], is_now["stability"])
        is_now["peak_strength"] = np.where(was["peak"] > 0, _strength(was["peak"]), NO_STRENGTH)
        had = was["regressions"]["peak"] > 0
        is_now["regressions"]["peak_strength"] = np.where(had, _strength(was["regressions"]["peak"]), 0)
        is_now["regressions"]["strength"] = np.where(had, _strength(was["regressions"]["current"]), 0)
        _clear_windows(is_now)
    new["topic_stamp"] += np.where(old["topic_stamp"] > 0, _MILLISECOND, 0).astype(np.uint64)
    new["strength"] = np.where(np.arange(8) < old["held"][:, None], NO_REVIEW, 0)


def lower_skills(new: Rows, old: Rows) -> None:
    """The reverse for SKILL rows."""
    for part in ("now", "before"):
        is_now, was = new[part], old[part]
        was["regressed_since"] = np.maximum(is_now["regressed_since"], 0)
        was["peak"] = np.where(is_now["peak_strength"] == NO_STRENGTH, 0, _mastery(is_now["peak_strength"]))
        had = is_now["regressions"]["peak_strength"] != NO_STRENGTH
        was["regressions"]["peak"] = np.where(had, _mastery(is_now["regressions"]["peak_strength"]), 0)
        was["regressions"]["current"] = np.where(had, _mastery(is_now["regressions"]["strength"]), 0)
        _clear_windows(was)
    old["topic_stamp"] -= np.where(new["topic_stamp"] > 0, _MILLISECOND, 0).astype(np.uint64)


def _no_time(column: NDArray[np.int64], where: NDArray[np.bool_]) -> None:
    column[where] = -1


def _clear_windows(states: Rows) -> None:
    for name in states.dtype.names or ():
        if name.startswith("window_"):
            states[name] = 0


def _strength(mastery: NDArray[np.int32]) -> NDArray[np.int16]:
    """Strength, 1/1000, at which a learner of whom nothing is known has this mastery, 1e-6."""
    share = np.clip(mastery / 1e6, 0.01, 0.99)
    odds = (np.log(share / (1 - share)) - _OFFSET) / _SLOPE
    return thousandths(np.clip(odds, -3.0, 5.0))


def _mastery(strength: NDArray[np.int16]) -> NDArray[np.int32]:
    return np.rint(1e6 / (1.0 + np.exp(-(_SLOPE * strength / 1_000 + _OFFSET)))).astype(np.int32)

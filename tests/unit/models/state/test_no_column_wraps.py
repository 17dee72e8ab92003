"""No column of a row wraps, whatever time, id, count or sum the contract allows.

The fold is run a second time with every whole number of the rows widened to 64 bits. A column that holds less
must then hold the same, or the most that it can.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyo.models.arrays.zones import DAY
from lyo.models.engine import Engine
from lyo.models.events.checks import FIRST, LAST
from lyo.models.state import learner, plateau_window, regression_span, reviews, skill
from lyo.models.state.catalogue import Catalogue
from tests.support.learners.building import (
    Sent,
    by_kind,
    completion,
    outcome,
    preferences,
    request,
    sentiment,
    session,
)

NARROW = {
    "EVENT_IDS": learner.EVENT_IDS,
    "LEARNER": learner.LEARNER,
    "MEMORY": skill.MEMORY,
    "SKILL": skill.SKILL,
    "PLATEAU": plateau_window.PLATEAU,
    "REGRESSION": regression_span.REGRESSION,
    "REVIEW_DAY": reviews.REVIEW_DAY,
}
NO_COUNT = {"held", "low", "high", "halfhours", "item", "window_item", "window_outcomes", "difficulty"}
"""Places, parts of hashes, bit sets and a scale: nothing is added to them."""
NO_COUNT |= {"day", "window_last_day", "quiet_from", "quiet_to", "nudges", "strength", "score", "seconds"}
NO_COUNT |= {"reason", "pattern", "peak_strength", "stability", "usual_time"}
TIMES = st.one_of(
    st.sampled_from(
        [FIRST, 4_294_967_295_000, 4_294_967_296_000, 65_534 * DAY, 65_535 * DAY, 65_536 * DAY, LAST - 1]
    ),
    st.integers(FIRST, LAST - 1),
)


def widened(dtype: np.dtype[Any]) -> Any:
    """The type with every whole number of 64 bits."""
    if dtype.names is not None:
        return np.dtype([(name, widened(dtype[name])) for name in dtype.names])
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return np.dtype((widened(base), shape))
    return np.dtype("<i8") if dtype.kind in "iu" and dtype.itemsize < 8 else dtype


@contextmanager
def wide() -> Iterator[None]:
    """The models with wide rows."""
    others = [(dtype, widened(dtype)) for dtype in NARROW.values()]
    with pytest.MonkeyPatch.context() as patch:
        for module in [module for name, module in sys.modules.items() if name.startswith("lyo.models.")]:
            for name, value in list(vars(module).items()):
                for narrow, broad in others:
                    if value is narrow:
                        patch.setattr(module, name, broad)
        yield


def leaves(dtype: np.dtype[Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all columns of whole numbers."""
    for name in dtype.names or ():
        base = dtype[name].base
        if base.names is not None:
            yield from leaves(base, (*path, name))
        elif base.kind in "iu":
            yield (*path, name)


def column(rows: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        rows = rows[name]
    return rows


def folded(batches: list[list[Sent]], planted: dict[tuple[str, ...], int] | None = None) -> list[Any]:
    """The rows of learners and of skills; after the first batch some columns are given a value."""
    engine = Engine(Catalogue())
    for number, events in enumerate(batches):
        engine.fold(by_kind(events))
        for (table, *path), value in (planted or {}).items() if number == 0 else ():
            column(getattr(engine.state, table).rows, tuple(path))[...] = value
    return [engine.state.learners.rows.copy(), engine.state.skills.rows.copy()]


def compare(batches: list[list[Sent]], planted: dict[tuple[str, ...], int] | None = None) -> None:
    narrow = folded(batches, planted)
    with wide():
        broad = folded(batches, planted)
    for rows, reference in zip(narrow, broad, strict=True):
        for path in leaves(rows.dtype):
            held = column(rows, path)
            if held.dtype.itemsize < 8:
                most = np.iinfo(held.dtype).max
                expected = np.minimum(column(reference, path), most)
            else:
                expected = column(reference, path)
            assert (held == expected).all(), path


def life(at: int, name: str, user: int) -> list[Sent]:
    """An event of every kind at an instant."""
    return [
        session(user, at, minutes=1, name=f"s{name}"),
        completion(user, at, "algebra", score=0.4, duration_seconds=40, name=f"c{name}"),
        completion(user, at, "algebra", score=0.9, name=f"d{name}"),
        sentiment(user, at, -1.0, name=f"m{name}"),
        request(user, at, name=f"r{name}", content_id="x"),
        outcome(user, at, "returned", name=f"o{name}"),
        preferences(user, at, timezone="Europe/Berlin", name=f"p{name}"),
    ]


@settings(max_examples=25)
@given(st.lists(TIMES, min_size=1, max_size=6), st.integers(1, 2**63 - 1), st.text("ab", max_size=3))
def test_no_column_wraps_at_any_time(times: list[int], user: int, salt: str) -> None:
    earliest = [min(at, LAST - 120_000) for at in times]
    compare([life(at, f"{salt}{number}", user) for number, at in enumerate(earliest)])


@pytest.mark.parametrize("at", [4_294_967_296_000, 65_535 * DAY, LAST - 60 * DAY])
def test_spans_and_windows_hold_late_times(at: int) -> None:
    scores = [0.9] * 4 + [0.4, 0.6] * 6 + [1.0] * 6
    days = [at + place * DAY for place in range(len(scores))]
    after = [completion(7, days[-1] + 30 * DAY, "algebra", score=0.9, name="after")]
    events = [
        completion(7, day, "algebra", score=score, name=f"c{day}")
        for day, score in zip(days, scores, strict=True)
    ]
    compare([events, after])


COUNTS = [
    (table, *path)
    for table, dtype in (("learners", learner.LEARNER), ("skills", skill.SKILL))
    for path in leaves(dtype)
    if column(np.zeros(1, dtype), path).dtype.itemsize < 8
    and path[-1] not in NO_COUNT
    and (table, *path) != ("skills", "struggled")  # of each held attempt whether, not how often
]


@pytest.mark.parametrize("path", COUNTS, ids=".".join)
def test_a_full_count_stays_full(path: tuple[str, ...]) -> None:
    at = 20_000 * DAY
    dtype = {"learners": learner.LEARNER, "skills": skill.SKILL}[path[0]]
    most = int(np.iinfo(column(np.zeros(1, dtype), path[1:]).dtype).max)
    first, second = life(at, "first", 7), life(at + 60_000, "second", 7)
    compare([first, second], {path: most})

"""Times, numbers, axes and labels of the page."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyo.models.arrays.zones import DAY
from lyo.predictive.page import words
from lyo.predictive.page.charts import Axis, bar, labels_apart, path
from lyo.predictive.page.times import Clock, in_days

# -- words, times and geometry -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "offset"),
    [
        ("UTC", "UTC"),
        ("Europe/Berlin", "UTC+1"),
        ("Asia/Kathmandu", "UTC+5:45"),
        ("America/St_Johns", "UTC−3:30"),
    ],
)
def test_offsets_are_named(zone: str, offset: str) -> None:
    assert Clock(zone).offset(1_767_225_600_000) == offset  # 2026-01-01


def test_times_in_words_and_for_machines() -> None:
    clock = Clock("America/New_York")
    at = clock.ms(datetime(2026, 3, 8, 7, 30, tzinfo=UTC))  # after the change to daylight saving
    assert clock.time(at).text == "Sunday 8 March 2026, 03:30"
    assert clock.time(at).iso == "2026-03-08T03:30:00-04:00"
    assert clock.days_until(at - DAY, at) == 1
    assert [in_days(n) for n in (-2, -1, 0, 1, 9)] == [
        "2 days ago",
        "yesterday",
        "today",
        "tomorrow",
        "in 9 days",
    ]


@given(at=st.integers(0, 4_102_444_800_000))
def test_a_moment_survives_being_read_and_written(at: int) -> None:
    clock = Clock("Europe/Berlin")
    assert clock.ms(clock.local(at)) == at


def test_numbers_in_words() -> None:
    assert [words.signed(n) for n in (8, -5, 0)] == ["+0.08", "−0.05", "0.00"]
    assert [words.points(n) for n in (1, -2, 0)] == ["+1 point", "−2 points", "±0 points"]
    assert [words.days(n) for n in (0, 1, 8)] == ["0 days", "1 day", "8 days"]
    assert [words.hours(n) for n in (1, 2, 3)] == ["0.5 h", "1 h", "1.5 h"]


def test_axes_bars_and_paths() -> None:
    axis = Axis(0, 100, 148, 14)
    assert [axis(value) for value in (-5, 0, 50, 100, 200)] == [148, 148, 81, 14, 14]
    assert Axis(5, 5, 1, 2)(5) == 1
    assert (bar(10, 20, 80, 78).x, bar(10, 20, 80, 78).width) == (80, 39)
    assert (bar(-20, 20, 80, 78).x, bar(-20, 20, 80, 78).width) == (2, 78)
    assert bar(0, 0, 80, 78).width == 0
    assert path([(1, 2.5), (3, 4)]) == "M1 2.5 L3 4"
    assert path([]) == ""


@given(st.lists(st.floats(0, 340), max_size=8))
def test_labels_never_lie_on_each_other_and_stay_inside(wanted: list[float]) -> None:
    placed = labels_apart([(x, "12 May") for x in wanted], 0, 340, 56)
    shift = {"start": 0.0, "middle": -28.0, "end": -56.0}
    spans = sorted((label.x + shift[label.anchor], label.x + shift[label.anchor] + 56) for label in placed)
    assert all(before[1] <= after[0] + 1e-9 for before, after in itertools.pairwise(spans))
    assert all(low >= -1e-9 and high <= 340 + 1e-9 for low, high in spans)
    assert len(placed) > 0 or not wanted

"""Logs: facts as fields, one line each, and no floods."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from lyo.streams.log import MOST_OF_LIBRARIES, JsonLine, Limited, OneLine, facts


def record(message: str, *args: Any, at: float = 1_000_000_000.25, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord(
        "lyo.task", logging.INFO, __file__, 1, message, args, **({"exc_info": None} | more)
    )
    made.created = at
    return made


def test_what_a_template_names_becomes_a_field() -> None:
    made = record("task=%d open rows=%d seconds=%.2f", 3, 40, 0.5)
    assert facts(made) == {"task": 3, "rows": 40, "seconds": 0.5}
    line = json.loads(JsonLine().format(made))
    assert line == {
        "task": 3,
        "rows": 40,
        "seconds": 0.5,
        "time": "2001-09-09T01:46:40.250Z",
        "level": "info",
        "logger": "lyo.task",
        "message": "task=3 open rows=40 seconds=0.50",
    }


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ("dead letter: %s-%d@%d", ("t", 1, 2), {}),
        ("task=%d reads %s again from %d", (1, "t", 2), {"task": 1}),
        ("100%% of numbers=%s", ("all",), {"numbers": "all"}),
        ("nothing", (), {}),
        ("width=%*d", (3, 4), {}),
    ],
)
def test_what_a_template_does_not_name_stays_in_the_message(
    message: str, args: tuple[Any, ...], expected: dict[str, Any]
) -> None:
    assert facts(record(message, *args)) == expected


def test_a_field_cannot_take_the_place_of_the_time() -> None:
    line = json.loads(JsonLine().format(record("time=%s level=%s", "yesterday", "high")))
    assert line["time"] == "2001-09-09T01:46:40.250Z"
    assert line["level"] == "info"


def test_an_error_is_one_line() -> None:
    try:
        int("first\nsecond")
    except ValueError:
        made = record("it failed", exc_info=sys.exc_info())
    assert "\n" not in OneLine("%(message)s").format(made)
    text = JsonLine().format(made)
    assert "\n" not in text
    assert "first" in json.loads(text)["error"]


def test_a_flood_is_cut_and_counted_and_hides_nothing_else() -> None:
    limited = Limited(most=3, seconds=60)
    written = [limited.filter(record("Postgres is away: %s", n, at=n)) for n in range(10)]
    assert written == [True] * 3 + [False] * 7
    assert limited.filter(record("another", at=5.0))
    later = record("Postgres is away: %s", 60, at=60.0)
    assert limited.filter(later)
    assert OneLine("%(message)s").format(later) == "Postgres is away: 60 left_out=7"
    assert json.loads(JsonLine().format(later))["left_out"] == 7
    after = record("Postgres is away: %s", 61, at=61.0)
    assert limited.filter(after)
    assert not hasattr(after, "left_out")


def test_what_is_remembered_of_kinds_is_bounded() -> None:
    limited = Limited(most=1)
    for number in range(5_000):
        limited.filter(record(f"message {number}"))
    assert len(limited._kinds) <= 1_000


def test_a_library_that_repeats_itself_is_heard_less_often() -> None:
    limited, written = Limited(), 0
    for number in range(100):
        made = record("Unable connect to node with id %s", number, at=float(number) / 10)
        made.name = "aiokafka"
        written += limited.filter(made)
    assert written == MOST_OF_LIBRARIES

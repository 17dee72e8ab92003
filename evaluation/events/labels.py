"""Reads labels from a file: which learners had dropped out, and when the question is asked.

Three kinds of CSV are read (plain or `.gz`, any order of columns, others are kept for `--split`):
`user_id, at, dropped` asks at a time; `user_id, start, dropped` so many days after a date; OULAD's
enrolments, `user_id, course, registered_day, withdrawn_day`, ask so many days after the course began, and
whoever withdraws within the horizon has dropped out.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY

__all__ = ["COURSE_HORIZON", "Labelled", "read_labels"]

START_DAYS = (7, 14, 21, 30)
COURSE_DAYS = (28, 56, 84, 112)
COURSE_HORIZON = 28
GROUP_COLUMNS = ("group", "course")
PRESENTATIONS = {"B": 2, "J": 10}
"""Months in which OULAD's presentations begin, on the first: 2013B in February 2013, 2013J in October."""

Ints = NDArray[np.int64]
Row = dict[str, str]


@dataclass(slots=True)
class Labelled:
    """Labels ``(n,)``: learner, when asked (ms), whether dropped, days since the start (0 = asked at a time).

    ``columns`` are the file's, for `--split`.
    """

    user: Ints
    at: Ints
    dropped: NDArray[np.bool_]
    day: Ints
    columns: dict[str, list[str]]
    bad: list[tuple[int, str]] = field(default_factory=list)

    def group(self, split: str) -> Ints:
        """Number of what `--split` names, for each label: the learner, the group, or a column's value.

        Raises:
            ValueError: there is no such column.
        """
        if split == "learner":
            return self.user
        names = GROUP_COLUMNS if split == "group" else (split,)
        for name in names:
            if name in self.columns:
                _, numbers = np.unique(np.array(self.columns[name], str), return_inverse=True)
                return numbers.astype(np.int64)
        known = ", ".join(["learner", *self.columns])
        raise ValueError(f"the labels have no column {split!r} to split by: there are {known}")


def read_labels(path: Path, days: tuple[int, ...] | None, horizon: int | None) -> Labelled:
    """Read a label file; a line that cannot be used is listed by its number, counted from 1.

    Args:
        path: CSV with a header.
        days: days after `start` or the course's first day at which to ask; None: 7, 14, 21, 30, and 28, 56,
            84, 112 for OULAD.
        horizon: days within which a withdrawal counts, OULAD only; None: 28.

    Raises:
        OSError: the file cannot be read.
        ValueError: its columns are none of the three kinds.
    """
    with _opened(path) as text:
        lines = csv.DictReader(text)
        header = [name.strip() for name in lines.fieldnames or ()]
        lines.fieldnames = header
        expand = _kind(header, days, horizon)
        rows: list[tuple[int, int, bool, int]] = []
        kept: dict[str, list[str]] = {name: [] for name in header if name != "user_id"}
        bad: list[tuple[int, str]] = []
        for row in lines:
            try:
                user = int(float(row["user_id"]))
                labels = [(user, *label) for label in expand(row)]
            except (ValueError, KeyError, TypeError) as error:
                bad.append((lines.line_num, str(error)))
                continue
            rows += labels
            for name in kept:
                kept[name] += [row[name] or ""] * len(labels)
    table = np.array(rows, np.int64).reshape(-1, 4)
    return Labelled(table[:, 0], table[:, 1], table[:, 2] == 1, table[:, 3], kept, bad)


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _kind(
    header: list[str], days: tuple[int, ...] | None, horizon: int | None
) -> Callable[[Row], Iterator[tuple[int, bool, int]]]:
    """A function from a row to the times of its questions, the label, and the days after the start."""
    if "user_id" not in header:
        raise ValueError(f"no column user_id: the columns are {', '.join(header) or 'none'}")
    if "dropped" in header and "at" in header:
        return lambda row: iter([(_instant(row["at"]), _flag(row["dropped"]), 0)])
    if "dropped" in header and "start" in header:
        return lambda row: (
            (_instant(row["start"]) + day * DAY, _flag(row["dropped"]), day) for day in days or START_DAYS
        )
    if "withdrawn_day" in header and "course" in header:
        return lambda row: _enrolled(row, days or COURSE_DAYS, COURSE_HORIZON if horizon is None else horizon)
    raise ValueError(
        "labels need user_id, dropped and at or start; or OULAD's user_id, course and withdrawn_day"
    )


def _enrolled(row: Row, days: tuple[int, ...], horizon: int) -> Iterator[tuple[int, bool, int]]:
    """Questions on each day on which the learner is enrolled."""
    year, presentation = row["course"].rpartition("-")[2][:4], row["course"][-1:]
    if presentation not in PRESENTATIONS or not year.isdecimal():
        raise ValueError(f"course: {row['course']!r} does not end in a presentation such as 2013J")
    start = datetime(int(year), PRESENTATIONS[presentation], 1, tzinfo=UTC)
    registered = float(row["registered_day"]) if row.get("registered_day") else float("-inf")
    withdrawn = float(row["withdrawn_day"]) if row["withdrawn_day"] else float("inf")
    for day in days:
        if registered <= day < withdrawn:
            yield round(start.timestamp() * 1000) + day * DAY, withdrawn <= day + horizon, day


def _instant(text: str) -> int:
    """A date or an RFC 3339 time, in ms; UTC where it names no offset."""
    moment = datetime.fromisoformat(text.strip())
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _flag(text: str) -> bool:
    known = {
        "1": True,
        "true": True,
        "yes": True,
        "1.0": True,
        "0": False,
        "false": False,
        "no": False,
        "0.0": False,
    }
    value = known.get(text.strip().lower())
    if value is None:
        raise ValueError(f"dropped: {text!r} is neither 1 nor 0")
    return value

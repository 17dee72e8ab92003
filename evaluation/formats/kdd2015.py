"""KDD Cup 2015: what learners did in XuetangX courses, and whether they then stayed away.

One learner here is one enrolment. Clicks with less than half an hour between them are one session. Labels:
each enrolment's course, the course's first day (of `date.csv`, else that of its first click) and the truth.
"""

from __future__ import annotations

from array import array
from datetime import UTC, datetime

import numpy as np

from lyo.evaluation.formats.csv_tables import BadLine, Table, instant, whole
from lyo.evaluation.formats.writing import Output
from lyo.models.arrays.zones import DAY

__all__ = ["convert"]

APART = 30 * 60_000
SHORTEST, LONGEST = 60_000, DAY
TRUTH = ("enrollment_id", "dropped")


def convert(tables: list[Table], output: Output) -> None:
    """Read log, enrollment, truth and date, as far as they are given.

    Raises:
        ValueError: there is no log.
    """
    logs = [table for table in tables if table.stem.startswith("log")]
    if not logs:
        raise ValueError("no log_train.csv: it says what the learners did")
    first_click: dict[int, int] = {}
    for table in logs:
        _sessions(table, first_click, output)
    courses = _courses([table for table in tables if table.stem.startswith("enrol")], output)
    starts = _starts([table for table in tables if table.stem.startswith("date")], output)
    for user, course in courses.items():
        if course not in starts and user in first_click:
            mine = (
                first_click[enrolment]
                for enrolment, name in courses.items()
                if name == course and enrolment in first_click
            )
            starts[course] = min(mine) // DAY * DAY
    truths = _truths([table for table in tables if table.stem.startswith("truth")], output)
    output.label(
        ("user_id", "course", "start", "dropped"),
        (
            (user, courses[user], _date(starts[courses[user]]), dropped)
            for user, dropped in truths.items()
            if courses.get(user) in starts
        ),
    )


def _sessions(table: Table, first_click: dict[int, int], output: Output) -> None:
    users, times, numbers = array("q"), array("q"), array("q")
    for line, row in output.rows(table):
        try:
            user, at = whole(row, "enrollment_id"), instant(row, "time")
        except BadLine as error:
            output.refuse(table, line, error)
            continue
        users.append(user)
        times.append(at)
        numbers.append(line)
        first_click[user] = min(at, first_click.get(user, at))
    order = np.lexsort((np.array(times, np.int64), np.array(users, np.int64)))
    who_of, at_of = np.array(users, np.int64)[order], np.array(times, np.int64)[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (who_of[1:] != who_of[:-1]) | (at_of[1:] - at_of[:-1] >= APART)
    first = np.flatnonzero(begins)
    last = np.r_[first[1:], len(order)] - 1
    for start, end in zip(first.tolist(), last.tolist(), strict=True):
        who, begin = int(who_of[start]), int(at_of[start])
        finish = min(max(int(at_of[end]), begin + SHORTEST), begin + LONGEST)
        try:
            output.session(begin, finish, event_id=f"kdd2015-{who}-{begin}", user_id=who)
        except BadLine as error:
            output.refuse(table, numbers[int(order[start])], error)


def _courses(tables: list[Table], output: Output) -> dict[int, str]:
    courses: dict[int, str] = {}
    for table in tables:
        for line, row in output.rows(table):
            try:
                courses.setdefault(whole(row, "enrollment_id"), row.get("course_id", ""))
            except BadLine as error:
                output.refuse(table, line, error)
    return courses


def _starts(tables: list[Table], output: Output) -> dict[str, int]:
    starts: dict[str, int] = {}
    for table in tables:
        for line, row in output.rows(table):
            try:
                starts[row.get("course_id", "")] = instant(row, "from")
            except BadLine as error:
                output.refuse(table, line, error)
    return starts


def _truths(tables: list[Table], output: Output) -> dict[int, int]:
    """`truth_train.csv` has no header: enrolment, and 1 for dropped."""
    truths: dict[int, int] = {}
    for table in tables:
        named = "enrollment_id" in table.header()
        for line, row in output.rows(table, None if named else TRUTH):
            try:
                user, value = whole(row, "enrollment_id"), whole(row, list(row)[1])
            except BadLine as error:
                output.refuse(table, line, error)
                continue
            if value in (0, 1):
                truths.setdefault(user, value)
            else:
                output.refuse(table, line, f"{list(row)[1]}: {value} is neither 1 nor 0")
    return truths


def _date(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).date().isoformat()

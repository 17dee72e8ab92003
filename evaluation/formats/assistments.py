"""ASSISTments: the releases of 2009, 2012, 2015 and 2017, recognised by their columns.

A problem becomes a lesson completion, right or wrong in its score (parts of a point as they are), with the
skills of all its rows: 2009 repeats a problem for each of its skills under the same ``order_id``, 2017 under
the same ``startTime``. Scaffolding questions (``original`` 0) are left out of 2009 and 2012. 2009 and 2015
have no times, only an order: times are made up from it, so gaps mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lyo.evaluation.formats.csv_tables import BadLine, Row, Table, instant, number, text, whole
from lyo.evaluation.formats.writing import Output

__all__ = ["convert"]

AUTUMN_2009 = 1_251_763_200_000  # 2009-09-01, UTC
AUTUMN_2014 = 1_409_529_600_000  # 2014-09-01, UTC
TENTH = 100
SECOND = 1000
LONGEST_MS = 86_400_000
NO_SKILL = ("", "na", "nan", "noskill")


@dataclass(slots=True)
class _Problem:
    """One answer, with the skills that its rows name."""

    user: int
    at: int
    content: str
    score: float
    seconds: float | None
    number: int
    skills: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Release:
    """The columns of a release; `at` reads the time in ms.

    Rows of one `key`, learner and content are one problem; `repeats` says whether there are several.
    """

    name: str
    user: str
    key: tuple[str, ...]
    content: str
    skill: tuple[str, ...]
    at: Callable[[Row], int]
    milliseconds: str | None = None
    seconds: str | None = None
    scaffolding: bool = False
    repeats: bool = True


def _finished(row: Row) -> int:
    """2017 gives seconds since 1970."""
    for column in ("endtime", "starttime"):
        if (value := number(row, column)) is not None:
            return round(value * SECOND)
    raise BadLine("starttime: missing")


RELEASES = (
    _Release(
        "2017",
        "studentid",
        ("starttime", "actionid"),
        "problemid",
        ("skill",),
        _finished,
        seconds="timetaken",
        scaffolding=True,
    ),
    _Release(
        "2012",
        "user_id",
        ("problem_log_id", "problemlogid"),
        "problem_id",
        ("skill_id", "skill"),
        lambda row: instant(row, "end_time" if row.get("end_time") else "start_time"),
        milliseconds="ms_first_response",
        repeats=False,
    ),
    _Release(
        "2009",
        "user_id",
        ("order_id",),
        "problem_id",
        ("skill_id", "list_skill_ids", "skill_name", "list_skills"),
        lambda row: AUTUMN_2009 + whole(row, "order_id") * SECOND,
        milliseconds="ms_first_response",
    ),
    _Release(
        "2015",
        "user_id",
        ("log_id",),
        "sequence_id",
        ("sequence_id",),
        lambda row: AUTUMN_2014 + whole(row, "log_id") * TENTH,
        repeats=False,
    ),
)


def convert(tables: list[Table], output: Output) -> None:
    """Read each table as the release whose columns it has.

    Raises:
        ValueError: a table is none of them.
    """
    for table in tables:
        release = _release(table)
        if release.name in ("2009", "2015"):
            output.notes.append(f"{table.name}: {release.name} has no times, they are made up from its order")
        _convert(table, release, output)


def _release(table: Table) -> _Release:
    header = set(table.header())
    for release in RELEASES:
        if {release.user, release.content, "correct"} <= header and header & set(release.key):
            return release
    raise ValueError(f"{table.name}: none of the ASSISTments releases of 2009, 2012, 2015 and 2017")


def _convert(table: Table, release: _Release, output: Output) -> None:
    problems: dict[tuple[int, str, str], _Problem] = {}
    for line, row in output.rows(table):
        try:
            if number(row, "original") == 0 and not release.scaffolding:
                continue
            key = text(row, next((name for name in release.key if name in row), release.key[0]))
            problem = _problem(row, release, line)
            if release.repeats:
                problem = problems.setdefault((problem.user, key, problem.content), problem)
            problem.skills += [skill for skill in _skills(row, release) if skill not in problem.skills]
            if not release.repeats:
                _write(release, key, problem, output)
        except BadLine as error:
            output.refuse(table, line, error)
    for (_, key, _), problem in problems.items():
        try:
            _write(release, key, problem, output)
        except BadLine as error:
            output.refuse(table, problem.number, error)


def _write(release: _Release, key: str, problem: _Problem, output: Output) -> None:
    output.completion(
        problem.at,
        event_id=f"assistments{release.name}-{key}-{problem.content}",
        user_id=problem.user,
        content_id=problem.content,
        content_type="problem",
        skills=problem.skills,
        score=problem.score,
        duration_seconds=problem.seconds,
    )


def _problem(row: Row, release: _Release, line: int) -> _Problem:
    score = number(row, "correct")
    if score is None:
        raise BadLine("correct: missing")
    content, user = text(row, release.content), whole(row, release.user)
    return _Problem(user, release.at(row), content, score, _seconds(row, release), line)


def _seconds(row: Row, release: _Release) -> float | None:
    """How long the answer took (s); impossible values (negative, over a day) are unknown."""
    value = None
    if release.milliseconds is not None:
        value = number(row, release.milliseconds)
        value = None if value is None else value / 1000
    elif release.seconds is not None:
        value = number(row, release.seconds)
    return value if value is not None and 0 <= value <= LONGEST_MS / 1000 else None


def _skills(row: Row, release: _Release) -> list[str]:
    for column in release.skill:
        if named := row.get(column, ""):
            parts = named.replace("_", ";").split(";") if "list" in column else [named]
            known = (part.strip() for part in parts if part.strip().lower() not in NO_SKILL)
            return [_plain(part) for part in known]
    return []


def _plain(skill: str) -> str:
    """An id without the `.0` that a spreadsheet has added."""
    return skill[:-2] if skill.endswith(".0") and skill[:-2].isdecimal() else skill

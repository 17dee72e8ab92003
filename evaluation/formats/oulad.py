"""OULAD, the Open University's learning analytics data (Kuzilek, Hlosta, Zdrahal 2017, CC BY 4.0).

One learner here is one enrolment: its number is given in the order of `studentRegistration`. An assessment
becomes a completion, its score a hundredth of the mark; a day with clicks in the virtual learning environment
a session of half a minute a click, four hours at most. Times are noon of the day, counted from the first of
February (B) or October (J). Labels: the enrolments, as `lyo evaluate --labels` takes them.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

from lyo.evaluation.formats.csv_tables import BadLine, Row, Table, number, text, whole
from lyo.evaluation.formats.writing import Output
from lyo.models.arrays.zones import DAY

__all__ = ["convert"]

NOON = DAY // 2
MONTHS = {"B": 2, "J": 10}
CLICK = 30_000
LONGEST = 4 * 3_600_000

Enrolment = tuple[str, str, int]  # module, presentation, student


def convert(tables: list[Table], output: Output) -> None:
    """Read studentRegistration, assessments, studentAssessment, studentVle, studentInfo, as far as given.

    Raises:
        ValueError: there is no studentRegistration, or studentAssessment without assessments.
    """
    by_name = {table.stem: table for table in tables}
    if "studentregistration" not in by_name:
        raise ValueError("studentRegistration.csv is missing: it says who is enrolled")
    if "studentassessment" in by_name and "assessments" not in by_name:
        raise ValueError(
            "studentAssessment.csv needs assessments.csv, which names the module of each assessment"
        )
    users, registered = _registrations(by_name["studentregistration"], output)
    if "studentassessment" in by_name:
        _assessments(by_name["assessments"], by_name["studentassessment"], users, output)
    if "studentvle" in by_name:
        _clicks(by_name["studentvle"], users, output)
    results = _results(by_name["studentinfo"], output) if "studentinfo" in by_name else {}
    output.label(
        ("user_id", "course", "registered_day", "withdrawn_day", "final_result"),
        (
            (users[who], f"{who[0]}-{who[1]}", _day(first), _day(last), results.get(who, ""))
            for who, (first, last) in registered.items()
        ),
    )


def _who(row: Row) -> Enrolment:
    return text(row, "code_module"), text(row, "code_presentation"), whole(row, "id_student")


def _noon(presentation: str, day: float) -> int:
    if presentation[:4].isdecimal() and presentation[4:] in MONTHS:
        start = datetime(int(presentation[:4]), MONTHS[presentation[4:]], 1, tzinfo=UTC)
        return round(start.timestamp() * 1000) + round(day) * DAY + NOON
    raise BadLine(f"code_presentation: {presentation[:20]!r} is not a presentation such as 2013J")


def _registrations(
    table: Table, output: Output
) -> tuple[dict[Enrolment, int], dict[Enrolment, tuple[float | None, float | None]]]:
    users: dict[Enrolment, int] = {}
    days: dict[Enrolment, tuple[float | None, float | None]] = {}
    for line, row in output.rows(table):
        try:
            who = _who(row)
            dates = number(row, "date_registration"), number(row, "date_unregistration")
        except BadLine as error:
            output.refuse(table, line, error)
            continue
        users.setdefault(who, len(users) + 1)
        days.setdefault(who, dates)
    return users, days


def _assessments(about: Table, table: Table, users: dict[Enrolment, int], output: Output) -> None:
    modules: dict[int, tuple[str, str, str]] = {}
    for line, row in output.rows(about):
        try:
            kind = row.get("assessment_type", "")
            modules[whole(row, "id_assessment")] = row["code_module"], row["code_presentation"], kind
        except (BadLine, KeyError) as error:
            output.refuse(about, line, error)
    for line, row in output.rows(table):
        try:
            name = whole(row, "id_assessment")
            module, presentation, kind = _among(modules, name)
            user = _enrolled(users, (module, presentation, whole(row, "id_student")))
            score = number(row, "score")
            output.completion(
                _noon(presentation, whole(row, "date_submitted")),
                event_id=f"oulad-{user}-{name}",
                user_id=user,
                content_id=str(name),
                content_type="assessment",
                topic=f"{module}-{presentation}",
                skills=[f"{module}:{kind}"],
                score=None if score is None else score / 100,
            )
        except BadLine as error:
            output.refuse(table, line, error)


def _among(modules: dict[int, tuple[str, str, str]], name: int) -> tuple[str, str, str]:
    if name not in modules:
        raise BadLine(f"id_assessment: {name} is not among the assessments")
    return modules[name]


def _clicks(table: Table, users: dict[Enrolment, int], output: Output) -> None:
    """Clicks of a day over all pages are one session."""
    clicks: dict[tuple[int, str, int], float] = defaultdict(float)
    lines: dict[tuple[int, str, int], int] = {}
    for line, row in output.rows(table):
        try:
            module, presentation, student = _who(row)
            key = _enrolled(users, (module, presentation, student)), presentation, whole(row, "date")
            clicks[key] += number(row, "sum_click") or 0.0
        except BadLine as error:
            output.refuse(table, line, error)
            continue
        lines.setdefault(key, line)
    for (user, presentation, day), count in clicks.items():
        try:
            start = _noon(presentation, day)
            length = min(max(round(count * CLICK), CLICK), LONGEST)
            output.session(start, start + length, event_id=f"oulad-{user}-day{day}", user_id=user)
        except BadLine as error:
            output.refuse(table, lines[user, presentation, day], error)


def _results(table: Table, output: Output) -> dict[Enrolment, str]:
    results: dict[Enrolment, str] = {}
    for line, row in output.rows(table):
        try:
            results[_who(row)] = row.get("final_result", "")
        except BadLine as error:
            output.refuse(table, line, error)
    return results


def _enrolled(users: dict[Enrolment, int], who: Enrolment) -> int:
    if who not in users:
        raise BadLine(f"id_student: {who[2]} is not enrolled in {who[0]} {who[1]}")
    return users[who]


def _day(day: float | None) -> str:
    return "" if day is None else f"{day:g}"

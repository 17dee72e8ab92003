"""Question sequences as pyKT and XES3G5M publish them: one row holds a learner's next 200 answers.

Columns `uid`, `questions`, `concepts`, `responses`, `timestamps` (ms), each a list with commas, padded with
-1; the concepts of one question are joined by `_`, or, in files by concept, a question is repeated for each
one (`is_repeat` 1). A learner whose rows repeat an answer has it once. Learners are numbered
from 0 there and from 1 here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lyo.evaluation.formats.csv_tables import BadLine, Row, Table, whole
from lyo.evaluation.formats.writing import Output

__all__ = ["convert"]

PADDING = ("-1", "")
NEEDED = ("uid", "concepts", "responses", "timestamps")


@dataclass(slots=True)
class _Answer:
    place: int
    at: int
    question: str
    right: float
    concepts: list[str] = field(default_factory=list)


def convert(tables: list[Table], output: Output) -> None:
    """Read every table.

    Raises:
        ValueError: a table lacks one of the columns.
    """
    for table in tables:
        header = table.header()
        missing = [name for name in NEEDED if name not in header]
        if missing:
            raise ValueError(f"{table.name}: no column {missing[0]}: not a table of question sequences")
        written: set[tuple[int, int, str]] = set()
        for line, row in output.rows(table):
            try:
                user = whole(row, "uid") + 1
                answers = list(_answers(row))
            except BadLine as error:
                output.refuse(table, line, error)
                continue
            for answer in answers:
                name = user, answer.at, answer.question
                if name not in written:
                    written.add(name)
                    _write(table, line, user, answer, output)


def _write(table: Table, line: int, user: int, answer: _Answer, output: Output) -> None:
    try:
        output.completion(
            answer.at,
            event_id=f"xes-{answer.at}-{answer.question}",
            user_id=user,
            content_id=f"q{answer.question}",
            content_type="question",
            skills=[f"k{concept}" for concept in dict.fromkeys(answer.concepts)],
            score=answer.right,
        )
    except BadLine as error:
        output.refuse(table, line, f"answer {answer.place}: {error}")


def _answers(row: Row) -> Iterator[_Answer]:
    """The answers of one row; a repetition for another concept joins the one before it."""
    concepts, responses, times = (row[name].split(",") for name in ("concepts", "responses", "timestamps"))
    questions = row["questions"].split(",") if row.get("questions") else concepts
    repeats = row["is_repeat"].split(",") if row.get("is_repeat") else ["0"] * len(concepts)
    size = len(concepts)
    if not size == len(responses) == len(times) == len(questions):
        raise BadLine(f"lists of {size}, {len(responses)}, {len(times)} and {len(questions)} entries")
    last: _Answer | None = None
    for place in range(size):
        if responses[place].strip() in PADDING:
            continue
        named = [concept for concept in concepts[place].strip().split("_") if concept not in PADDING]
        if last is not None and place < len(repeats) and repeats[place].strip() == "1":
            last.concepts += named
            continue
        if last is not None:
            yield last
        last = _Answer(
            place + 1,
            whole({"timestamps": times[place].strip()}, "timestamps"),
            questions[place].strip(),
            _right(responses[place].strip()),
            named,
        )
    if last is not None:
        yield last


def _right(text: str) -> float:
    if text not in ("0", "1", "0.0", "1.0"):
        raise BadLine(f"responses: {text[:20]!r} is neither 1 nor 0")
    return float(text)

"""Writes the event file: checked, in the order of time, in whatever order rows come."""

from __future__ import annotations

import csv
import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import IO, Any

import msgspec

from lyo.evaluation.formats.csv_tables import BadLine, Row, Table
from lyo.models.events.decode import Kind, decode

__all__ = ["Output"]

PIECE = 200_000
"""Most events in memory; the others wait in sorted temporary files."""
OFTEN = 20_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = msgspec.json.encode

Line = tuple[int, int, bytes]


@dataclass(slots=True)
class Output:
    """Collects events and bad lines.

    Args:
        on_bad: called for each bad line with table, number and reason.
        labels: a file for the format's labels; None: they are not written.
        user: id of the learner if the format names none.
        on_rows: called from time to time with the table and line being read.
    """

    on_bad: Callable[[str, int, str], None]
    labels: IO[str] | None = None
    user: int = 1
    on_rows: Callable[[str, int], None] | None = None
    written: int = 0
    bad: int = 0
    notes: list[str] = field(default_factory=list)
    _held: list[Line] = field(default_factory=list)
    _spilled: list[IO[bytes]] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    def rows(self, table: Table, columns: tuple[str, ...] | None = None) -> Iterator[tuple[int, Row]]:
        """A table's good rows with their numbers; bad ones are reported."""
        for number, row in table.rows(columns):
            if self.on_rows is not None and number % OFTEN == 0:
                self.on_rows(table.name, number)
            if isinstance(row, BadLine):
                self.refuse(table, number, row)
            else:
                yield number, row

    def refuse(self, table: Table, number: int, error: object) -> None:
        """Report a bad line."""
        self.bad += 1
        self.on_bad(table.name, number, str(error))

    def completion(self, at: int, **fields: Any) -> None:
        """Add a lesson completion that ended at ``at`` (ms).

        Raises:
            BadLine: it would be refused.
        """
        self._take(Kind.LESSON_COMPLETION, at, {"occurred_at": _text(at), **fields})

    def session(self, start: int, end: int, **fields: Any) -> None:
        """Add a session from ``start`` to ``end`` (ms).

        Raises:
            BadLine: it would be refused.
        """
        self._take(Kind.SESSION, end, {"started_at": _text(start), "ended_at": _text(end), **fields})

    def label(self, names: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
        """Write labels, if they are wanted."""
        if self.labels is not None:
            table = csv.writer(self.labels, lineterminator="\n")
            table.writerow(names)
            table.writerows(rows)

    def lines(self) -> Iterator[bytes]:
        """The lines of the event file, in the order of time; afterwards the output is empty."""
        self._held.sort()
        with self._stack:
            for _, _, line in heapq.merge(self._held, *map(_read_back, self._spilled)):
                yield line + b"\n"
        self._held.clear()
        self._spilled.clear()

    def _take(self, kind: Kind, at: int, fields: dict[str, Any]) -> None:
        known = {name: value for name, value in fields.items() if value is not None}
        line = _encode({"type": kind.value, **known})
        _, refused = decode(kind, None, [line], [-1])
        if refused:
            raise BadLine(refused[0].reason)
        self._held.append((at, self.written, line))
        self.written += 1
        if len(self._held) >= PIECE:
            self._spill()

    def _spill(self) -> None:
        file = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with the stack
        self._held.sort()
        for at, number, line in self._held:
            file.write(b"%d %d " % (at, number) + line + b"\n")
        file.seek(0)
        self._spilled.append(file)
        self._held.clear()


def _read_back(file: IO[bytes]) -> Iterator[Line]:
    for line in file:
        at, number, rest = line.rstrip(b"\n").split(b" ", 2)
        yield int(at), int(number), rest


def _text(at: int) -> str:
    return (_EPOCH + timedelta(milliseconds=at)).isoformat().replace("+00:00", "Z")

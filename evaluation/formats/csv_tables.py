"""Reads publishers' tables: CSV or TSV, plain, in `.gz` or `.zip`, in UTF-8 or Windows-1252.

Each line is read as UTF-8, with or without a byte-order mark, and as Windows-1252 where it is not valid:
some of these files change their encoding in the middle. Column names are compared in lower case.
"""

from __future__ import annotations

import csv
import gzip
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, cast

__all__ = ["BadLine", "Row", "Table", "instant", "number", "tables", "text", "whole"]

UNKNOWN = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "\\n"})
FIELD_LIMIT = 10_000_000
NUL = "\0"

Row = dict[str, str]


class BadLine(ValueError):
    """A line that cannot be used; the message names the column."""


@dataclass(slots=True)
class Table:
    """One table. ``name`` is the file's, or that inside the archive; ``path`` where it is found."""

    name: str
    path: Path
    opened: Callable[[], AbstractContextManager[IO[bytes]]]

    @property
    def stem(self) -> str:
        """The name without folders and endings, in lower case."""
        return Path(self.name).name.lower().split(".")[0]

    def header(self) -> list[str]:
        """Column names, in lower case."""
        with self.opened() as raw:
            lines = _decoded(raw)
            first = next(lines, "")
        return [name.strip().lower() for name in next(csv.reader([first], delimiter=_delimiter(first)), [])]

    def rows(self, columns: tuple[str, ...] | None = None) -> Iterator[tuple[int, Row | BadLine]]:
        """Each row by column, or its error, with the number of its last line, counted from 1.

        Args:
            columns: names to use where the file has no header.
        """
        csv.field_size_limit(FIELD_LIMIT)
        with self.opened() as raw:
            lines = _decoded(raw)
            first = next(lines, "")
            reader = csv.reader(_joined(first, lines), delimiter=_delimiter(first))
            names = list(columns) if columns else [name.strip().lower() for name in next(reader, [])]
            while True:
                try:
                    values = next(reader, None)
                except csv.Error as error:
                    yield reader.line_num, BadLine(str(error))
                    continue
                if values is None:
                    return
                if not any(values):
                    continue
                if len(values) < len(names):
                    yield reader.line_num, BadLine(f"{len(values)} columns instead of {len(names)}")
                else:
                    yield reader.line_num, dict(zip(names, map(str.strip, values), strict=False))


def tables(paths: list[Path]) -> Iterator[Table]:
    """All tables of these files; of a zip archive every member.

    Raises:
        OSError, zipfile.BadZipFile: a file cannot be read.
    """
    for path in paths:
        if path.suffix == ".zip" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [member.filename for member in archive.infolist() if not member.is_dir()]
            for name in names:
                if not Path(name).name.startswith("."):
                    yield Table(name, path, partial(_member, path, name))
        elif path.suffix == ".gz":
            yield Table(path.name, path, partial(_packed, path))
        else:
            yield Table(path.name, path, partial(_plain, path))


@contextmanager
def _plain(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as raw:
        yield raw


@contextmanager
def _packed(path: Path) -> Iterator[IO[bytes]]:
    with gzip.open(path) as raw:
        yield cast("IO[bytes]", raw)


@contextmanager
def _member(path: Path, name: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(name) as raw:
        if name.endswith(".gz"):
            with gzip.open(raw) as packed:
                yield cast("IO[bytes]", packed)
        else:
            yield raw


def _decoded(raw: IO[bytes]) -> Iterator[str]:
    for place, line in enumerate(raw):
        clean = line.removeprefix(b"\xef\xbb\xbf") if not place else line
        try:
            text = clean.decode("utf-8")
        except UnicodeDecodeError:
            text = clean.decode("cp1252", "replace")
        yield text.replace(NUL, "")


def _joined(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _delimiter(first: str) -> str:
    return max(",\t;", key=first.count)


def number(row: Row, column: str) -> float | None:
    """A number, None where the field is empty or says that it is unknown.

    Raises:
        BadLine: it is neither.
    """
    text = row.get(column, "")
    if text.lower() in UNKNOWN:
        return None
    try:
        value = float(text)
    except ValueError:
        raise BadLine(f"{column}: {text[:40]!r} is not a number") from None
    if value - value != 0:
        raise BadLine(f"{column}: {text[:40]!r} is not finite")
    return value


def text(row: Row, column: str) -> str:
    """A text that must be there.

    Raises:
        BadLine: it is missing.
    """
    if not (value := row.get(column, "")):
        raise BadLine(f"{column}: missing")
    return value


def whole(row: Row, column: str) -> int:
    """A whole number that must be there.

    Raises:
        BadLine: it is missing or malformed.
    """
    text = row.get(column, "")
    if text.isdecimal():
        return int(text)  # an id of 19 digits does not fit into a float
    value = number(row, column)
    if value is None:
        raise BadLine(f"{column}: missing")
    if value != int(value):
        raise BadLine(f"{column}: {text[:40]!r} is not a whole number")
    return int(value)


def instant(row: Row, column: str) -> int:
    """A time as ISO 8601 or close to it, in ms; UTC where it names no offset.

    Raises:
        BadLine: it is missing or malformed.
    """
    text = row.get(column, "")
    if text.lower() in UNKNOWN:
        raise BadLine(f"{column}: missing")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadLine(f"{column}: {text[:40]!r} is not a time") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)

"""Event files: JSON Lines, plain, gzip-compressed or from standard input, read in pieces and validated."""

import codecs
import gzip
import re
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from lyo.models.events.decode import EventError, Kind, Rejected, decode, decode_content, decode_organization
from lyo.models.events.refusals import REFUSALS, explain
from lyo.streams.kafka.input_records import CATALOGUE, LONGEST, Record

PIECE = 2_000_000  # bytes of lines handed on at once
_GZIP = b"\x1f\x8b"
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE, b"{\0", b"\0{")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # no JSON text holds one
_CR_ALONE = re.compile(rb"\}[ \t]*\r\s*\{")


class EventFileError(RuntimeError):
    """An event file cannot be read; the message is one line that names the file and the reason."""


class _Typed(msgspec.Struct, gc=False):
    type: Kind


_type_of = msgspec.json.Decoder(_Typed).decode


@dataclass(slots=True)
class Bad:
    """A line that cannot be used: its number, counted from 1, and the reason."""

    line: int
    reason: str


@dataclass(slots=True)
class Piece:
    """Consecutive lines of a file; `first` is the number of the first one, counted from 1."""

    first: int
    lines: list[bytes]
    position: int  # bytes of the file on the disk read so far


@dataclass(slots=True)
class Checked:
    """The records of a piece in their order, and its bad lines."""

    records: list[Record] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)


@dataclass(slots=True)
class EventFile:
    """An open event file. `size` is its size on the disk in bytes; None for standard input."""

    name: str
    size: int | None
    _read: Callable[[int], bytes]
    _position: Callable[[], int]

    def pieces(self) -> Iterator[Piece]:
        """Yield the file in pieces of whole lines; of a line that is too long only the beginning.

        A mark of UTF-8 at the beginning is left out.

        Raises:
            EventFileError: the file cannot be read, is no text in UTF-8, or its compression is broken.
        """
        rest, number, cut = b"", 1, False
        data = self._bytes(0, beginning=True)
        while data:
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            if cut and lines:
                lines.pop(0)  # the end of a line whose beginning was yielded
                cut = False
            if cut:
                rest = b""
            elif len(rest) > LONGEST:
                lines.append(rest)
                rest, cut = b"", True
            if lines:
                yield Piece(number, lines, self._position())
                number += len(lines)
            data = self._bytes(number - 1)
        if rest and not cut:
            yield Piece(number, [rest], self._position())

    def _bytes(self, lines: int, *, beginning: bool = False) -> bytes:
        try:
            data = self._read(PIECE)
            if beginning:
                _check_beginning(data)
                data = data.removeprefix(codecs.BOM_UTF8) or self._read(PIECE)
        except _UNREADABLE as error:
            raise _unreadable(self.name, error, lines) from None
        return data


_UNREADABLE = (OSError, EOFError, zlib.error)


def _unreadable(name: str, error: Exception, lines: int = 0) -> EventFileError:
    after = f" after line {lines:,}" if lines else ""
    return EventFileError(f"{name} cannot be read{after}: {getattr(error, 'strerror', None) or error}")


def _check_beginning(data: bytes) -> None:
    """Refuse what is no JSON Lines file at all with one reason, instead of one for each line.

    Raises:
        OSError: with that reason.
    """
    if data.startswith(_GZIP):
        raise OSError("it is compressed: unpack it with gunzip -c")
    if data.startswith(_WIDE):
        raise OSError("it is text in UTF-16 or UTF-32: write it in UTF-8")
    begun = data.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")
    if not begun and _CONTROL.search(data, 0, 1024):
        raise OSError("it is a binary file, not JSON Lines")
    if b"\n" not in data and _CR_ALONE.search(data):
        raise OSError("its lines end with CR alone: end them with LF")


@contextmanager
def opened(path: Path) -> Iterator[EventFile]:
    """Open an event file: `-` is standard input; a file may be compressed with gzip, whatever its name.

    Raises:
        EventFileError: there is no such file, or it cannot be read.
    """
    if str(path) == "-":
        source = sys.stdin.buffer
        # Lines from a pipe are yielded when they arrive, not when a whole piece is full.
        yield EventFile("standard input", None, lambda most: _available(source, most), lambda: 0)
        return
    try:
        raw = path.open("rb")
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise _unreadable(str(path), error) from None
    with raw:
        if path.suffix.lower() == ".gz" or raw.peek(2).startswith(_GZIP):
            with gzip.GzipFile(fileobj=raw) as packed:
                yield EventFile(str(path), size, packed.read, raw.tell)
        else:
            yield EventFile(str(path), size, raw.read, raw.tell)


def _available(source: BinaryIO, most: int) -> bytes:
    read: Callable[[int], bytes] = getattr(source, "read1", source.read)
    return read(most)


def check(piece: Piece, now: int) -> Checked:
    """Validate a piece's lines with the worker's own decoder; `now` in ms.

    A time more than a day after `now` is refused, as the worker would. Empty lines are skipped.
    """
    by_kind, bad = by_type(piece)
    records: dict[int, Record] = {}
    for kind, positions in by_kind.items():
        refused = (_catalogue if kind in CATALOGUE else _events)(kind, piece.lines, positions, now, records)
        bad += [Bad(piece.first + positions[rejected.index], rejected.reason) for rejected in refused]
    bad.sort(key=lambda line: line.line)
    return Checked([records[position] for position in sorted(records)], bad)


def by_type(piece: Piece) -> tuple[dict[Kind, list[int]], list[Bad]]:
    """Positions of a piece's lines by their type, and the lines without a valid type."""
    by_kind: dict[Kind, list[int]] = defaultdict(list)
    bad: list[Bad] = []
    for position, line in enumerate(piece.lines):
        if not line or line.isspace():
            continue
        if len(line) > LONGEST:
            bad.append(Bad(piece.first + position, f"longer than {LONGEST:,} bytes"))
            continue
        try:
            by_kind[_type_of(line).type].append(position)
        except REFUSALS as error:
            bad.append(Bad(piece.first + position, explain(error, line)[0]))
    return by_kind, bad


def _events(
    kind: Kind, lines: list[bytes], positions: list[int], now: int, records: dict[int, Record]
) -> list[Rejected]:
    values = [lines[position] for position in positions]
    columns, rejected = decode(kind, None, values, [now] * len(positions))
    for index, user in zip(columns.index.tolist(), columns.user.tolist(), strict=True):
        position = positions[index]
        records[position] = Record(kind, b"%d" % user, user, lines[position])
    return rejected


def _catalogue(
    kind: Kind, lines: list[bytes], positions: list[int], _now: int, records: dict[int, Record]
) -> list[Rejected]:
    rejected: list[Rejected] = []
    for index, position in enumerate(positions):
        line = lines[position]
        try:
            if kind is Kind.CONTENT:
                key = decode_content(None, line).content_id.encode()
            else:
                key = b"%d" % decode_organization(None, line).organization_id
        except EventError as error:
            rejected.append(Rejected(index, error.reason, error.field))
        else:
            records[position] = Record(kind, key, 0, line)
    return rejected

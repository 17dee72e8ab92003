"""A subscriber's cursor: its position in each topic-partition, as one opaque string.

Layout, version 1, base64url without padding: version byte; 16 bytes of generation; varints of `seen_at` (ms)
and of the organization (0: all); the kinds' names, each after its length; then per topic-partition the kind's
index, the partition and the position; last, a CRC-32 of everything before.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final, NamedTuple
from uuid import UUID

VERSION: Final = 1
LARGEST: Final = 2**63 - 1
_GENERATION_BYTES: Final = 16
_CHECK_BYTES: Final = 4
_NONE_YET: Final = -1


class CursorError(ValueError):
    """A string is no cursor, or the cursor of another subscription."""


class Stage(IntEnum):
    """At one offset, removals come before the rows that the same record wrote."""

    REMOVED = 0
    CHANGED = 1


class Position(NamedTuple):
    """The last delivered change of a topic-partition; `below(n)`: everything before offset n."""

    offset: int
    stage: Stage
    id: int

    @property
    def removed_after(self) -> int:
        """Removals at this offset with a larger id are not delivered yet."""
        return self.id if self.stage is Stage.REMOVED else LARGEST

    @property
    def changed_after(self) -> int:
        """Rows at this offset with a larger id are not delivered yet."""
        return self.id if self.stage is Stage.CHANGED else _NONE_YET


def below(offset: int) -> Position:
    """The position at which everything before `offset` is delivered, and nothing at it."""
    return Position(offset, Stage.REMOVED, _NONE_YET)


BEGINNING: Final = below(0)

Key = tuple[str, int]
"""Kind of change and partition."""


class Cursor:
    """The position in every topic-partition; `encode` gives the string.

    Attributes:
        generation: of the tables' contents: every database and every rebuild has another one.
        seen_at: a time (ms) of that database; all earlier removals are delivered, or concern rows that the
            subscriber never saw.
        organization: the only organization whose changes are delivered; 0: all.
    """

    def __init__(self, kinds: Iterable[str], generation: UUID, seen_at: int, organization: int = 0) -> None:
        self.kinds: Final = tuple(sorted(set(kinds)))
        self.generation = generation
        self.seen_at = seen_at
        self.organization = organization
        self._positions: dict[Key, Position] = {}
        self._parts: dict[Key, bytes] = {}
        self._names: Final = _varint(len(self.kinds)) + b"".join(
            _varint(len(name)) + name for name in (kind.encode() for kind in self.kinds)
        )

    @property
    def positions(self) -> Mapping[Key, Position]:
        """The topic-partitions that have been read; all others are at their beginning."""
        return self._positions

    def position(self, key: Key) -> Position:
        """The position in a topic-partition."""
        return self._positions.get(key, BEGINNING)

    def move(self, key: Key, position: Position) -> None:
        """Set the position in a topic-partition."""
        self._positions[key] = position
        # One encoded part per topic-partition, so that a move encodes only one of them.
        self._parts[key] = _varint(self.kinds.index(key[0])) + _varint(key[1]) + _position(position)

    def encode(self) -> str:
        """The cursor as a string of letters, digits, `-` and `_`."""
        head = bytes([VERSION]) + self.generation.bytes + _varint(self.seen_at) + _varint(self.organization)
        whole = head + self._names + b"".join(self._parts.values())
        check = zlib.crc32(whole).to_bytes(_CHECK_BYTES, "little")
        return base64.urlsafe_b64encode(whole + check).rstrip(b"=").decode()

    def widened(self, kinds: Iterable[str]) -> Cursor:
        """The same cursor with more kinds; the new ones are at their beginning."""
        wider = Cursor({*self.kinds, *kinds}, self.generation, self.seen_at, self.organization)
        for key, position in self._positions.items():
            wider.move(key, position)
        return wider


def decode(text: str) -> Cursor:
    """Read a cursor.

    Raises:
        CursorError: the text is no cursor, was truncated, or is of a newer version.
    """
    whole = _checked(text)
    if whole[0] != VERSION:
        raise CursorError(f"the cursor has version {whole[0]}; this program reads version {VERSION}")
    try:
        return _read(_Reader(whole, 1))
    except (IndexError, ValueError):
        raise CursorError("the cursor cannot be read") from None


def _checked(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise CursorError("this is no cursor: it has letters that no cursor has, or was cut short") from None
    whole, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if not whole or zlib.crc32(whole).to_bytes(_CHECK_BYTES, "little") != check:
        raise CursorError("this is no cursor, or not the whole of one")
    return whole


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise IndexError
        self._at += count
        return taken

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7


def _read(reader: _Reader) -> Cursor:
    generation = UUID(bytes=reader.take(_GENERATION_BYTES))
    seen_at, organization = reader.number(), reader.number()
    kinds = [reader.take(reader.number()).decode() for _ in range(reader.number())]
    cursor = Cursor(kinds, generation, seen_at, organization)
    while reader.more:
        kind, number = kinds[reader.number()], reader.number()
        cursor.move((kind, number), _read_position(reader))
    return cursor


# The two lowest bits of the first number tell whether an id follows, and its stage.
_WHOLE: Final = 2


def _position(position: Position) -> bytes:
    if position == below(position.offset):
        return _varint(position.offset << 2 | _WHOLE)
    return _varint(position.offset << 2 | position.stage) + _varint(position.id)


def _read_position(reader: _Reader) -> Position:
    first = reader.number()
    if first & 3 == _WHOLE:
        return below(first >> 2)
    return Position(first >> 2, Stage(first & 3), reader.number())


def _varint(value: int) -> bytes:
    """Seven bits per byte, the lowest first; the eighth bit is set in all bytes but the last."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

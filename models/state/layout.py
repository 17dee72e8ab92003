"""Rows as bytes: a layout number, the row itself, and for a skill its topic.

A reader of layout N reads all older ones, each raised to the present one. A writer can write the one before,
so that two releases can run side by side. An unknown layout is refused with what to do.

A learner's rings of event ids lie at the end of its row, one for each kind of event. A row with fewer rings
has none of the newer kinds; rings of kinds that this version does not know are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lyo.models.state import layout_1
from lyo.models.state.learner import EVENT_IDS, LEARNER, RING_KINDS, empty_learners
from lyo.models.state.skill import SKILL, empty_skills

__all__ = [
    "LAYOUT",
    "LAYOUTS",
    "SWEEPING_KEY",
    "SWEEP_KEY",
    "LayoutError",
    "decode_learners",
    "decode_skills",
    "decode_sweeping",
    "decode_swept",
    "encode_learners",
    "encode_skills",
    "encode_sweeping",
    "encode_swept",
    "skill_key",
    "split_skill_key",
]

LAYOUT: Final = 2
"""Of the dtypes LEARNER and SKILL. To change them: freeze them in a module like `layout_1`, and count on."""
SWEEP_KEY = b"#sweep"
SWEEPING_KEY = b"#sweeping"
_OLDER: Final = {1: layout_1}
LAYOUTS: Final = (*_OLDER, LAYOUT)
"""Those that can be read. The last two can be written."""
_SWEEP_HEAD = b"\x01"  # of the sweeps' records, which are the same in every layout
_DIGITS = 19  # of the largest user id

Rows = NDArray[np.void]


class LayoutError(ValueError):
    """Stored rows that this version cannot read."""


def skill_key(user: int, skill: str) -> bytes:
    """Key of a skill row: ``user|skill``."""
    return f"{user}|{skill}".encode()


def split_skill_key(key: bytes) -> tuple[int, str]:
    """User and skill of a skill row's key. Raises LayoutError."""
    user, separator, skill = key.partition(b"|")
    if not separator or not user.isdigit() or len(user) > _DIGITS:
        raise LayoutError(f"skill row with key {key[:40]!r}: not user|skill")
    return int(user), _text(skill, "a skill row's key")


def encode_learners(rows: Rows, layout: int = LAYOUT) -> list[tuple[bytes, bytes]]:
    """Keys and values of LEARNER rows ``(n,)`` in the present layout, or in the one before."""
    stored = rows
    if layout != LAYOUT:
        older = _OLDER[layout]
        stored = _moved(rows, np.zeros(len(rows), older.LEARNER), older.lower_learners)
    size, raw, head = stored.dtype.itemsize, stored.tobytes(), bytes([layout])
    return [
        (b"%d" % user, head + raw[start : start + size])
        for user, start in zip(rows["user"].tolist(), range(0, len(raw), size), strict=True)
    ]


def decode_learners(values: list[bytes]) -> Rows:
    """LEARNER rows ``(n,)`` of stored values of any layout. Raises LayoutError."""
    rows = np.zeros(len(values), LEARNER)
    for layout, places in _by_layout(values, "learner"):
        chosen = [values[place] for place in places]
        if layout == LAYOUT:
            rows[places] = _frombuffer([_with_rings(value) for value in chosen], LEARNER)
        else:
            old = _frombuffer(chosen, _OLDER[layout].LEARNER)
            rows[places] = _moved(old, empty_learners(old["user"]), _OLDER[layout].raise_learners)
    return rows


def encode_skills(
    rows: Rows, names: list[str], topics: list[str | None], layout: int = LAYOUT
) -> list[tuple[bytes, bytes]]:
    """Keys and values of SKILL rows ``(n,)`` with their skill ids and topics; layouts as for learners."""
    stored = rows
    if layout != LAYOUT:
        older = _OLDER[layout]
        stored = _moved(rows, np.zeros(len(rows), older.SKILL), older.lower_skills)
    size, raw, head = stored.dtype.itemsize, stored.tobytes(), bytes([layout])
    return [
        (f"{user}|{name}".encode(), head + raw[start : start + size] + (topic or "").encode())
        for user, start, name, topic in zip(
            rows["user"].tolist(), range(0, len(raw), size), names, topics, strict=True
        )
    ]


def decode_skills(values: list[bytes]) -> tuple[Rows, list[str | None]]:
    """SKILL rows ``(n,)`` and topics of stored values of any layout. Raises LayoutError."""
    rows, topics = np.zeros(len(values), SKILL), [b""] * len(values)
    for layout, places in _by_layout(values, "skill"):
        dtype = SKILL if layout == LAYOUT else _OLDER[layout].SKILL
        end = 1 + dtype.itemsize
        stored = _frombuffer([values[place][:end] for place in places], dtype)
        if layout != LAYOUT:
            stored = _moved(stored, empty_skills(stored["user"]), _OLDER[layout].raise_skills)
        rows[places] = stored
        for place in places:
            topics[place] = values[place][end:]
    return rows, [_text(topic, "a skill row's topic") or None for topic in topics]


def encode_swept(until: int) -> tuple[bytes, bytes]:
    """Key and value of the record that says up to when (ms) a partition has been swept."""
    return SWEEP_KEY, _SWEEP_HEAD + until.to_bytes(8, "little", signed=True)


def decode_swept(value: bytes) -> int:
    """Up to when (ms) a partition has been swept. Raises LayoutError."""
    return _limits(value, 1)[0]


def encode_sweeping(begun: int, reached: int) -> tuple[bytes, bytes]:
    """Key and value of the record that says up to when (ms) pieces of a sweep went that is not over.

    The earliest of their limits and the latest; both 0: every sweep is over.
    """
    limits = (limit.to_bytes(8, "little", signed=True) for limit in (begun, reached))
    return SWEEPING_KEY, _SWEEP_HEAD + b"".join(limits)


def decode_sweeping(value: bytes) -> tuple[int, int]:
    """The earliest and latest limit (ms) of the pieces of a sweep that is not over. Raises LayoutError."""
    begun, reached = _limits(value, 2)
    return begun, reached


def _by_layout(values: list[bytes], name: str) -> list[tuple[int, list[int]]]:
    """Places of values by their layouts."""
    heads = [value[0] if value else -1 for value in values]
    grouped = []
    for layout in sorted(set(heads)):
        if layout not in LAYOUTS:
            raise LayoutError(
                f"{name} row of layout {'none' if layout < 0 else layout}: this version reads layouts "
                f"{', '.join(map(str, LAYOUTS))}; "
                "start the version that wrote it, or rebuild the rows from the log"
            )
        grouped.append((layout, [place for place, head in enumerate(heads) if head == layout]))
    return grouped


def _frombuffer(values: list[bytes], dtype: np.dtype[np.void]) -> Rows:
    for value in values:
        if len(value) != 1 + dtype.itemsize:
            raise LayoutError(
                f"row of layout {value[0]} has {len(value)} bytes: expected {1 + dtype.itemsize}"
            )
    return np.frombuffer(b"".join([value[1:] for value in values]), dtype)


def _with_rings(value: bytes) -> bytes:
    """A learner's value with as many rings as this version has."""
    full = 1 + LEARNER.itemsize
    missing, odd = divmod(full - len(value), EVENT_IDS.itemsize)
    # A row without its first ring is no row: it was cut.
    if not missing or odd or missing >= len(RING_KINDS):
        return value
    return value[:full].ljust(full, b"\0")


def carry(old: Rows, new: Rows) -> None:
    """Copy the columns that two layouts both have, by name; of arrays as much as both hold."""
    for name in new.dtype.names or ():
        if name in (old.dtype.names or ()):
            source, target = old[name], new[name]
            if target.dtype.names:
                carry(source, target)
                continue
            both = tuple(slice(min(pair)) for pair in zip(source.shape, target.shape, strict=True))
            values = source[both]
            if target.dtype.kind in "iu" and target.dtype.itemsize < source.dtype.itemsize:
                # What the older layout cannot hold, a time after 2106, becomes the latest that it can.
                values = np.minimum(values, np.iinfo(target.dtype).max)
            target[both] = values


def _moved(rows: Rows, into: Rows, finish: Callable[[Rows, Rows], None]) -> Rows:
    carry(rows, into)
    finish(rows, into)
    return into


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise LayoutError(f"{what} is not valid UTF-8: {raw[:40]!r}") from None


def _limits(value: bytes, many: int) -> list[int]:
    """The instants of a sweep's record. Raises LayoutError."""
    if value[:1] != _SWEEP_HEAD or len(value) != 1 + 8 * many:
        raise LayoutError(f"sweep record {value[:1]!r} of {len(value)} bytes: expected {1 + 8 * many}")
    return np.frombuffer(value, "<i8", offset=1).tolist()

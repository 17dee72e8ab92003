"""Rows as bytes: a layout number, the row itself, and for a skill its topic.

A reader of layout N reads all older ones; an unknown one is refused with what to do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.state.learner import LEARNER
from lyo.models.state.skill import SKILL

__all__ = [
    "LAYOUT",
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

LAYOUT = 1
SWEEP_KEY = b"#sweep"
SWEEPING_KEY = b"#sweeping"
_HEAD = bytes([LAYOUT])
_DIGITS = 19  # of the largest user id


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


def encode_learners(rows: NDArray[np.void]) -> list[tuple[bytes, bytes]]:
    """Keys and values of LEARNER rows ``(n,)``."""
    size, raw = LEARNER.itemsize, rows.tobytes()
    return [
        (b"%d" % user, _HEAD + raw[start : start + size])
        for user, start in zip(rows["user"].tolist(), range(0, len(raw), size), strict=True)
    ]


def decode_learners(values: list[bytes]) -> NDArray[np.void]:
    """LEARNER rows ``(n,)`` of stored values. Raises LayoutError."""
    return _decode(values, LEARNER, "learner")


def encode_skills(
    rows: NDArray[np.void], names: list[str], topics: list[str | None]
) -> list[tuple[bytes, bytes]]:
    """Keys and values of SKILL rows ``(n,)`` with their skill ids and topics."""
    size, raw = SKILL.itemsize, rows.tobytes()
    return [
        (f"{user}|{name}".encode(), _HEAD + raw[start : start + size] + (topic or "").encode())
        for user, start, name, topic in zip(
            rows["user"].tolist(), range(0, len(raw), size), names, topics, strict=True
        )
    ]


def decode_skills(values: list[bytes]) -> tuple[NDArray[np.void], list[str | None]]:
    """SKILL rows ``(n,)`` and topics of stored values. Raises LayoutError."""
    end = 1 + SKILL.itemsize
    return _decode([value[:end] for value in values], SKILL, "skill"), [
        _text(value[end:], "a skill row's topic") or None for value in values
    ]


def encode_swept(until: int) -> tuple[bytes, bytes]:
    """Key and value of the record that says up to when (ms) a partition has been swept."""
    return SWEEP_KEY, _HEAD + until.to_bytes(8, "little", signed=True)


def decode_swept(value: bytes) -> int:
    """Up to when (ms) a partition has been swept. Raises LayoutError."""
    _check(value[:1], "sweep")
    if len(value) != 9:
        raise LayoutError(f"sweep row of {len(value)} bytes: expected 9")
    return int.from_bytes(value[1:9], "little", signed=True)


def encode_sweeping(begun: int, reached: int) -> tuple[bytes, bytes]:
    """Key and value of the record that says up to when (ms) pieces of a sweep went that is not over.

    The earliest of their limits and the latest; both 0: every sweep is over.
    """
    limits = (limit.to_bytes(8, "little", signed=True) for limit in (begun, reached))
    return SWEEPING_KEY, _HEAD + b"".join(limits)


def decode_sweeping(value: bytes) -> tuple[int, int]:
    """The earliest and latest limit (ms) of the pieces of a sweep that is not over. Raises LayoutError."""
    _check(value[:1], "sweep")
    if len(value) != 17:
        raise LayoutError(f"sweep row of {len(value)} bytes: expected 17")
    return int.from_bytes(value[1:9], "little", signed=True), int.from_bytes(value[9:], "little", signed=True)


def _decode(values: list[bytes], dtype: np.dtype[np.void], name: str) -> NDArray[np.void]:
    for value in values:
        _check(value[:1], name)
        if len(value) != 1 + dtype.itemsize:
            raise LayoutError(f"{name} row of {len(value)} bytes: expected {1 + dtype.itemsize}")
    return np.frombuffer(b"".join([value[1:] for value in values]), dtype).copy()


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise LayoutError(f"{what} is not valid UTF-8: {raw[:40]!r}") from None


def _check(head: bytes, name: str) -> None:
    if head != _HEAD:
        found = head[0] if head else "none"
        raise LayoutError(
            f"{name} row of layout {found}: this version reads layout {LAYOUT}; "
            "start the version that wrote it, or rebuild the rows from the log"
        )

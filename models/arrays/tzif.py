"""Time zone data from the pinned `tzdata` package alone: the host's own data may be of another year.

Format: RFC 9636 (TZif, version 2 and newer): the changes in seconds since the epoch, then a POSIX TZ string
that holds after the last of them.
"""

from __future__ import annotations

import re
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from io import BytesIO
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import tzdata
from numpy.typing import NDArray

__all__ = ["VERSION", "changes", "digests", "info", "names"]

VERSION: Final = str(tzdata.IANA_VERSION)
"""The release of the time zone database, such as ``2026f``."""

_YEARS: Final = np.arange(1969, 2202)
_HEADER: Final = 44
_ABBREVIATION: Final = r"(?:<[^>]+>|[A-Za-z]+)"
_CLOCK: Final = r"[+-]?\d+(?::\d+){0,2}"
_RULE: Final = re.compile(
    rf"{_ABBREVIATION}({_CLOCK})(?:{_ABBREVIATION}({_CLOCK})?,([^,/]+)(?:/({_CLOCK}))?,([^,/]+)(?:/({_CLOCK}))?)?"
)

Ints = NDArray[np.int64]


@cache
def names() -> frozenset[str]:
    """Every name of the database."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def _read(name: str) -> bytes:
    if name not in names():
        raise ValueError(f"unknown time zone {name!r}")
    return files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


@cache
def digests() -> dict[str, str]:
    """Of each zone what tells its data from another release's, in hexadecimal digits."""
    return {name: blake2b(_read(name), digest_size=4).hexdigest() for name in sorted(names())}


def info(name: str) -> ZoneInfo:
    """The zone for `datetime`.

    Raises:
        ValueError: the database has no such zone.
    """
    return ZoneInfo.from_file(BytesIO(_read(name)), key=name)


def changes(name: str) -> tuple[Ints, Ints]:
    """When a zone's offset changes ``(n,)``, in seconds since the epoch, and its offsets ``(n + 1,)``.

    The first offset holds before the first change. Changes by the zone's last rule are listed up to 2201.

    Raises:
        ValueError: the database has no such zone.
    """
    data = _read(name)
    body = data[_HEADER + _length(data, 4) :]  # after the block of 32-bit times
    times, types = (int.from_bytes(body[at : at + 4], "big") for at in (32, 36))
    at = np.frombuffer(body, ">i8", times, _HEADER).astype(np.int64)
    kinds = np.frombuffer(body, "u1", times, _HEADER + 8 * times)
    records = np.frombuffer(body, np.dtype([("offset", ">i4"), ("rest", "V2")]), types, _HEADER + 9 * times)
    offsets = records["offset"].astype(np.int64)
    all_offsets = np.r_[offsets[:1], offsets[kinds]]
    rule = body[_HEADER + _length(body, 8) :].strip(b"\n").decode("ascii")
    return _extended(at, all_offsets, rule)


def _length(block: bytes, size: int) -> int:
    """Bytes of a block after its header, with times of ``size`` bytes (RFC 9636, section 3.1)."""
    utc, standard, leap, times, types, characters = (
        int.from_bytes(block[at : at + 4], "big") for at in range(20, _HEADER, 4)
    )
    return times * (size + 1) + types * 6 + characters + leap * (size + 4) + standard + utc


def _extended(at: Ints, offsets: Ints, rule: str) -> tuple[Ints, Ints]:
    match = _RULE.fullmatch(rule)
    if match is None or match[3] is None:
        return at, offsets
    standard = -_seconds(match[1])
    summer = standard + 3600 if match[2] is None else -_seconds(match[2])
    begins = _moments(match[3]) + _seconds(match[4] or "2") - standard
    ends = _moments(match[5]) + _seconds(match[6] or "2") - summer
    more = np.concatenate([begins, ends])
    order = np.argsort(more, kind="stable")
    what = np.repeat([summer, standard], len(_YEARS))[order]
    later = more[order] > (at[-1] if len(at) else np.iinfo(np.int64).min)
    return np.r_[at, more[order][later]], np.r_[offsets, what[later]]


def _seconds(clock: str) -> int:
    sign = -1 if clock.startswith("-") else 1
    parts = [int(part) for part in clock.lstrip("+-").split(":")]
    return sign * sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))


def _moments(rule: str) -> Ints:
    """Midnights in seconds of the day that a rule names in each year, as local wall-clock time."""
    first = (_YEARS - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    if rule.startswith("M"):
        month, week, weekday = (int(part) for part in rule[1:].split("."))
        months = ((_YEARS - 1970) * 12 + month - 1).astype("datetime64[M]")
        begin = months.astype("datetime64[D]").astype(np.int64)
        end = (months + 1).astype("datetime64[D]").astype(np.int64)
        day = begin + (weekday - (begin + 4) % 7) % 7 + 7 * (week - 1)
        return np.where(day >= end, day - 7, day) * 86_400
    if rule.startswith("J"):  # 29 February is never counted
        number = int(rule[1:])
        leap = (_YEARS % 4 == 0) & ((_YEARS % 100 != 0) | (_YEARS % 400 == 0))
        return (first + number - 1 + (leap & (number > 59))) * 86_400
    return (first + int(rule)) * 86_400

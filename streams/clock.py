"""The processes' clock. ``LYO_CLOCK`` sets it, for tests and for old event files."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path


class ClockError(ValueError):
    """``LYO_CLOCK`` is not an RFC 3339 instant with an offset, nor a file that holds one."""


def system_now() -> int:
    """Milliseconds since the epoch by the system's clock, as records bear it, whatever ``LYO_CLOCK``."""
    return time.time_ns() // 1_000_000


class Clock:
    """Tells the time in milliseconds since the epoch, UTC.

    Args:
        source: None: the system's clock. An RFC 3339 instant: the clock stands still there. ``@path``: the
            file holds such an instant and is read again each time.

    Raises:
        ClockError: not an instant.
    """

    def __init__(self, source: str | None = None) -> None:
        self._path = Path(source[1:]) if source is not None and source.startswith("@") else None
        self._fixed = None if source is None or self._path is not None else parse(source)

    def now(self) -> int:
        """Milliseconds since the epoch.

        Raises:
            ClockError: the clock's file is missing or holds no instant.
        """
        if self._path is not None:
            return parse(_read(self._path))
        return system_now() if self._fixed is None else self._fixed


def parse(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 instant.

    Raises:
        ClockError: not an instant, or one without an offset.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ClockError(f"{text.strip()[:40]!r} is not an RFC 3339 instant") from None
    if at.tzinfo is None:
        raise ClockError(f"{text.strip()[:40]!r} has no offset (write Z for UTC)")
    delta = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000 + delta.microseconds // 1_000


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ClockError(f"the clock's file {path} cannot be read: {error}") from None

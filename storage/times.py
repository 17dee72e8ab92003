"""Milliseconds since the epoch as the aware datetimes that Postgres takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(milliseconds: int) -> datetime:
    """The instant, exactly: no float is involved."""
    return _EPOCH + timedelta(milliseconds=milliseconds)

"""A wait between small transactions, so that events which arrive one by one share a transaction."""

from __future__ import annotations

import time
from typing import Final

FACTOR: Final = 3.0
MOST_SECONDS: Final = 0.5


class Linger:
    """Says how long the next transaction waits for more records, if only few are there.

    For Kafka and Postgres a transaction with one event costs nearly as much as one with hundreds. After idle
    time a transaction begins at once. Soon after another one it waits three times as long as that one took,
    at most half a second: the busier a machine is, the more events share a transaction.
    """

    def __init__(self) -> None:
        self._until = 0.0

    def took(self, seconds: float) -> None:
        """Record that a transaction has just ended, and how long it took."""
        self._until = time.monotonic() + min(FACTOR * seconds, MOST_SECONDS)

    @property
    def remaining(self) -> float:
        """Seconds until the next transaction begins; 0 or less: it begins now."""
        return self._until - time.monotonic()

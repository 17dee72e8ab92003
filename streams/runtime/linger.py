"""Rests between transactions, so that more of the events that come one by one go into each."""

from __future__ import annotations

import time
from typing import Final

FACTOR: Final = 3.0
MOST_SECONDS: Final = 0.5


class Linger:
    """Says when the next transaction is to begin, if little waits for it.

    One costs Kafka and Postgres nearly the same for an event as for hundreds. What comes after a rest begins
    at once; what comes soon after another waits for three times as long as that one took, at most half a
    second: the busier a machine is, the more comes together, and the less there is to do.
    """

    def __init__(self) -> None:
        self._until = 0.0

    def took(self, seconds: float) -> None:
        """Note that a transaction has just ended."""
        self._until = time.monotonic() + min(FACTOR * seconds, MOST_SECONDS)

    @property
    def remaining(self) -> float:
        """Seconds until the next; 0 or less if it may begin."""
        return self._until - time.monotonic()

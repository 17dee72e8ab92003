"""What a task has achieved: the watchdog's evidence that it is not stuck, and the backoff after failures."""

from __future__ import annotations

from collections.abc import Hashable

BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 5.0
# After so many openings without a transaction, one more opening is no progress.
OPENINGS_WITHOUT_COMMIT = 3


class Progress:
    """Counts transactions and restored records of one task, and failures in a row.

    Attributes:
        transactions: committed since the task was created.
        is_queued: whether the task waits for its turn to restore.
    """

    def __init__(self) -> None:
        self.transactions = 0
        self.is_queued = False
        self._read = 0
        self._openings = 0
        self._backoff = BACKOFF_SECONDS

    @property
    def done(self) -> Hashable:
        """Changes whenever the task has made progress."""
        return self.transactions, self._read

    def committed(self) -> None:
        """Count a committed transaction; failures before it no longer matter."""
        self.transactions += 1
        self._backoff, self._openings = BACKOFF_SECONDS, 0

    def opening(self) -> None:
        """Count the beginning of a restore."""
        self._openings += 1

    def read(self, records: int) -> None:
        """Count records read back. They are no progress while openings repeatedly lead to no transaction."""
        if self._openings <= OPENINGS_WITHOUT_COMMIT:
            self._read += records

    def backoff(self) -> float:
        """Seconds to wait after a failure: twice as long each time, until a transaction commits."""
        self._backoff = min(self._backoff * 2, LONGEST_BACKOFF_SECONDS)
        return self._backoff

"""Failpoints: named steps of task, sink and relay at which tests end or freeze the process.

``LYO_CRASH_AT=STEP[:N][:stop]`` names the step.
"""

from __future__ import annotations

import os
import signal
from typing import Final

TASK_FAILPOINTS: Final = (
    "fenced",
    "restored",
    "offsets_read",
    "begun",
    "outputs_sent",
    "rows_sent",
    "offsets_sent",
    "committed",
    "updated",
)
# In each transaction of the sink; Postgres delivers notifications at the commit.
SINK_FAILPOINTS: Final = ("sink_begun", "sink_offsets", "sink_rows", "sink_notified", "sink_committed")
RELAY_FAILPOINTS: Final = ("outbox_read", "outbox_sent", "outbox_marked")
FAILPOINTS: Final = TASK_FAILPOINTS + SINK_FAILPOINTS + RELAY_FAILPOINTS


class Failpoints:
    """Ends or freezes the process when a step is reached for the Nth time; without a step, does nothing.

    Raises:
        ValueError: there is no such step.
    """

    def __init__(self, crash_at: str | None = None) -> None:
        name, *more = (crash_at or "").split(":")
        self._freezes = more[-1:] == ["stop"]
        times = next(iter(more), "")
        if name and name not in FAILPOINTS:
            raise ValueError(f"LYO_CRASH_AT: no step {name!r}; there are {', '.join(FAILPOINTS)}")
        self._name = name
        self._left = int(times) if times.isdigit() else 1

    @property
    def armed(self) -> bool:
        """Whether a step is named."""
        return bool(self._name)

    def __call__(self, name: str) -> None:
        """Record that a step is reached."""
        if name != self._name:
            return
        self._left -= 1
        if self._freezes and self._left == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self._left <= 0 and not self._freezes:
            os._exit(137)

"""The history behind the charts: bounded series of named values, in memory."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from lyo.ops.monitor.snapshot import Snapshot

POINTS: Final = 240


class Point(NamedTuple):
    """The largest value of a time step that begins at ``at`` (ms); None: unknown."""

    at: int
    value: float | None


class History:
    """Series by name, each of at most `POINTS` steps; a series without new values expires.

    Args:
        span_ms: the length of the history (ms).
    """

    def __init__(self, span_ms: int) -> None:
        self.step_ms = max(span_ms // POINTS, 1)
        self._series: dict[tuple[str, ...], deque[Point]] = {}

    def add(self, name: tuple[str, ...], at: int, value: float | None) -> None:
        """Add a value; within one step the largest value is kept."""
        series = self._series.setdefault(name, deque(maxlen=POINTS))
        step = at - at % self.step_ms
        if series and series[-1].at == step:
            before = series.pop().value
            known = [number for number in (before, value) if number is not None]
            series.append(Point(step, max(known, default=None)))
        else:
            series.append(Point(step, value))

    def series(self, *name: str) -> list[Point]:
        """The points of a series, oldest first; empty if there is no such series."""
        return list(self._series.get(name, ()))

    def remember(self, snapshot: Snapshot) -> None:
        """Add the values of a look, and drop series that have expired."""
        at = snapshot.at
        for group in snapshot.groups:
            self.add(("in", group.role), at, group.rate_in)
            self.add(("out", group.role), at, group.rate_out)
            self.add(("wait", group.role), at, group.seconds)
            for number in sorted({lag.partition for lag in group.partitions}):
                lags = [lag.events for lag in group.partitions if lag.partition == number]
                known = [events for events in lags if events is not None]
                whole = sum(known) if len(known) == len(lags) else None
                self.add(("lag", group.role, str(number)), at, whole)
        for kind in snapshot.predictions:
            self.add(("age", kind.kind), at, kind.age_seconds)
        self._expire(at - POINTS * self.step_ms)

    def _expire(self, before: int) -> None:
        for name in [name for name, series in self._series.items() if series[-1].at < before]:
            del self._series[name]

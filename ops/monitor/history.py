"""What the charts are drawn from: a bounded past of named values, in memory."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from lyo.ops.monitor.snapshot import Snapshot

POINTS: Final = 240


class Point(NamedTuple):
    """The largest value of a step of time that begins at ``at`` (ms); None: it was not known."""

    at: int
    value: float | None


class History:
    """Series by name, each of at most `POINTS` steps; a name that is not added to any more runs out.

    Args:
        span_ms: how far back it goes (ms).
    """

    def __init__(self, span_ms: int) -> None:
        self.step_ms = max(span_ms // POINTS, 1)
        self._series: dict[tuple[str, ...], deque[Point]] = {}

    def add(self, name: tuple[str, ...], at: int, value: float | None) -> None:
        """Add a value; of those within one step the largest is kept."""
        series = self._series.setdefault(name, deque(maxlen=POINTS))
        step = at - at % self.step_ms
        if series and series[-1].at == step:
            before = series.pop().value
            known = [one for one in (before, value) if one is not None]
            series.append(Point(step, max(known, default=None)))
        else:
            series.append(Point(step, value))

    def series(self, *name: str) -> list[Point]:
        """The points of a name, oldest first; none if there is no such name."""
        return list(self._series.get(name, ()))

    def remember(self, snapshot: Snapshot) -> None:
        """Add what is drawn of a look, and forget what no look has named for the whole span."""
        at = snapshot.at
        for group in snapshot.groups:
            self.add(("in", group.role), at, group.rate_in)
            self.add(("out", group.role), at, group.rate_out)
            self.add(("wait", group.role), at, group.seconds)
            for number in sorted({one.partition for one in group.partitions}):
                lags = [one.events for one in group.partitions if one.partition == number]
                known = [lag for lag in lags if lag is not None]
                whole = sum(known) if len(known) == len(lags) else None
                self.add(("lag", group.role, str(number)), at, whole)
        for kind in snapshot.predictions:
            self.add(("age", kind.kind), at, kind.age_seconds)
        self._forget(at - POINTS * self.step_ms)

    def _forget(self, before: int) -> None:
        for name in [name for name, series in self._series.items() if series[-1].at < before]:
            del self._series[name]

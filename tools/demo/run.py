"""Runs the demo on the started stack: publishes events, shows predictions, watches the processes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from lyo.streams.clock import Clock
from lyo.streams.event_files.progress_bars import bytes_progress
from lyo.streams.event_files.publisher import publish_file
from lyo.streams.event_files.reader import Bad
from lyo.streams.settings import Settings
from lyo.tools.demo import picture, show
from lyo.tools.demo.children import Child, watch
from lyo.tools.demo.distance import UNAVAILABLE, Distance, Gauge, gauge
from lyo.tools.demo.source import Source

MOST_BAD_LINES = 5
# After this time a slow machine shows what it has so far, and everything later.
EARLY_SECONDS = 75.0
LINE_SECONDS = 3.0
# Seconds between lines that are written to a file or a pipe.
PLAIN_LINE_SECONDS = 60.0
PLAIN_PROGRESS_SECONDS = 10.0


@dataclass(slots=True)
class Demo:
    """One run: its console, events, settings and processes, and when the set-up ended."""

    console: Console
    source: Source
    settings: Settings
    folder: Path
    children: list[Child]
    hints: list[str]  # how to look further
    ready_at: float  # time.monotonic()
    distance: Distance | None = None  # newest

    def say(self, line: str) -> None:
        """Print a line as it is."""
        self.console.print(line, markup=False, soft_wrap=True)

    async def run(self, *, once: bool) -> None:
        """Publish, show, and stay unless `once`, with the worker and the sink watched.

        Raises:
            DemoError: a process keeps ending, or there is no progress.
            PublishError, Unreachable: the events cannot be published.
        """
        watching = asyncio.create_task(watch(self.children, self.say))
        showing = asyncio.create_task(self._show(once=once))
        early = asyncio.create_task(self._early(showing))
        try:
            await asyncio.wait({watching, showing}, return_when=asyncio.FIRST_COMPLETED)
            for task in (watching, showing):
                if task.done():
                    task.result()
        finally:
            for task in (watching, showing, early):
                task.cancel()
            await asyncio.gather(watching, showing, early, return_exceptions=True)

    async def _show(self, *, once: bool) -> None:
        counts = await self._publish(self.source.path, "Publishing")
        async with gauge(self.settings) as measure:
            await self._settle(measure, counts.total())
            if self.source.requests:
                counts += await self._ask()
                await self._settle(measure, counts.total())
            self.distance = Distance(0, 0)
            await self._whole(counts, await measure.dead_letters())
            if not once:
                await self._stay(measure)

    async def _publish(self, path: Path, doing: str) -> Counter[str]:
        bad: list[Bad] = []
        with bytes_progress(self.console, doing) as on_bytes:
            published = await publish_file(path, self.settings, on_bytes, bad.append, history=True)
        for line in bad[:MOST_BAD_LINES]:
            self.say(f"line {line.line}: {line.reason}")
        if len(bad) > MOST_BAD_LINES:
            more = len(bad) - MOST_BAD_LINES
            self.say(f"and {more:,} more unusable lines (lyo publish --dry-run names them all)")
        self.say(f"Published {published.records:,} records in {published.seconds:.1f} s")
        return published.counts

    async def _ask(self) -> Counter[str]:
        """Publish the demo's own struggle requests."""
        lines = self.source.requests
        self.say(f"This file has no struggle requests, so the demo makes {len(lines)}: {self.source.about}")
        path = self.folder / "requests-of-the-demo.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines))
        return await self._publish(path, "Requesting")

    # ------------------------------------------------------------ waiting

    async def _settle(self, measure: Gauge, published: int) -> None:
        """Wait until all is in Postgres."""
        with self._bars(published) as on_distance:
            await measure.settle(on_distance)

    @contextmanager
    def _bars(self, published: int) -> Iterator[Callable[[Distance], None]]:
        """Show two bars on a terminal; elsewhere print a line from time to time."""
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        terminal = self.console.is_terminal
        most, next_line = 0, time.monotonic() + PLAIN_PROGRESS_SECONDS
        with Progress(*columns, console=self.console, transient=True, disable=not terminal) as bars:
            predicting = bars.add_task("Predicting", total=published)
            storing = bars.add_task("Storing", total=None)

            def on_distance(distance: Distance) -> None:
                nonlocal most, next_line
                self.distance = distance
                most = max(most, distance.unstored)
                bars.update(predicting, completed=max(published - distance.unread, 0))
                bars.update(storing, total=most or None, completed=most - distance.unstored)
                if not terminal and time.monotonic() > next_line:
                    next_line = time.monotonic() + PLAIN_PROGRESS_SECONDS
                    self.say(_lag(distance))

            yield on_distance

    # ------------------------------------------------------------ showing

    async def _early(self, showing: asyncio.Task[None]) -> None:
        """Show what there is so far if everything takes long."""
        await asyncio.sleep(max(self.ready_at + EARLY_SECONDS - time.monotonic(), 0.0))
        if showing.done() or self.distance == Distance(0, 0):
            return
        with contextlib.suppress(*UNAVAILABLE):
            rows = await picture.take(self.settings.database_url, self._now())
            lag = "events still being published" if self.distance is None else _lag(self.distance)
            self.say(f"\nSo far, {self._seconds()} s after the set-up; {lag}; the rest follows:")
            show.picture(self.console, rows, self._now())

    async def _whole(self, counts: Counter[str], dead_letters: int) -> None:
        rows = await picture.take(self.settings.database_url, self._now())
        took = self._seconds()
        show.picture(self.console, rows, self._now())
        show.counts(self.console, rows)
        kinds = ", ".join(f"{kind.replace('_', ' ')} {number:,}" for kind, number in counts.most_common())
        self.say(f"\n{counts.total():,} records published, all read, {dead_letters:,} refused: {kinds}")
        self.say(f"Shown from Postgres {took} s after the set-up, with no lag")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(Clock(self.settings.clock).now() / 1000, UTC)

    def _seconds(self) -> int:
        return round(time.monotonic() - self.ready_at)

    async def _stay(self, measure: Gauge) -> None:
        """Print the lag until cancelled: in place on a terminal, elsewhere a line from time to time."""
        terminal = self.console.is_terminal
        self.say("")
        for hint in self.hints:
            self.say(hint)
        self.say("\nEverything keeps running; Ctrl-C stops it all.")
        with contextlib.ExitStack() as stack:
            status = stack.enter_context(self.console.status("")) if terminal else None
            while True:
                line = await self._line(measure)
                if status is None:
                    self.say(line)
                else:
                    status.update(line)
                await asyncio.sleep(LINE_SECONDS if terminal else PLAIN_LINE_SECONDS)

    async def _line(self, measure: Gauge) -> str:
        try:
            self.distance = await measure.read()
            newest = await picture.newest_prediction(self.settings.database_url)
        except UNAVAILABLE as error:
            return f"Lag unknown: {type(error).__name__}"
        lag = _lag(self.distance)
        if newest is None:
            return lag
        minutes = max((self._now() - newest).total_seconds(), 0) / 60
        age = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
        return f"{lag}; newest dropout risk as of {newest:%Y-%m-%d %H:%M:%SZ}, {age} old"


def _lag(distance: Distance) -> str:
    return f"Lag: {distance.unread:,} events not read, {distance.unstored:,} records not in Postgres"

"""The demo from the published events to the end: everything between the stack's start and its stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import SQLAlchemyError

from cli.demonstration import picture, show
from cli.demonstration.children import Child, watch
from cli.demonstration.distance import Distance, Gauge, gauge
from cli.demonstration.source import Source
from cli.eventfile import Bad
from cli.progress import bytes_progress
from cli.publishing import publish_file
from streams.clock import Clock
from streams.settings import Settings

MOST_BAD_LINES = 5
LINE_SECONDS = 3.0
# Into a file or a pipe a line is written only so often.
PLAIN_LINE_SECONDS = 60.0
AWAY = (KafkaError, OSError, TimeoutError, asyncpg.PostgresError, SQLAlchemyError)


@dataclass(slots=True)
class Demo:
    """One run: where it prints, what it publishes, where to, and since when all is set up."""

    console: Console
    source: Source
    settings: Settings
    folder: Path
    children: list[Child]
    ready_at: float  # time.monotonic()

    def say(self, line: str) -> None:
        """Print a line as it is."""
        self.console.print(line, markup=False, soft_wrap=True)

    async def run(self, *, once: bool) -> None:
        """Publish, show, and stay unless `once`, with the worker and the sink watched.

        Raises:
            DemoError: a process does not live, or nothing moves.
            PublishError, Unreachable: the events cannot be published.
        """
        watching = asyncio.create_task(watch(self.children, self.say))
        showing = asyncio.create_task(self._show(once=once))
        try:
            await asyncio.wait({watching, showing}, return_when=asyncio.FIRST_COMPLETED)
            for task in (watching, showing):
                if task.done():
                    task.result()
        finally:
            for task in (watching, showing):
                task.cancel()
            await asyncio.gather(watching, showing, return_exceptions=True)

    async def _show(self, *, once: bool) -> None:
        counts = await self._publish(self.source.path, "Publishing")
        async with gauge(self.settings) as measure:
            await self._settle(measure, counts.total())
            if self.source.requests:
                counts += await self._ask()
                await self._settle(measure, counts.total())
            await self._picture(counts)
            if not once:
                await self._stay(measure)

    async def _publish(self, path: Path, doing: str) -> Counter[str]:
        bad: list[Bad] = []
        with bytes_progress(self.console, doing) as on_bytes:
            published = await publish_file(path, self.settings, on_bytes, bad.append)
        for one in bad[:MOST_BAD_LINES]:
            self.say(f"line {one.line}: {one.reason}")
        if len(bad) > MOST_BAD_LINES:
            self.say(
                f"and {len(bad) - MOST_BAD_LINES:,} more lines of no use (lyo publish --dry-run names all)"
            )
        self.say(f"Published {published.records:,} records in {published.seconds:.1f} s")
        return published.counts

    async def _ask(self) -> Counter[str]:
        """Publish the demo's own struggle requests."""
        lines = self.source.requests
        self.say(
            f"The file has no struggle requests: the demo asks {len(lines)} itself, "
            "about the learners who did most lately"
        )
        path = self.folder / "asked-by-the-demo.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines))
        return await self._publish(path, "Asking")

    async def _settle(self, measure: Gauge, published: int) -> None:
        """Wait until all is in Postgres, with two bars on a terminal."""
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal
        ) as bars:
            predicting = bars.add_task("Predicting", total=published)
            storing = bars.add_task("Storing", total=None)
            most = 0

            def on_distance(distance: Distance) -> None:
                nonlocal most
                most = max(most, distance.unstored)
                bars.update(predicting, completed=max(published - distance.unread, 0))
                bars.update(storing, total=most or None, completed=most - distance.unstored)

            await measure.settle(on_distance)

    async def _picture(self, counts: Counter[str]) -> None:
        found = await picture.take(self.settings.database_url)
        took = time.monotonic() - self.ready_at
        show.picture(self.console, found)
        show.counts(self.console, found)
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in counts.most_common())
        self.say(f"\n{counts.total():,} records read and predicted from ({kinds})")
        self.say(f"Shown {took:.0f} s after the set-up's end, from Postgres; lag 0")

    async def _stay(self, measure: Gauge) -> None:
        """Print how things are until cancelled: in place on a terminal, now and then elsewhere."""
        terminal = self.console.is_terminal
        self.say("\nEverything keeps running. Ctrl-C stops it all.")
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
            distance = await measure.read()
            newest = await picture.newest_prediction(self.settings.database_url)
        except AWAY as error:
            return f"lag unknown: {type(error).__name__}"
        lag = f"lag {distance.unread:,} events, {distance.unstored:,} records not in Postgres yet"
        if newest is None:
            return lag
        now = datetime.fromtimestamp(Clock(self.settings.clock).now() / 1000, UTC)
        minutes = max((now - newest).total_seconds(), 0) / 60
        age = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
        return f"{lag} · newest prediction as of {newest:%Y-%m-%d %H:%M:%SZ}, {age} old"

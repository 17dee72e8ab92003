"""`lyo simulate`: writes an event file of simulated learners."""

import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lyo.streams.event_files.writer import written
from lyo.tools.simulation import Plan, generate

DAY = 86_400_000


class InstantOrDay(click.ParamType):
    """An RFC 3339 time with an offset, or a date (its midnight, UTC); ms."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """`value` in ms; anything but a time or a date is bad usage."""
        if isinstance(value, int):
            return value
        text = str(value)
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither an RFC 3339 time nor a date", param, ctx)
        if time.tzinfo is None and len(text) > len("2026-03-01"):
            self.fail(f"{text!r} has no offset: write 2026-03-01T00:00:00Z", param, ctx)
        aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time
        return round(aware.timestamp() * 1000)


@click.command(epilog="Example: lyo simulate --learners 2000 --days 60 --seed 1 -o events.jsonl.gz")
@click.option("--learners", type=click.IntRange(1, 10_000_000), default=2000, show_default=True)
@click.option("--days", type=click.IntRange(1, 3650), default=60, show_default=True)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    help="The same seed and end give the same file.  [default: random]",
)
@click.option("--end", type=InstantOrDay(), help="All events arrive before this UTC day.  [default: today]")
@click.option(
    "--bad", type=click.FloatRange(0, 1, max_open=True), default=0.0, help="Share of unusable lines to add."
)
@click.option("--first-user", type=click.IntRange(1, 2**62), default=1, help="The first learner's id.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    help="The file; - is standard output, .gz compresses.  [default: -]",
)
def simulate(
    *, learners: int, days: int, seed: int | None, end: int | None, bad: float, first_user: int, output: Path
) -> None:
    """Write a seeded event file of simulated learners.

    Learners are of several kinds (steady, fading, cramming, stuck, returning, night owls) and time zones. All
    event types occur, some late and some twice. Every line has "simulated":true. The seed and the end are
    printed on standard error.
    """
    seed = secrets.randbelow(2**31) if seed is None else seed
    end_ms = int(time.time() * 1000) if end is None else end
    plan = Plan(learners, days, seed, end_ms // DAY * DAY, bad, first_user)
    if plan.first_day < 2 or plan.end > 7_258_118_400_000:
        raise click.UsageError("--end and --days reach outside the years 1970 to 2199")
    started = time.perf_counter()
    lines = write(plan, output)
    until = datetime.fromtimestamp(plan.end / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    took = time.perf_counter() - started
    click.echo(
        f"Simulated {learners:,} learners, {days} days up to {until}, seed {seed}: "
        f"{lines:,} lines in {took:.1f} s",
        err=True,
    )


def write(plan: Plan, output: Path) -> int:
    """Write the plan's file (`-` is standard output, `.gz` is compressed) and return its number of lines."""
    lines = 0
    with written(output) as file, _progress(plan, output) as progress:
        task = progress.add_task("days", total=plan.days)
        for piece in generate(plan, lambda day: progress.update(task, completed=day)):
            file.write(piece)
            lines += piece.count(b"\n")
    return lines


def _progress(plan: Plan, output: Path) -> Progress:
    """A progress bar of the days; hidden if it would mix with the lines, or show for a moment only."""
    console = Console(stderr=True)
    among = str(output) == "-" and sys.stdout.isatty()
    shown = console.is_terminal and not among and plan.learners * plan.days > 50_000
    return Progress(
        TextColumn("Simulating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("days"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not shown,
    )

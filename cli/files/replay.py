"""`lyo replay`: every current prediction of event files, without Kafka and Postgres."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from lyo.cli.moment import Moment
from lyo.evaluation.replay import Replay
from lyo.streams.event_files.progress import bytes_progress
from lyo.streams.event_files.reader import Bad, EventFileError


@click.command(epilog="Example: lyo replay events.jsonl.gz --at 2026-01-31T12:00:00Z")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--at", "at", type=Moment(), help="As of this time; later events are left out.  [default: the last event]"
)
def replay(*, files: tuple[Path, ...], at: int | None) -> None:
    """Fold event files and print every current prediction as JSON Lines.

    The objects are those of the prediction topics, with their kind as `type` in front, ordered by kind, user
    and skill or content. Lines that cannot be used are named on standard error; the exit code is then 1.
    """
    console = Console(stderr=True)

    def on_bad(bad: Bad) -> None:
        click.echo(f"line {bad.line}: {bad.reason}", err=True)

    replayed = Replay()
    for path in files:
        with bytes_progress(console, "Folding") as on_bytes:
            try:
                replayed.read(path, at, on_bytes, on_bad)
            except EventFileError as error:
                raise click.ClickException(str(error)) from None
    moment = replayed.newest if at is None else at
    replayed.settle(moment)
    out = sys.stdout.buffer
    for kind, _, value in replayed.predictions():
        out.write(b'{"type":"%s",' % kind.encode() + value[1:] + b"\n")
    out.flush()
    when = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds")
    click.echo(f"{replayed.events:,} events folded, as of {when}", err=True)
    if replayed.bad:
        raise SystemExit(1)

"""`lyo replay`: prints every current prediction of event files, without Kafka and Postgres."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from lyo.cli.instant import Instant
from lyo.cli.model_file import ModelFile
from lyo.evaluation.replay import Replay
from lyo.models.arrays.coefficients import Hazard
from lyo.models.engine import Engine
from lyo.models.state.catalogue import Catalogue
from lyo.streams.event_files.progress_bars import bytes_progress
from lyo.streams.event_files.reader import Bad, EventFileError


@click.command(epilog="Example: lyo replay events.jsonl.gz --at 2026-01-31T12:00:00Z")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--at",
    "at",
    type=Instant(),
    help="Predict as of this time and ignore later events.  [default: the last event]",
)
@click.option("--interventions", is_flag=True, help="Print decisions, too, as on `lyo.interventions`.")
@click.option(
    "--as",
    "mode",
    type=click.Choice(["history", "live"]),
    default="history",
    show_default=True,
    help="Decide once, at the end; or as if the events had come live, at the end of each learner's days.",
)
@click.option(
    "--weights",
    envvar="LYO_DROPOUT_MODEL",
    type=ModelFile(),
    help="A model file of `lyo fit` to compute dropout risks with.  [default: LYO_DROPOUT_MODEL]",
)
def replay(
    *, files: tuple[Path, ...], at: int | None, interventions: bool, mode: str, weights: Hazard | None
) -> None:
    """Fold event files and print every current prediction as JSON Lines.

    The objects are those of the prediction topics, with their kind as `type` in front, ordered by kind, user
    and skill or content. Decisions follow by user and time, with an `intervention_id`; their `type` is the
    intervention's. Lines that cannot be used are named on standard error; the exit code is then 1.
    """
    console = Console(stderr=True)

    def on_bad(bad: Bad) -> None:
        click.echo(f"line {bad.line}: {bad.reason}", err=True)

    replayed = Replay(Engine(Catalogue(weights), with_interventions=interventions), live=mode == "live")
    for path in files:
        with bytes_progress(console, "Folding") as on_bytes:
            try:
                replayed.read(path, at, on_bytes, on_bad)
            except EventFileError as error:
                raise click.ClickException(str(error)) from None
    as_of = replayed.newest if at is None else at
    replayed.settle(as_of)
    out = sys.stdout.buffer
    for kind, _, value in replayed.predictions():
        out.write(b'{"type":"%s",' % kind.encode() + value[1:] + b"\n")
    for value in replayed.decided():
        out.write(value + b"\n")
    out.flush()
    when = datetime.fromtimestamp(as_of / 1000, UTC).isoformat(timespec="seconds")
    click.echo(f"{replayed.events:,} events folded, as of {when}", err=True)
    if replayed.bad:
        raise SystemExit(1)

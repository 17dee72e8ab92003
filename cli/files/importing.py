"""`lyo import`: converts publishers' files into an event file."""

from __future__ import annotations

import csv
import sys
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console

from lyo.evaluation.formats import FORMATS, Output
from lyo.evaluation.formats.csv_tables import tables
from lyo.streams.event_files.writer import written


@click.command(
    name="import",
    epilog="Example: lyo import assistments skill_builder_data.csv -o events.jsonl.gz\n\n"
    "Example: lyo import oulad anonymisedData.zip --labels enrolments.csv -o events.jsonl.gz",
)
@click.argument("name", metavar="FORMAT", type=click.Choice(list(FORMATS)))
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    help="The event file; - is standard output, .gz compresses.  [default: -]",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False),
    help="oulad, kdd2015: a file for who dropped out, for `lyo evaluate --labels`.",
)
@click.option(
    "--user",
    type=click.IntRange(1, 2**62),
    default=1,
    show_default=True,
    help="anki, fsrs: the learner's id.",
)
def import_(*, name: str, files: tuple[Path, ...], output: Path, labels: Path | None, user: int) -> None:
    """Convert publishers' files into events, ordered by time.

    \b
    assistments  ASSISTments 2009, 2012, 2015 and 2017, told apart by their columns
    oulad        Open University: studentRegistration, assessments, studentAssessment, studentVle, studentInfo
    kdd2015      KDD Cup 2015: log, enrollment, truth, date
    anki, fsrs   review logs: CSV in the optimizer's columns, .anki2, .apkg, .colpkg
    xes3g5m      question sequences in the columns of pyKT

    Files may be plain, .gz or .zip, in UTF-8 (with or without a byte order mark) or Windows-1252. Lines that
    cannot be used are named on standard error and left out; the exit code is then 1.
    """  # noqa: D301 - click reads the backspace as: keep these lines
    if labels is not None and name not in ("oulad", "kdd2015"):
        raise click.UsageError(f"--labels: {name} files do not say who dropped out")
    with ExitStack() as stack:
        label_file = None
        if labels is not None:
            label_file = stack.enter_context(labels.open("w", encoding="utf-8", newline=""))
        status = stack.enter_context(Console(stderr=True).status("Reading"))
        output_of = Output(
            _name, label_file, user, lambda table, line: status.update(f"Reading {table}: {line:,} lines")
        )
        try:
            FORMATS[name](list(tables(list(files))), output_of)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, csv.Error, ValueError) as error:
            raise click.ClickException(str(error)) from None
        status.update(f"Writing {output_of.written:,} events")
        with written(output) as target:
            for line in output_of.lines():
                target.write(line)
    for note in output_of.notes:
        click.echo(note, err=True)
    click.echo(f"{output_of.written:,} events, {output_of.bad:,} lines that cannot be used", err=True)
    if output_of.bad:
        sys.exit(1)


def _name(table: str, number: int, reason: str) -> None:
    click.echo(f"{table}: line {number}: {reason}", err=True)

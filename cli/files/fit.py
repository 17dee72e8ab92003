"""`lyo fit`: the coefficients of dropout, fitted on event files of one's own, into a model file."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from lyo.cli.files.evaluate import Days, read_events, task_of
from lyo.evaluation.dropout.examples import Examples, FitError, gather, held_out
from lyo.evaluation.tasks import Options
from lyo.evaluation.tasks.dropout import DropoutTask
from lyo.evaluation.text import number, table
from lyo.models.arrays.coefficients import Hazard
from lyo.models.formulas.hazard import HORIZONS
from lyo.streams.model_files import FittedOn, encode, read_hazard

_DAY = click.DateTime(["%Y-%m-%d"])
_EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(
    epilog="Example: lyo fit events.jsonl.gz --out dropout.json\n\n"
    "Example: lyo fit xuetang.jsonl.gz --labels xuetang.labels.csv.gz --split course --out dropout.json"
)
@click.argument("files", nargs=-1, required=True, type=_EXISTING)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The model file to write."
)
@click.option(
    "--labels", type=_EXISTING, help="CSV with user_id, dropped, and at or start; or OULAD's enrolments."
)
@click.option(
    "--split",
    default="learner",
    show_default=True,
    help="What is held out for the figures: learner, group, or a column of the labels.",
)
@click.option("--days", type=Days(), help="Days after a labelled start.  [default: 7,14,21,30]")
@click.option("--since", type=_DAY, help="Fit on what was known of learners from this date on.")
@click.option("--until", type=_DAY, help="Fit on what was known of learners before this date.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def fit(
    *,
    files: tuple[Path, ...],
    out: Path,
    labels: Path | None,
    split: str,
    days: tuple[int, ...] | None,
    since: datetime | None,
    until: datetime | None,
    as_json: bool,
) -> None:
    """Fit the hazard of dropout on event files, and write its coefficients as a model file.

    Learners are looked at at the end of each of their weeks: does nothing come of them for 7, 14 and 28 days?
    Or at the times of a label file. Printed is how good fits on other learners (or groups) are, beside the
    shipped model and a constant; written is a fit on all. `lyo evaluate --model FILE` measures it elsewhere,
    and LYO_DROPOUT_MODEL=FILE serves it. Lines that cannot be used are named on standard error; the exit code
    is then 1.
    """
    console = Console(stderr=True)
    events = read_events(files, console)
    horizon = None if labels is not None else HORIZONS[-1]
    task = task_of("dropout", events, Options(labels=labels, split=split, days=days, horizon=horizon))
    assert isinstance(task, DropoutTask)
    try:
        examples = gather(events, task, _ms(since), _ms(until))
        model, figures = examples.fit(), list(held_out(examples))
    except FitError as error:
        raise click.ClickException(str(error)) from None
    served = _write(out, model, _fitted_on(examples, files, labels))
    if as_json:
        click.echo(json.dumps({"model": served.model, "held_out": figures}))
    else:
        click.echo(_page(served.model, examples, figures))
    if events.bad or task.bad:
        raise SystemExit(1)


def _ms(date: datetime | None) -> int | None:
    return None if date is None else round(date.replace(tzinfo=UTC).timestamp() * 1000)


def _write(out: Path, model: Hazard, fitted_on: FittedOn) -> Hazard:
    """Write a model file whole, and read it as a process does that serves it."""
    beside = out.with_name(f"{out.name}.part")
    try:
        beside.write_bytes(encode(model, fitted_on))
        served = read_hazard(beside)
        beside.replace(out)
    except OSError as error:
        raise click.ClickException(f"--out: {out}: {error.strerror or error}") from None
    return served


def _fitted_on(examples: Examples, files: tuple[Path, ...], labels: Path | None) -> FittedOn:
    at = examples.queries.at
    first, last = (datetime.fromtimestamp(one / 1000, UTC).date().isoformat() for one in (at.min(), at.max()))
    return FittedOn(
        outcome="silence from the end of a learner's week on" if labels is None else "labels of a file",
        n=len(at),
        positives={one.name: int(one.label.sum()) for one in examples.outcomes()},
        learners=len(np.unique(examples.queries.user)),
        first=first,
        last=last,
        files=[_digest(path) for path in files],
        labels=None if labels is None else _digest(labels),
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _page(model: str, examples: Examples, figures: list[dict[str, Any]]) -> str:
    rows = [["outcome", "n", "rate", "model", "AUC", "log loss", "ECE", "mean"]]
    for found in figures:
        head = [found["outcome"], f"{found['n']:,}", number(found["rate"])]
        for name, one in found["models"].items():
            keys = ("auc", "log_loss", "ece", "mean")
            rows.append([*head, name, *(number(one[key]) for key in keys)])
            head = ["", "", ""]
    calibration = [["outcome", "predicted", "true", "n"]]
    for found in figures:
        if "," in found["outcome"]:  # of one day alone
            continue
        name = found["outcome"]
        for one in found["models"]["fitted"]["reliability"]:
            calibration.append([name, number(one["predicted"]), number(one["true"]), f"{one['n']:,}"])
            name = ""
    learners = len(np.unique(examples.queries.user))
    title = f"{model}: fitted on {len(examples.terms):,} moments of {learners:,} learners"
    below = ["", "Calibration of what is fitted, held out", *table(calibration)]
    return "\n".join([title, "", "Held out", *table(rows), *below])

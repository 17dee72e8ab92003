"""`lyo evaluate`: what predictions are worth on event files, each made before its event is folded in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from lyo.evaluation.events.stream import Events, read
from lyo.evaluation.plot import reliability_svg
from lyo.evaluation.report import report
from lyo.evaluation.run import run
from lyo.evaluation.tasks import TASKS, Options, Task
from lyo.evaluation.tasks.dropout import DropoutTask, served
from lyo.evaluation.text import text
from lyo.streams.event_files.progress_bars import bytes_progress, records_progress
from lyo.streams.event_files.reader import Bad, EventFileError
from lyo.streams.model_files import read_hazard

MODEL_FILE = ".json"
BASELINES = ("weights", "constant", "rule")


class Days(click.ParamType):
    """Whole days, separated by commas."""

    name = "days"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read them."""
        try:
            return tuple(int(day) for day in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of days such as 7,14,21,30", param, ctx)


@click.command(
    epilog="Example: lyo evaluate events.jsonl.gz --task struggle\n\n"
    "Example: lyo evaluate xuetang.jsonl.gz --task dropout --labels xuetang.labels.csv.gz --split course"
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--task", type=click.Choice(list(TASKS)), required=True, help="What is predicted.")
@click.option(
    "--model",
    "models",
    help="Models side by side, by name or as files of lyo fit (.json); all: every name.  [default: what is "
    "served, weights, constant, rule]",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Dropout: CSV with user_id, dropped, and at or start; or OULAD's enrolments.",
)
@click.option("--split", help="Learn from others only: learner, group, or a column of the labels.")
@click.option(
    "--horizon", type=click.IntRange(1), help="Dropout: days without an event.  [default: 14; OULAD: 28]"
)
@click.option("--days", type=Days(), help="Dropout: days after a labelled start at which to ask.")
@click.option("--least-gap", type=click.FloatRange(0), help="Recall, regression: only after so many days.")
@click.option(
    "--skills-as",
    type=click.Choice(["similar", "prerequisites"]),
    default="similar",
    show_default=True,
    help="Struggle: what a completion's skills stand for in the question.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write a reliability diagram, SVG."
)
def evaluate(
    *, files: tuple[Path, ...], task: str, models: str | None, as_json: bool, plot: Path | None, **chosen: Any
) -> None:
    """Predict before each event of the files is folded in, and compare with what came.

    \b
    struggle    every scored completion: its score is under 0.5
    recall      every repeated skill: its score is 0.5 or more
    dropout     at the end of each learner's weeks: nothing comes in the next days
    timing      each hour of the day: the next session begins in it
    plateau     after the sixth answer at a skill and every tenth from there:
                of the next ten, under .85 are right, and less than .05 more
                than of the last six
    regression  an attempt after a day and more at a skill with three scores
                and more: it fails

    Models: the first is what is served, `weights` are the specification's, `constant` is the overall rate
    until then, and `rule` is what a team would do without predictions; the page says what each is. What
    learns from labels learns from what was known before each question, or with --split from other learners
    or groups. Lines that cannot be used are named on standard error; the exit code is then 1.
    """  # noqa: D301 - click reads the backspace as: keep these lines
    console = Console(stderr=True)
    events = read_events(files, console)
    asked = task_of(task, events, Options(**chosen))
    _with_files(asked, models)
    names = _names(asked, models)
    if not len(asked.queries):
        raise click.ClickException(f"nothing to ask about for the task {task!r} in these files")
    split = chosen["split"] is not None or chosen["labels"] is not None
    with records_progress(console, "Predicting") as on_done:
        try:
            verdicts = run(events, asked, names, split=split, on_done=on_done)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    results = {"files": [str(path) for path in files], **report(asked, verdicts)}
    click.echo(json.dumps(results) if as_json else text(results))
    if plot is not None:
        plot.write_text(reliability_svg(results), encoding="utf-8")
    if events.bad or asked.bad:
        raise SystemExit(1)


def read_events(files: tuple[Path, ...], console: Console) -> Events:
    """Event files as one stream, bad lines named on standard error."""

    def on_bad(path: Path, bad: Bad) -> None:
        click.echo(f"{path}: line {bad.line}: {bad.reason}", err=True)

    with bytes_progress(console, "Reading") as on_bytes:
        try:
            return read(files, on_bad, on_bytes)
        except EventFileError as error:
            raise click.ClickException(str(error)) from None


def task_of(name: str, events: Events, options: Options) -> Task:
    """A task over a stream, with what its options cannot be used for as usage errors."""
    if options.split not in (None, "learner") and options.labels is None:
        raise click.UsageError(f"--split {options.split} needs --labels: without, there is only learner")
    if options.labels is not None and name != "dropout":
        raise click.UsageError("--labels are for --task dropout")
    try:
        asked = TASKS[name].over(events, options)
    except OSError as error:
        raise click.ClickException(str(error)) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    for line, reason in asked.bad:
        click.echo(f"{options.labels}: line {line}: {reason}", err=True)
    return asked


def _with_files(task: Task, models: str | None) -> None:
    """Let the model files among the names compete, each under its path."""
    for name in map(str.strip, (models or "").split(",")):
        if name.endswith(MODEL_FILE) and name not in task.contenders:
            if not isinstance(task, DropoutTask):
                raise click.BadParameter(f"{name}: model files are for --task dropout", param_hint="--model")
            try:
                found = read_hazard(Path(name))
            except ValueError as error:
                raise click.BadParameter(f"{name}: {error}", param_hint="--model") from None
            task.beside[name] = served(found.model, found)


def _names(task: Task, models: str | None) -> tuple[str, ...]:
    if models is None:
        return tuple(dict.fromkeys((next(iter(task.contenders)), *BASELINES)))
    if models == "all":
        return tuple(task.contenders)
    names = tuple(dict.fromkeys(name.strip() for name in models.split(",")))
    for name in names:
        if name not in task.contenders and name not in task.beside:
            known = ", ".join(task.contenders)
            raise click.BadParameter(f"{name!r} is none of {known}", param_hint="--model")
    return names

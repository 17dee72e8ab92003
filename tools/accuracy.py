"""Computes the tables of `docs/accuracy.md` from event files: `make accuracy`.

A table stands in the document between `<!-- lyo evaluate ... | parts -->` and `<!-- made -->`. The command
runs in the folder of the event files, and its report replaces the table. A table whose files are missing
stays as it is. To add a table, write its two comments.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

__all__ = ["PARTS", "Run", "commands", "with_tables"]

BEGIN = re.compile(r"^<!-- (lyo evaluate [^|]+?)(?: \| ([a-z ,]+))? -->$")
END = "<!-- made -->"

Report = dict[str, Any]
Run = Callable[[list[str]], Report | None]
"""Runs a command, given as its words, and returns its report; None leaves the table as it is."""

SCORES = {
    "AUC": "auc",
    "AUC in a learner": "auc_within",
    "log loss": "log_loss",
    "accuracy": "accuracy",
    "Brier": "brier",
    "ECE": "ece",
}


def commands(document: str) -> list[tuple[list[str], tuple[str, ...]]]:
    """The words of every command in a document, and the parts of its report that are shown.

    Raises:
        ValueError: a part is unknown, or a table has no end.
    """
    commands = []
    lines = document.splitlines()
    for place, line in enumerate(lines):
        if match := BEGIN.match(line):
            parts = tuple((match[2] or "scores").replace(" ", "").split(","))
            unknown = [part for part in parts if part not in PARTS]
            if unknown or not _end(lines, place):
                raise ValueError(f"line {place + 1}: {unknown or 'no end of the table'}")
            commands.append((shlex.split(match[1]), parts))
    return commands


def with_tables(document: str, run: Run) -> str:
    """The document with every table computed again."""
    commands(document)
    lines = document.splitlines()
    kept: list[str] = []
    place = 0
    while place < len(lines):
        kept.append(lines[place])
        match = BEGIN.match(lines[place])
        if match:
            end = _end(lines, place)
            report = run(shlex.split(match[1]))
            parts = (match[2] or "scores").replace(" ", "").split(",")
            kept += lines[place + 1 : end] if report is None else _table(match[1], report, parts)
            place = end
        else:
            place += 1
    return "\n".join([*kept, ""])


def _end(lines: list[str], begin: int) -> int:
    """The line number at which a table ends; 0 if it has no end."""
    for place in range(begin + 1, len(lines)):
        if lines[place] == END:
            return place
        if BEGIN.match(lines[place]):
            return 0
    return 0


def _table(command: str, report: Report, parts: list[str]) -> Iterator[str]:
    yield f"`{command}`: {report['n']:,} questions, {_number(report['positives'] / report['n'])} positive"
    for why, count in report["left_out"].items():
        yield f"(left out: {count:,} {why})"
    for part in parts:
        head, *rows = PARTS[part](report)
        if rows:
            yield from ("", _row(head), _row(["---"] * len(head)), *map(_row, rows))
    yield ""


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _scores(report: Report) -> Iterator[list[str]]:
    yield ["model", *SCORES]
    for name, model in report["models"].items():
        yield [f"{name}: {model['what']}", *(_number(model[key]) for key in SCORES.values())]


def _alarms(report: Report) -> Iterator[list[str]]:
    yield [
        "alarm of",
        "n",
        "precision",
        "recall",
        "lift",
        "lift over the rule",
        "a day",
        "odds (95 %)",
        "within learners",
    ]
    for name, model in report["models"].items():
        if alarm := model.get("alarms"):
            figures = [_number(alarm[key]) for key in ("precision", "recall", "lift", "lift_over_rule")]
            odds = [_odds(alarm["odds"]), _odds(alarm["odds_within"])]
            yield [name, f"{alarm['flagged']:,}", *figures, _number(alarm["flagged_a_day"], 1), *odds]


def _levels(report: Report) -> Iterator[list[str]]:
    levelled = {name: model["levels"] for name, model in report["models"].items() if "levels" in model}
    days = sorted(
        {day for levels in levelled.values() for level in levels.values() for day in level.get("days", {})},
        key=int,
    )
    yield ["level", "n", "rate", *(f"day {day}" for day in days)]
    for name, levels in levelled.items():
        for name_of_level, level in levels.items():
            by_day = [_number(level["days"][day]["rate"]) for day in days] if "days" in level else []
            yield [f"{name}: {name_of_level}", f"{level['n']:,}", _number(level["rate"]), *by_day]


def _slices(report: Report) -> Iterator[list[str]]:
    """AUC and log loss of each model, slice by slice."""
    yield ["slice", "n", "rate", *(f"{name} (AUC / log loss)" for name in report["models"])]
    for name in next(iter(report["models"].values()))["slices"]:
        parts = [model["slices"][name] for model in report["models"].values()]
        figures = [f"{_number(part['auc'])} / {_number(part['log_loss'])}" for part in parts]
        yield [name, f"{parts[0]['n']:,}", _number(parts[0]["positives"] / parts[0]["n"]), *figures]


def _hours(report: Report) -> Iterator[list[str]]:
    yield [
        "model",
        "sessions",
        "mass on their hour",
        "surprise (nats)",
        "likeliest hour",
        "in peaks",
        "peaks cover",
        "at a good time",
        "good times cover",
    ]
    for name, model in report["models"].items():
        if hours := model.get("hours"):
            keys = ("mass", "surprise", "likeliest", "in_peaks", "peaks_cover", "in_good", "good_covers")
            yield [
                f"{name}: {model['what']}",
                f"{hours['sessions']:,}",
                *(_number(hours.get(key)) for key in keys),
            ]


def _at_end(report: Report) -> Iterator[list[str]]:
    """Alarms that are active when all events are folded."""
    levels = list(report["at_end"].get("levels", ()))
    yield ["at the end of the file", "skills", "active", *levels, "learners with one", "most of one learner"]
    for name, alarms in (("all", report["at_end"]), ("high and critical", report["at_end"].get("urgent"))):
        if alarms:
            counts = [alarms["skills"], alarms["active"], *alarms["levels"].values()]
            share = f"{alarms['learners_with']:,} of {alarms['learners']:,}"
            yield [name, *(f"{count:,}" for count in counts), share, str(alarms["most_of_a_learner"])]


def _calibration(report: Report) -> Iterator[list[str]]:
    """The reliability bins of the first model."""
    yield ["predicted", "true", "n"]
    for bin_ in next(iter(report["models"].values()))["reliability"]:
        yield [_number(bin_["predicted"]), _number(bin_["true"]), f"{bin_['n']:,}"]


PARTS: dict[str, Callable[[Report], Iterator[list[str]]]] = {
    "scores": _scores,
    "alarms": _alarms,
    "levels": _levels,
    "slices": _slices,
    "hours": _hours,
    "atend": _at_end,
    "calibration": _calibration,
}


def _odds(odds: Report | None) -> str:
    return "-" if odds is None else f"{odds['ratio']:.2f} ({odds['lower']:.2f}-{odds['upper']:.2f})"


def _number(value: float | None, digits: int = 3) -> str:
    return (
        "-"
        if value is None
        else f"{value:.{digits}f}".replace("0.", ".", 1)
        if 0 <= value < 1
        else f"{value:.{digits}f}"
    )


def main(arguments: list[str]) -> int:
    """Make the tables whose command holds some words: `accuracy FOLDER DOCUMENT [WORDS]`."""
    folder, document, only = Path(arguments[0]), Path(arguments[1]), " ".join(arguments[2:])

    def run(words: list[str]) -> Report | None:
        command = shlex.join(words)
        missing = [word for word in words if word.endswith(".gz") and not (folder / word).exists()]
        if missing or only not in command:
            click.echo(
                f"kept: {command}" + (f", not there: {', '.join(missing)}" if missing else ""), err=True
            )
            return None
        click.echo(command, err=True)
        arguments = [sys.executable, "-m", "lyo.cli.main", *words[1:], "--json"]
        answer = subprocess.run(arguments, cwd=folder, check=True, stdout=subprocess.PIPE)
        report: Report = json.loads(answer.stdout)
        return report

    document.write_text(with_tables(document.read_text(encoding="utf-8"), run), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A report as plain text: models side by side, then slices, alarms, levels and calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["number", "table", "text"]

Report = dict[str, Any]
COLUMNS = {
    "AUC": "auc",
    "in learner": "auc_within",
    "log loss": "log_loss",
    "accuracy": "accuracy",
    "Brier": "brier",
    "ECE": "ece",
}


def text(report: Report) -> str:
    """The whole page."""
    models: dict[str, Report] = report["models"]
    lines = [f"{report['task']}: {report['positive']}"]
    lines.append(f"{report['n']:,} questions, {report['positives']:,} positive{_share(report)}")
    lines += [f"left out: {count:,} {why}" for why, count in report["left_out"].items()]
    lines += ["", *table(_scores(models))]
    lines += ["", *(f"{name}: {figures['what']}" for name, figures in models.items())]
    for title, rows in (
        ("Alarms", _alarms(models)),
        ("Sessions", _hours(models)),
        ("Levels", _levels(models)),
        ("Slices", _slices(models)),
        ("Calibration", _calibration(models)),
    ):
        filled = list(rows)
        if len(filled) > 1:
            lines += ["", title, *table(filled)]
    lines += _at_end(report["at_end"])
    return "\n".join(lines)


def _at_end(figures: Report) -> list[str]:
    if not figures:
        return []
    lines = ["", "At the end of the files", _active_alarms(figures)]
    if urgent := figures.get("urgent"):
        lines.append(f"high and critical: {_active_alarms(urgent)}")
    return lines


def _active_alarms(figures: Report) -> str:
    levels = ", ".join(f"{count:,} {name}" for name, count in figures["levels"].items())
    skills = f"{figures['active']:,} of {figures['skills']:,} skills" + (f" ({levels})" if levels else "")
    learners = f"{figures['learners_with']:,} of {figures['learners']:,} learners"
    return f"{skills}, {learners}, at most {figures['most_of_a_learner']} each"


def _share(report: Report) -> str:
    return f" ({report['positives'] / report['n']:.3f})" if report["n"] else ""


def _scores(models: dict[str, Report]) -> Iterator[list[str]]:
    yield ["model", *COLUMNS]
    for name, figures in models.items():
        yield [name, *(number(figures[key]) for key in COLUMNS.values())]


def _slices(models: dict[str, Report]) -> Iterator[list[str]]:
    yield ["slice", "n", "rate", "model", *COLUMNS]
    for slice_name in next(iter(models.values())).get("slices", ()):
        for place, (name, figures) in enumerate(models.items()):
            part = figures["slices"][slice_name]
            head = (
                [slice_name, f"{part['n']:,}", number(part["positives"] / part["n"])]
                if not place
                else [""] * 3
            )
            yield [*head, name, *(number(part[key]) for key in COLUMNS.values())]


def _alarms(models: dict[str, Report]) -> Iterator[list[str]]:
    yield [
        "model",
        "flagged",
        "precision",
        "recall",
        "lift",
        "over rule",
        "a day",
        "odds ratio (95 %)",
        "within learners",
    ]
    for name, figures in models.items():
        if alarm := figures.get("alarms"):
            shares = [number(alarm[key]) for key in ("precision", "recall", "lift", "lift_over_rule")]
            a_day = number(alarm["flagged_a_day"], 1)
            yield [
                name,
                f"{alarm['flagged']:,}",
                *shares,
                a_day,
                _odds(alarm["odds"]),
                _odds(alarm["odds_within"]),
            ]


def _hours(models: dict[str, Report]) -> Iterator[list[str]]:
    yield [
        "model",
        "sessions",
        "mass",
        "surprise",
        "likeliest",
        "in peaks",
        "peaks cover",
        "in good",
        "good covers",
    ]
    for name, figures in models.items():
        if hours := figures.get("hours"):
            keys = ("mass", "surprise", "likeliest", "in_peaks", "peaks_cover", "in_good", "good_covers")
            yield [name, f"{hours['sessions']:,}", *(number(hours.get(key)) for key in keys)]


def _levels(models: dict[str, Report]) -> Iterator[list[str]]:
    yield ["model", "day", "level", "n", "rate"]
    for name, figures in models.items():
        for level, part in figures.get("levels", {}).items():
            yield [name, "all", level, f"{part['n']:,}", number(part["rate"])]
        days = sorted(
            {day for part in figures.get("levels", {}).values() for day in part.get("days", {})}, key=int
        )
        for day in days:
            for level, part in figures["levels"].items():
                yield [name, day, level, f"{part['days'][day]['n']:,}", number(part["days"][day]["rate"])]


def _calibration(models: dict[str, Report]) -> Iterator[list[str]]:
    yield ["model", "predicted", "true", "n"]
    for name, figures in models.items():
        for bin_ in figures["reliability"]:
            yield [name, number(bin_["predicted"]), number(bin_["true"]), f"{bin_['n']:,}"]


def _odds(odds: Report | None) -> str:
    return "-" if odds is None else f"{odds['ratio']:.2f} ({odds['lower']:.2f}-{odds['upper']:.2f})"


def number(value: float | None, digits: int = 3) -> str:
    """A figure, `-` where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def table(rows: Iterator[list[str]] | list[list[str]]) -> list[str]:
    """Lines of rows of cells, in columns."""
    cells = list(rows)
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]

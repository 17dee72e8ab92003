"""The demo's tables, for readers who are new to this system."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lyo.models.arrays.tzif import info
from lyo.storage.reads.queries import Row
from lyo.tools.demo.picture import Picture

LEVEL_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "green"}
MOST_FACTORS = 3
NOTHING = "–"
HOURS = 24


def picture(console: Console, rows: Picture, now: datetime) -> None:
    """Print a table of each kind of prediction, the most telling rows first."""
    have = rows.counts
    levels = ", ".join(f"{rows.levels[level]:,} {level}" for level in LEVEL_STYLES if level in rows.levels)
    _section(
        console,
        "Dropout risk",
        f"{have['dropout_risk_scores']:,} learners, {levels or 'none yet'}; "
        "the highest and one of each other level:",
        risks(rows.risks),
    )
    _section(
        console,
        "Timing",
        f"when they study, in their own time zones; {have['user_timing_profiles']:,} profiles, the surest:",
        timing(rows.timing, now),
    )
    _section(
        console,
        "Plateaus",
        f"much practice, no gain; {_active(rows.active_plateaus, have['learning_plateaus'], 'newest')}",
        plateaus(rows.plateaus),
    )
    _section(
        console,
        "Regressions",
        "skills that are being forgotten; "
        f"{_active(rows.active_regressions, have['skill_regressions'], 'largest')}",
        regressions(rows.regressions),
    )
    _section(
        console,
        "Struggle",
        f"with one content each; {have['struggle_predictions']:,} predictions, the likeliest:",
        struggles(rows.struggles),
    )


def _section(console: Console, title: str, about: str, table: Table) -> None:
    console.print()
    console.print(Text.assemble((title, "bold"), f": {about}"))
    if table.row_count:
        console.print(table)
    else:
        console.print("  none")


def _active(active: int, all_of_them: int, which: str) -> str:
    if active:
        return f"{active:,} active and {all_of_them - active:,} ended, the {which}:"
    return f"none active and {all_of_them:,} ended" + (", the newest:" if all_of_them else ":")


def risks(rows: Sequence[Row]) -> Table:
    """Dropout risks with their factors and what to do first."""
    table = _table("Learner", "Level", ">Risk", ">Confidence", "0.50 and", "First intervention")
    for row in rows:
        offers = (row["reengagement_strategy"] or {}).get("interventions", [])
        offer = f"{offers[0]['title']} {offers[0]['message']}" if offers else "none"
        table.add_row(
            str(row["user_id"]),
            _level(row["risk_level"]),
            _share(row["risk_score"]),
            _share(row["confidence"]),
            _factors(row),
            Text(offer),
        )
    return table


def timing(rows: Sequence[Row], now: datetime) -> Table:
    """Timing profiles in the learners' own time; a next time before `now` passed without the learner."""
    table = _table(
        "Learner",
        "Time zone",
        "Peak hours",
        "Best days",
        "Study next",
        ">Minutes",
        ">Sessions",
        ">Confidence",
    )
    for row in rows:
        table.add_row(
            str(row["user_id"]),
            row["timezone"] or "UTC",
            hours(row["peak_hours"] or ()) or NOTHING,
            ", ".join(day[:3] for day in row["best_days"] or ()) or NOTHING,
            _local(row["recommended_time"], row["timezone"], now),
            _number(row["avg_session_duration_minutes"], 0),
            str(row["sessions_analyzed"]),
            _share(row["confidence"]),
        )
    return table


def plateaus(rows: Sequence[Row]) -> Table:
    """Plateaus that last, with what to try."""
    table = _table("Learner", "Skill", ">Days", ">Attempts", ">Mastery", ">Gain", ">Confidence", "Suggestion")
    for row in rows:
        table.add_row(
            str(row["user_id"]),
            Text(row["skill_id"]),
            str(row["days_on_topic"]),
            str(row["attempts"]),
            _share(row["mastery_level"]),
            f"{row['mastery_improvement']:+.2f}",
            _share(row["confidence"]),
            Text(row["intervention_suggested"] or NOTHING) if row["is_active"] else _ended(row["ended_at"]),
        )
    return table


def regressions(rows: Sequence[Row]) -> Table:
    """Skills that fade."""
    table = _table(
        "Learner", "Skill", ">Peak", ">Now", ">In a week", ">Days unpractised", "Urgency", ">Confidence"
    )
    for row in rows:
        table.add_row(
            str(row["user_id"]),
            Text(row["skill_name"] or row["skill_id"]),
            _share(row["peak_mastery"]),
            _share(row["current_mastery"]),
            _share(row["predicted_mastery_in_week"]),
            str(row["days_since_practice"]),
            _level(row["urgency"]) if row["is_active"] else _ended(row["resolved_at"]),
            _share(row["confidence"]),
        )
    return table


def struggles(rows: Sequence[Row]) -> Table:
    """Struggle predictions with what to say."""
    table = _table("Learner", "Content", ">Probability", ">Confidence", "0.50 and", "What to say")
    for row in rows:
        table.add_row(
            str(row["user_id"]),
            Text(row["content_id"]),
            _share(row["struggle_probability"]),
            _share(row["confidence"]),
            _factors(row),
            Text(row["help_message"] or row["reason"] or "no help needed"),
        )
    return table


def counts(console: Console, rows: Picture) -> None:
    """Print the number of rows of each table."""
    table = _table("Table in Postgres", ">Rows")
    for name, number in rows.counts.items():
        table.add_row(name, f"{number:,}")
    console.print()
    console.print(table)


def hours(peak_hours: Sequence[int]) -> str:
    """Hours of the day as ranges, which may cross midnight: 22, 23, 0 is 22–1."""
    chosen = set(peak_hours)
    if len(chosen) == HOURS:
        return "all day"
    ranges = []
    for first in sorted(hour for hour in chosen if (hour - 1) % HOURS not in chosen):
        end = first
        while end % HOURS in chosen:
            end += 1
        ranges.append(f"{first}–{end % HOURS}")
    return ", ".join(ranges)


def _table(*headings: str) -> Table:
    """A table; > in front of a heading aligns the column to the right, for numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold cyan", show_edge=False)
    for heading in headings:
        table.add_column(heading.lstrip(">"), justify="right" if heading[0] == ">" else "left")
    return table


def _ended(at: datetime | None) -> Text:
    return Text("ended" if at is None else f"ended {at:%d %b %Y}", "dim")


def _level(name: str) -> Text:
    return Text(name, LEVEL_STYLES.get(name, ""))


def _factors(row: Row) -> Text:
    """The largest contributions, and the sum of the others: with 0.50 they add up to the score."""
    parts = sorted(row["factors"] or (), key=lambda factor: -abs(factor["contribution"]))
    shown = [factor for factor in parts if factor["contribution"]]
    most = len(shown) if len(shown) <= MOST_FACTORS + 1 else MOST_FACTORS
    lines = [f"{factor['contribution']:+.2f} {factor['name'].replace('_', ' ')}" for factor in shown[:most]]
    if rest := shown[most:]:
        others = sum(factor["contribution"] for factor in rest)
        lines.append(f"{others:+.2f} {len(rest)} others together")
    return Text("\n".join(lines) or (row["reason"] or NOTHING))


def _share(value: Any) -> str:
    return _number(value, 2)


def _number(value: Any, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _local(at: datetime | None, zone: str | None, now: datetime) -> str:
    if at is None:
        return NOTHING
    local = at.astimezone(info(zone or "UTC"))
    return f"{local:%a %d %b %H:%M}" if at >= now else f"passed {local:%d %b %Y}"

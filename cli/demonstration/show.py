"""The demo's tables, as a stranger reads them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cli.demonstration.picture import Picture
from storage.queries import Row

LEVEL_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "green"}
MOST_FACTORS = 4


def picture(console: Console, found: Picture) -> None:
    """Print everything."""
    learners = found.counts["dropout_risk_scores"]
    levels = ", ".join(f"{found.levels[level]:,} {level}" for level in LEVEL_STYLES if level in found.levels)
    sections = (
        ("Dropout risk", f"{learners:,} learners: {levels}; the highest", found.risks, risks),
        ("Timing", f"{found.counts['user_timing_profiles']:,} profiles; the surest", found.timing, timing),
        (
            "Plateaus",
            f"{found.active_plateaus:,} active of {found.counts['learning_plateaus']:,}; the newest",
            found.plateaus,
            plateaus,
        ),
        (
            "Regressions",
            f"{found.active_regressions:,} active of {found.counts['skill_regressions']:,}; the largest",
            found.regressions,
            regressions,
        ),
        (
            "Struggle",
            f"{found.counts['struggle_predictions']:,} answers; the likeliest",
            found.struggles,
            struggles,
        ),
    )
    for title, about, rows, table in sections:
        console.print()
        console.print(Text.assemble((title, "bold"), f"  {about if rows else 'none'}"))
        if rows:
            console.print(table(rows))


def risks(rows: Sequence[Row]) -> RenderableType:
    """Dropout risks with their factors and what to do first."""
    table = _table("Learner", "Level", "Score", "Sure", "Because (0.50 and)", "First intervention")
    for row in rows:
        offers = (row["reengagement_strategy"] or {}).get("interventions", [])
        offer = offers[0] if offers else None
        table.add_row(
            str(row["user_id"]),
            Text(row["risk_level"], LEVEL_STYLES[row["risk_level"]]),
            _share(row["risk_score"]),
            _share(row["confidence"]),
            _factors(row),
            "none" if offer is None else Text(f"{offer['title']} {offer['message']}"),
        )
    return table


def timing(rows: Sequence[Row]) -> RenderableType:
    """Timing profiles in the learners' own time."""
    table = _table(
        "Learner", "Time zone", "Peak hours", "Best days", "Study next", "Minutes", "Sessions", "Sure"
    )
    for row in rows:
        table.add_row(
            str(row["user_id"]),
            row["timezone"] or "UTC",
            ", ".join(f"{hour}–{(hour + 1) % 24}" for hour in row["peak_hours"] or ()) or "–",
            ", ".join(day[:3] for day in row["best_days"] or ()) or "–",
            _local(row["recommended_time"], row["timezone"]),
            _number(row["avg_session_duration_minutes"], 0),
            str(row["sessions_analyzed"]),
            _share(row["confidence"]),
        )
    return table


def plateaus(rows: Sequence[Row]) -> RenderableType:
    """Plateaus that last, with what to try."""
    table = _table("Learner", "Skill", "Days", "Attempts", "Mastery", "Gain", "Sure", "Suggestion")
    for row in rows:
        table.add_row(
            str(row["user_id"]),
            row["skill_id"],
            str(row["days_on_topic"]),
            str(row["attempts"]),
            _share(row["mastery_level"]),
            f"{row['mastery_improvement']:+.2f}",
            _share(row["confidence"]),
            Text(row["intervention_suggested"] or "–"),
        )
    return table


def regressions(rows: Sequence[Row]) -> RenderableType:
    """Skills that fade."""
    table = _table("Learner", "Skill", "Peak", "Now", "In a week", "Days unpractised", "Urgency", "Sure")
    for row in rows:
        table.add_row(
            str(row["user_id"]),
            Text(row["skill_name"] or row["skill_id"]),
            _share(row["peak_mastery"]),
            _share(row["current_mastery"]),
            _share(row["predicted_mastery_in_week"]),
            str(row["days_since_practice"]),
            Text(row["urgency"], LEVEL_STYLES.get(row["urgency"], "")),
            _share(row["confidence"]),
        )
    return table


def struggles(rows: Sequence[Row]) -> RenderableType:
    """Answers to "will this learner struggle with this content?"."""
    table = _table("Learner", "Content", "Probability", "Sure", "Because (0.50 and)", "What to say")
    for row in rows:
        table.add_row(
            str(row["user_id"]),
            Text(row["content_id"]),
            _share(row["struggle_probability"]),
            _share(row["confidence"]),
            _factors(row),
            Text(row["help_message"] or row["reason"] or "nothing: no help needed"),
        )
    return table


def counts(console: Console, found: Picture) -> None:
    """Print the number of rows of each table."""
    table = _table("Table in Postgres", "Rows")
    table.columns[1].justify = "right"
    for name, number in found.counts.items():
        table.add_row(name, f"{number:,}")
    console.print()
    console.print(table)


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold cyan", show_edge=False)
    for heading in headings:
        table.add_column(heading, vertical="top")
    return table


def _factors(row: Row) -> Text:
    """The factors that weigh most, signed, and the sum of the others."""
    parts = sorted(row["factors"] or (), key=lambda one: -abs(one["contribution"]))
    shown = [one for one in parts if one["contribution"]]
    lines = [f"{one['contribution']:+.2f} {_words(one['name'])}" for one in shown[:MOST_FACTORS]]
    rest = sum(one["contribution"] for one in shown[MOST_FACTORS:])
    if len(shown) > MOST_FACTORS:
        lines.append(f"{rest:+.2f} {len(shown) - MOST_FACTORS} more")
    return Text("\n".join(lines) or (row["reason"] or "–"))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _share(value: Any) -> str:
    return _number(value, 2)


def _number(value: Any, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _local(at: datetime | None, zone: str | None) -> str:
    return "–" if at is None else at.astimezone(ZoneInfo(zone or "UTC")).strftime("%a %d %b %H:%M")

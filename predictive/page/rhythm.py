"""The week: activity by hour and weekday, and the hours recommended to the learner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import Zones
from lyo.models.formulas.heatmap import week
from lyo.models.formulas.timing import quiet
from lyo.models.state.history import history
from lyo.predictive.page import words
from lyo.predictive.page.insights import Insights, TimingProfile
from lyo.predictive.page.times import DAY_NAMES, Clock, Moment

__all__ = ["Cell", "Rhythm", "WeekDay", "rhythm"]

SHADES = 4


@dataclass(frozen=True, slots=True)
class Cell:
    """An hour of a weekday: ``shade`` 0 (no activity) to 4 (the most), and whether it is recommended."""

    hour: str
    text: str
    shade: int
    recommended: bool


@dataclass(frozen=True, slots=True)
class WeekDay:
    """A weekday: its 24 hours, and the same in words."""

    name: str
    cells: tuple[Cell, ...]
    total: str
    active: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The section. ``missing`` says why no time can be recommended yet; no ``week`` means no activity."""

    missing: str | None
    confidence: str | None
    sessions: int
    week: tuple[WeekDay, ...]
    legend: tuple[tuple[int, str], ...]
    recommended: tuple[str, ...]
    next: Moment | None
    now_good: bool | None
    facts: tuple[tuple[str, str], ...]


def rhythm(
    row: NDArray[np.void], insights: Insights, clock: Clock, at: int, quiet_hours: tuple[int, int]
) -> Rhythm:
    """The section of one LEARNER row ``(1,)`` as of an instant in ms, with quiet hours as in `PageData`."""
    zones = Zones([clock.zone])
    counts = week(history(row, np.array([at], np.int64), zones), zones)[0]
    profile = insights.timing_profile or TimingProfile(reason="not enough data")
    known = profile.confidence > 0
    recommended = _recommended(profile, quiet_hours) if known else np.zeros((7, 24), bool)
    next_time = profile.recommended_time
    return Rhythm(
        missing=None if known else profile.reason or "not enough data",
        confidence=words.number(round(profile.confidence * 100)) if known else None,
        sessions=profile.sessions_analyzed,
        week=_week(counts, recommended) if counts.any() else (),
        legend=_legend(int(counts.max())),
        recommended=_in_words(recommended),
        next=clock.time(clock.ms(next_time)) if known and next_time is not None else None,
        now_good=insights.is_good_time_now if known else None,
        facts=_facts(profile) if known else (),
    )


def _recommended(profile: TimingProfile, quiet_hours: tuple[int, int]) -> NDArray[np.bool_]:
    """Recommended hours ``(7, 24)``: peak hours on the best days, outside quiet hours."""
    hours, days = np.zeros(24, bool), np.zeros(7, bool)
    hours[[hour for hour in profile.peak_hours if 0 <= hour < 24]] = True
    days[[DAY_NAMES.index(day) for day in profile.best_days if day in DAY_NAMES]] = True
    start, end = (np.array([minute]) for minute in quiet_hours)
    return days[:, None] & (hours & ~quiet(np.arange(24) * 60, start, end))[None, :]


def _week(counts: NDArray[np.int64], recommended: NDArray[np.bool_]) -> tuple[WeekDay, ...]:
    most = max(int(counts.max()), 1)
    days = []
    for day, name in enumerate(DAY_NAMES):
        cells = tuple(
            Cell(f"{hour:02d}:00", words.hours(count), -(-count * SHADES // most), is_recommended)
            for hour, (count, is_recommended) in enumerate(
                zip(counts[day].tolist(), recommended[day].tolist(), strict=True)
            )
        )
        active = tuple(cell for cell in cells if cell.shade > 0 or cell.recommended)
        days.append(WeekDay(name, cells, words.hours(int(counts[day].sum())), active))
    return tuple(days)


def _legend(most: int) -> tuple[tuple[int, str], ...]:
    """Each shade that occurs, with the largest amount that it stands for."""
    tops = {shade: most * shade // SHADES for shade in range(1, SHADES + 1)}
    shades = [(shade, top) for shade, top in tops.items() if top > tops.get(shade - 1, 0)]
    return ((0, "none"), *((shade, f"to {words.hours(top)}") for shade, top in shades)) if most else ()


def _in_words(recommended: NDArray[np.bool_]) -> tuple[str, ...]:
    """The recommended hours of each day, runs put together: ``Monday 19:00–21:00``."""
    lines = []
    for day, name in enumerate(DAY_NAMES):
        edges = np.flatnonzero(np.diff(np.r_[0, recommended[day].astype(np.int8), 0]))
        runs = [
            f"{a:02d}:00–{b:02d}:00" for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        ]
        if runs:
            lines.append(f"{name} {', '.join(runs)}")
    return tuple(lines)


def _facts(profile: TimingProfile) -> tuple[tuple[str, str], ...]:
    average, usual = profile.avg_session_duration_minutes, profile.preferred_session_length
    facts = (
        ("Best hours", ", ".join(f"{hour:02d}:00" for hour in profile.peak_hours) or None),
        ("Best days", ", ".join(profile.best_days) or None),
        ("Best start", (profile.optimal_study_time or "")[:5] or None),
        ("Session length that suits you", None if usual is None else f"{usual} minutes"),
        ("Average session", None if average is None else f"{average:.0f} minutes"),
    )
    return tuple((label, value) for label, value in facts if value is not None)

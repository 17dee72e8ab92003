"""Lines over time as SVG paths: turns points into coordinates of a fixed view box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lyo.ops.monitor.lag_series import Point

SMALL: Final = (180.0, 44.0)
LARGE: Final = (560.0, 130.0)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name, its path with gaps at unknown values, and its newest value."""

    name: str
    path: str
    newest: float | None


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one span of time; ``top`` is the value at the upper edge, 0 at the lower edge."""

    width: float
    height: float
    lines: tuple[Line, ...]
    top: float
    minutes: int


def chart(
    named: Sequence[tuple[str, Sequence[Point]]],
    *,
    until: int,
    span_ms: int,
    size: tuple[float, float],
    top: float | None = None,
) -> Chart:
    """A chart of one or more series.

    Args:
        named: each series with its name, oldest point first.
        until: the right edge (ms since the epoch).
        span_ms: from the left edge to the right (ms).
        size: width and height of the view box.
        top: the value at the upper edge; None: a round number above all values.
    """
    values = [point.value for _, points in named for point in points if point.value is not None]
    highest = round_up(max(values, default=0.0)) if top is None else top
    lines = tuple(
        Line(name, path(points, until, span_ms, size, highest), points[-1].value if points else None)
        for name, points in named
    )
    return Chart(*size, lines, highest, span_ms // 60_000)


def path(points: Sequence[Point], until: int, span_ms: int, size: tuple[float, float], top: float) -> str:
    """The SVG path of a series; an unknown value ends a stroke, and the next value begins another one."""
    width, height = size
    parts: list[str] = []
    pen = "M"
    for at, value in points:
        x = width * (1 - (until - at) / span_ms)
        if value is None or x < 0:
            pen = "M"
            continue
        y = height * (1 - min(value / top, 1.0)) if top > 0 else height
        # A stroke of a single point would be invisible.
        parts.append(f"{pen}{x:.1f} {y:.1f}" + ("h1" if pen == "M" else ""))
        pen = "L"
    return "".join(parts)


def round_up(value: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is not below a value; at least 1."""
    if value <= 1:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * step for step in (1, 2, 5, 10) if value <= unit * step)

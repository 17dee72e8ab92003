"""Computes where lines and bars of the charts go: from numbers to coordinates of a fixed view box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Axis", "Bar", "CurveChart", "Label", "Mark", "Timeline", "bar", "labels_apart", "path"]

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale from values ``low..high`` to coordinates ``start..end``; others are clipped."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The coordinate of a value, to a tenth."""
        share = 0.0 if self.high <= self.low else (value - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)


@dataclass(frozen=True, slots=True)
class Bar:
    """A horizontal bar."""

    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A point that is marked, or a vertical line with its text."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Label:
    """A text at the foot of a chart; ``anchor`` is SVG's text-anchor."""

    x: float
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class CurveChart:
    """A forgetting curve: its past and future, the lines to compare it with, and marked points."""

    width: int
    height: int
    left: float
    right: float
    grid: tuple[tuple[float, str], ...]
    past: str
    future: str
    today: Mark
    peak_y: float | None
    limit_y: float | None
    review: Mark | None
    week: Mark
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A span on a time axis shared by all spans of the section."""

    width: int
    height: int
    left: float
    right: float
    span: Bar
    detected: float
    end: float
    labels: tuple[Label, ...]


def path(points: Sequence[Point]) -> str:
    """An SVG path through points."""
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def bar(value: float, most: float, middle: float, reach: float) -> Bar:
    """A bar from ``middle``, to the right for a positive value and to the left for a negative one."""
    width = round(min(abs(value) / most, 1.0) * reach, 1) if most > 0 else 0.0
    return Bar(middle if value >= 0 else round(middle - width, 1), width)


def labels_apart(texts: Sequence[tuple[float, str]], left: float, right: float, room: float) -> list[Label]:
    """Texts under an axis, in order of importance; texts without room are left out."""
    placed: list[Label] = []
    taken: list[tuple[float, float]] = []
    for x, text in texts:
        if x - room / 2 < left:
            anchor, span = "start", (x, x + room)
        elif x + room / 2 > right:
            anchor, span = "end", (x - room, x)
        else:
            anchor, span = "middle", (x - room / 2, x + room / 2)
        if all(span[1] <= low or high <= span[0] for low, high in taken):
            taken.append(span)
            placed.append(Label(x, text, anchor))
    return placed

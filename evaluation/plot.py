"""A reliability diagram as SVG: predicted probability against true rate, for each model."""

from __future__ import annotations

from html import escape
from typing import Any

__all__ = ["reliability_svg"]

SIZE, MARGIN, LEGEND = 420, 50, 22
FONT = 'font-family="sans-serif" font-size="13"'
COLOURS = ("#1b5e9e", "#c2571a", "#2e7d32", "#7b3fa0", "#8a6d00", "#b3261e", "#00707a", "#555555")
MOST_RADIUS, LEAST_RADIUS = 9.0, 2.5


def reliability_svg(report: dict[str, Any]) -> str:
    """The diagram of a report. Points are tenths of the probabilities; their area grows with their count."""
    models: dict[str, Any] = report["models"]
    height = SIZE + 2 * MARGIN + LEGEND * len(models)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE + 2 * MARGIN} {height}" {FONT}>',
        f"<title>{escape(report['task'])}: {escape(report['positive'])}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        *_axes(),
    ]
    for place, (name, figures) in enumerate(models.items()):
        colour = COLOURS[place % len(COLOURS)]
        most = max((bin_["n"] for bin_ in figures["reliability"]), default=1)
        points = [(*_at(bin_["predicted"], bin_["true"]), bin_["n"]) for bin_ in figures["reliability"]]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{max(MOST_RADIUS * (n / most) ** 0.5, LEAST_RADIUS):.1f}" '
            f'fill="{colour}" fill-opacity="0.7"/>'
            for x, y, n in points
        ]
        y = SIZE + 2 * MARGIN + LEGEND * place
        parts.append(f'<rect x="{MARGIN}" y="{y - 10}" width="12" height="12" fill="{colour}"/>')
        ece = figures["ece"]
        label = name if ece is None else f"{name}, calibration error {ece:.3f}"
        parts.append(f'<text x="{MARGIN + 18}" y="{y}">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _at(predicted: float, true: float) -> tuple[float, float]:
    return MARGIN + predicted * SIZE, MARGIN + (1 - true) * SIZE


def _axes() -> list[str]:
    (left, bottom), (right, top) = _at(0, 0), _at(1, 1)
    middle = top + SIZE / 2
    figures = [
        f'<rect x="{left}" y="{top}" width="{SIZE}" height="{SIZE}" fill="none" stroke="#666"/>',
        f'<line x1="{left}" y1="{bottom}" x2="{right}" y2="{top}" stroke="#999" stroke-dasharray="4 4"/>',
        f'<text x="{left + SIZE / 2}" y="{bottom + 36}" text-anchor="middle">predicted probability</text>',
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">true</text>',
    ]
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = _at(tick, tick)
        figures.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{tick:.1f}</text>')
        figures.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{tick:.1f}</text>')
    return figures

"""Formats values for people; an unknown value is shown as such."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from lyo.ops.monitor.snapshot import Status

UNKNOWN: Final = "unknown"
MEANING: Final = {
    Status.OK: "nothing waits for long",
    Status.LAGGING: "behind, and working",
    Status.STALLED: "behind, without progress",
    Status.STOPPED: "no process is working",
    Status.REWOUND: "log and offsets do not fit, or offsets were reset",
    Status.UNKNOWN: "cannot be determined",
}
MARK: Final = {
    Status.OK: "✓",
    Status.LAGGING: "△",
    Status.STALLED: "‖",
    Status.STOPPED: "■",
    Status.REWOUND: "↶",
    Status.UNKNOWN: "?",
}


def count(value: float | None) -> str:
    """A count."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """A rate per second."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}/s" if value >= 10 or value == 0 else f"{value:.1f}/s"


def span(seconds: float | None) -> str:
    """A duration, in at most two units."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def drained(seconds: float | None, *, known: bool) -> str:
    """The time until the lag is gone. If lag and rates are ``known``, None means that it does not shrink."""
    if seconds is not None:
        return span(seconds)
    return "not at this rate" if known else UNKNOWN


def moment(ms: int | None) -> str:
    """A time in UTC, to the second."""
    if ms is None:
        return UNKNOWN
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(ms: int) -> str:
    """A time in UTC as RFC 3339, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

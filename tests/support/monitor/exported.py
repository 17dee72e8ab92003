"""Names of all metrics that our processes export, to hold alerts and dashboards to."""

from __future__ import annotations

import re
from functools import cache

from lyo.ops.monitor import exported, quality
from lyo.streams.metrics import PROCESSES

_ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
_NAME = re.compile(r"\b(lyo_[a-z0-9_]+|process_[a-z_]+|python_[a-z_]+|up)\b(?!\s*=)")


def names_in(expression: str) -> set[str]:
    """The metrics that a PromQL expression asks for."""
    without_text = re.sub(r'"[^"]*"', '""', expression)
    without_labels = re.sub(r"(by|on|without|group_left|ignoring) *\([^)]*\)", "", without_text)
    return set(_NAME.findall(without_labels))


@cache
def known_names() -> set[str]:
    """Every series of ours, with the endings that Prometheus sees."""
    found = {*exported.HELP, *(quality.PREFIX + name for name in quality.FIGURES)}
    found |= {quality.SAMPLES, quality.TENANTS, quality.LOOK}
    for process in PROCESSES:
        families = [*process.registry.collect(), *(live.family() for live in process.live)]
        found |= {family.name + ending for family in families for ending in _ENDINGS.get(family.type, ("",))}
    return found


def labels_of(name: str) -> set[str]:
    """The labels that a series has, as far as its process gives them."""
    if name.startswith(quality.PREFIX):
        figure = quality.FIGURES.get(name.removeprefix(quality.PREFIX))
        return set(figure[1]) if figure else {"figure", "state"}
    return _LABELS_OF_THE_MONITOR.get(name) or _labels_of_processes().get(name, set())


_PLACE = {"group", "topic", "partition"}
_LABELS_OF_THE_MONITOR = {
    exported.LAG_EVENTS: _PLACE,
    exported.LAG_SECONDS: _PLACE,
    exported.LAG_STATUS: {*_PLACE, "status"},
    exported.LAG_DRAIN_SECONDS: {"group"},
    exported.RATE_IN: {"group"},
    exported.RATE_OUT: {"group"},
    exported.GROUP_STATUS: {"group", "status"},
    exported.GROUP_MEMBERS: {"group"},
    exported.PREDICTION_AGE_SECONDS: {"kind"},
    exported.DEAD_LETTERS: {"topic"},
    exported.MONITOR_REACHES: {"what"},
}


@cache
def _labels_of_processes() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for process in PROCESSES:
        for live in process.live:
            found[live.name + _ENDINGS[live.type][0]] = set(live.labels)
        for metric in list(process.registry._collector_to_names):
            labels = set(getattr(metric, "_labelnames", ()))
            for name in process.registry._collector_to_names[metric]:
                found[name] = labels
    return found

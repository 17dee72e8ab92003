"""Names of all metrics that our processes export, to hold alerts and dashboards to."""

from __future__ import annotations

import re
from functools import cache

from ops import exported, quality
from streams.metrics import PROCESSES

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

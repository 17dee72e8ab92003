"""Counts anomalies of incoming events: missing fields, and clocks that differ from Kafka's."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY
from lyo.models.events.decode import Columns

__all__ = ["AHEAD", "BEHIND", "notice"]

AHEAD: Final = 5_000
"""An event dated this much (ms) after its Kafka timestamp comes from a clock that is ahead."""
BEHIND: Final = DAY
"""An event dated this much (ms) before it was sent late, or comes from a clock that is behind."""


def notice(events: Columns, taken: NDArray[np.int64]) -> Counter[str]:
    """Count anomalies in events (specification, "Troubleshooting": check data quality).

    Args:
        events: accepted events ``(n,)`` of one kind.
        taken: Kafka's timestamp of each ``(n,)``, ms; negative where there is none.

    Returns:
        How many completions are ``without.skills`` and ``without.score``, and how many events are
        ``ahead.KIND`` and ``behind.KIND`` of Kafka's clock.
    """
    known = taken >= 0
    counts = {
        f"ahead.{events.kind}": int((known & (events.at > taken + AHEAD)).sum()),
        f"behind.{events.kind}": int((known & (events.at < taken - BEHIND)).sum()),
    }
    if events.score is not None and events.skill_of is not None:
        counts["without.score"] = int((events.score < 0).sum())
        counts["without.skills"] = len(events.at) - len(np.unique(events.skill_of))
    return Counter({name: count for name, count in counts.items() if count})

"""What is noticed about events as they come in: what they lack, and whether their clocks can be right."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY
from lyo.models.events.decode import Columns

__all__ = ["AHEAD", "BEHIND", "notice"]

AHEAD: Final = 5_000
"""An event dated this much (ms) after Kafka took it was dated by a clock that is ahead."""
BEHIND: Final = DAY
"""One dated this much (ms) before was sent late, or dated by a clock that is behind."""


def notice(events: Columns, taken: NDArray[np.int64]) -> Counter[str]:
    """Count what is odd in events (specification, "Troubleshooting": check data quality).

    Args:
        events: accepted events ``(n,)`` of one kind.
        taken: Kafka's timestamp of each ``(n,)``, ms; negative where there is none.

    Returns:
        How many completions are ``without.skills`` and ``without.score``, and how many events are
        ``ahead.KIND`` and ``behind.KIND`` of Kafka's clock.
    """
    known = taken >= 0
    found = {
        f"ahead.{events.kind}": int((known & (events.at > taken + AHEAD)).sum()),
        f"behind.{events.kind}": int((known & (events.at < taken - BEHIND)).sum()),
    }
    if events.score is not None and events.skill_of is not None:
        found["without.score"] = int((events.score < 0).sum())
        found["without.skills"] = len(events.at) - len(np.unique(events.skill_of))
    return Counter({name: count for name, count in found.items() if count})

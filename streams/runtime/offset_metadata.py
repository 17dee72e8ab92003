"""Counts of a partition number that its committed offsets carry: exact, since they commit with the events.

They stand in the metadata of the offsets, so a monitor reads them at the broker, and the number's next owner
goes on from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

_TEXT: Final = re.compile(r"late=([0-9]{1,18}) duplicates=([0-9]{1,18})")


class EventCounts(NamedTuple):
    """Events that were too late for any day of their learner, and events that had been published before."""

    late: int = 0
    duplicates: int = 0

    def plus(self, counts: Mapping[str, int]) -> EventCounts:
        """With those of a batch, as the engine counts them."""
        return EventCounts(self.late + counts.get("late", 0), self.duplicates + counts.get("duplicates", 0))

    def text(self) -> str:
        """As an offset's metadata."""
        return f"late={self.late} duplicates={self.duplicates}"


def parse(text: str) -> EventCounts | None:
    """The tally that an offset's metadata says; None if it says none."""
    match = _TEXT.fullmatch(text)
    return None if match is None else EventCounts(int(match[1]), int(match[2]))


def newest(texts: Iterable[str | None]) -> EventCounts | None:
    """The newest of one partition number's tallies: they only grow. None if there is none."""
    found = [counts for text in texts if text and (counts := parse(text)) is not None]
    if not found:
        return None
    return EventCounts(max(one.late for one in found), max(one.duplicates for one in found))

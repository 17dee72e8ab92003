"""Event counts in the metadata of committed offsets: exact, since they commit together with the events.

A monitor reads them at the broker, and the partition number's next owner continues from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

_TEXT: Final = re.compile(r"late=([0-9]{1,18}) duplicates=([0-9]{1,18})")


class EventCounts(NamedTuple):
    """Events of one partition number since its first one.

    Attributes:
        late: events of a day that their learner's window no longer holds.
        duplicates: events that had been published before.
    """

    late: int = 0
    duplicates: int = 0

    def plus(self, counts: Mapping[str, int]) -> EventCounts:
        """The sum with the counts that the engine gives of a batch."""
        return EventCounts(self.late + counts.get("late", 0), self.duplicates + counts.get("duplicates", 0))

    def text(self) -> str:
        """The metadata of an offset that is committed with these counts."""
        return f"late={self.late} duplicates={self.duplicates}"


def parse(text: str) -> EventCounts | None:
    """The counts in an offset's metadata; None if it has none."""
    match = _TEXT.fullmatch(text)
    return None if match is None else EventCounts(int(match[1]), int(match[2]))


def newest(texts: Iterable[str | None]) -> EventCounts | None:
    """The newest counts of one partition number; None if there are none. Counts only grow."""
    known = [counts for text in texts if text and (counts := parse(text)) is not None]
    if not known:
        return None
    return EventCounts(max(counts.late for counts in known), max(counts.duplicates for counts in known))

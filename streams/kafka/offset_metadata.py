"""The metadata of committed offsets: a worker's event counts, or why a sink cannot store.

Event counts are exact, since they commit together with the events. A monitor reads them at the broker, and
the partition number's next owner continues from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from lyo.models.backfill import Taken

_TEXT: Final = re.compile(
    r"late=([0-9]{1,18}) duplicates=([0-9]{1,18})(?: history=([0-9]{1,18}) until=([0-9]{1,18}))?"
)


class EventCounts(NamedTuple):
    """Events of one partition number since its first one.

    Attributes:
        late: events of a day that their learner's window no longer holds.
        duplicates: events that had been published before.
        history: the newest history that was taken in.
    """

    late: int = 0
    duplicates: int = 0
    history: Taken | None = None

    def plus(self, counts: Mapping[str, int]) -> EventCounts:
        """The sum with the counts that the engine gives of a batch."""
        late, duplicates = counts.get("late", 0), counts.get("duplicates", 0)
        return self._replace(late=self.late + late, duplicates=self.duplicates + duplicates)

    def with_history(self, taken: Taken | None) -> EventCounts:
        """These, with the history of a batch."""
        return self if taken is None else self._replace(history=taken.plus(self.history))

    def text(self) -> str:
        """The metadata of an offset that is committed with these counts."""
        history = "" if self.history is None else " history={} until={}".format(*self.history)
        return f"late={self.late} duplicates={self.duplicates}{history}"


def parse(text: str) -> EventCounts | None:
    """The counts in an offset's metadata; None if it has none."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    history = Taken(int(match[3]), int(match[4])) if match[3] else None
    return EventCounts(int(match[1]), int(match[2]), history)


def reason(text: str | None) -> str:
    """Why a sink cannot store, from an offset's metadata; empty if it can, or the offset is a worker's."""
    return "" if text is None or parse(text) is not None else text


def newest(texts: Iterable[str | None]) -> EventCounts | None:
    """The newest counts of one partition number; None if there are none. Counts only grow."""
    known = [counts for text in texts if text and (counts := parse(text)) is not None]
    if not known:
        return None
    newest_counts = EventCounts(
        max(counts.late for counts in known), max(counts.duplicates for counts in known)
    )
    for counts in known:
        newest_counts = newest_counts.with_history(counts.history)
    return newest_counts

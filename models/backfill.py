"""Learners who are taking in history: events that happened long before they were published.

A file of old events says nothing about who is silent today until the last of it has come. So a learner of
whom history comes is neither swept nor decided about until it has settled: until no more history came for
the partition number during a stated stretch of record time. The sweep that follows decides.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY
from lyo.models.events.decode import Columns
from lyo.models.state.layout import LayoutError
from lyo.models.state.partition import Ints, State

__all__ = ["HISTORY_KEY", "LONGEST", "SETTLE", "Backfill", "Taken", "due_again"]

HISTORY_KEY: Final = b"#history|"
"""Prefix of the key, in the changelog of the learners' rows, that says that a learner takes in history; the
user id follows. Its value is deleted by the sweep that decides."""
SETTLE: Final = 60_000
"""Record time (ms) without more history after which it has settled."""
LONGEST: Final = DAY
"""Record time (ms) after the learner's own newest history after which more of others no longer matters.
Where events always come late, of offline devices for example, history never settles."""
_SIZE: Final = 16

Pair = tuple[bytes, bytes | None]
Bools = NDArray[np.bool_]


class Taken(NamedTuple):
    """History in a batch, or in several: record time (ms) of the newest, and up to when (ms) it reaches."""

    recorded: int
    until: int

    def plus(self, other: Taken | None) -> Taken:
        """Both together."""
        if other is None:
            return self
        return Taken(max(self.recorded, other.recorded), max(self.until, other.until))


class Backfill:
    """Who of one partition number is taking in history.

    Args:
        state: of the partition number.
        settle: record time without more history after which it has settled, ms.
    """

    def __init__(self, state: State, settle: int = SETTLE) -> None:
        self._learners = state.learners
        self._state = state
        self._settle = settle
        self._newest = 0
        # Record time of the learner's newest history (ms); 0: it takes in none.
        self._learners.put_beside("history", "i8", 0)
        self._held: dict[int, int] = {}

    # -- restore ---------------------------------------------------------------------------------------

    def load(self, newest: dict[bytes, bytes | None]) -> None:
        """Take our records out of those of the learners' changelog.

        Raises:
            LayoutError: a record that this version cannot read.
        """
        for key in [key for key in newest if key.startswith(HISTORY_KEY)]:
            value = newest.pop(key)
            slot = int(self._state.learner_slots(np.array([int(key.removeprefix(HISTORY_KEY))]))[0])
            if value is None:
                self._learners.column("history")[slot] = 0
                self._held.pop(slot, None)
                continue
            if len(value) != _SIZE:
                raise LayoutError(f"history record of {len(value)} bytes: expected {_SIZE}")
            recorded, self._held[slot] = np.frombuffer(value, "<i8").tolist()
            self._learners.column("history")[slot] = recorded
            self._newest = max(self._newest, recorded)

    def swept(self, slots: Ints, swept: Ints) -> Ints:
        """Boundaries ``(n,)`` up to which learners are swept: at a restore, of those held their own."""
        held = [self._held.get(slot, -1) for slot in slots.tolist()] if self._held else []
        own = np.array(held, np.int64)
        return np.where(own >= 0, own, swept) if held else swept

    # -- a batch ---------------------------------------------------------------------------------------

    def note(self, slots: Ints, who: Ints, batch: Columns) -> tuple[Bools, Taken | None]:
        """Take history out of a batch: which learners ``(n,)`` begin to take it in, and how far it reaches.

        Args:
            slots: of the learners ``(n,)``.
            who: place of each event's learner in these ``(m,)``.
            batch: the events.
        """
        begins = np.zeros(len(slots), bool)
        if batch.history is None or not batch.history.any():
            return begins, None
        column = self._learners.column("history")
        recorded = column[slots]
        np.maximum.at(recorded, who, batch.history)
        begins = (column[slots] == 0) & (recorded > 0)
        column[slots] = recorded
        taken = Taken(int(batch.history.max()), int(batch.at[batch.history > 0].max()))
        self._newest = max(self._newest, taken.recorded)
        return begins, taken

    def records(self, slots: Ints) -> list[Pair]:
        """Changelog records of those of these learners who are taking in history."""
        marks, swept = self._learners.column("history")[slots], self._learners.column("swept")[slots]
        return [
            (self._key(slot), np.array([mark, boundary], "<i8").tobytes())
            for slot, mark, boundary in zip(slots.tolist(), marks.tolist(), swept.tolist(), strict=True)
            if mark
        ]

    # -- time ------------------------------------------------------------------------------------------

    def held(self, read_until: int) -> Bools | None:
        """Whose history has not settled ``(n,)``, all being read up to a record time (ms); None: nobody's."""
        if read_until >= self._newest + self._settle:
            return None
        marks = self._learners.column("history")
        return (marks > 0) & (read_until < np.minimum(self._newest + self._settle, marks + LONGEST))

    def taking(self, slots: Ints) -> Bools:
        """Who is taking in history, or has not been swept since ``(n,)``."""
        taking: Bools = self._learners.column("history")[slots] > 0
        return taking

    def settle(self, slots: Ints) -> list[Pair]:
        """Let swept learners take in history no more; gives what the changelog is to delete."""
        done = slots[self.taking(slots)]
        self._learners.column("history")[done] = 0
        return [(self._key(slot), None) for slot in done.tolist()]

    def _key(self, slot: int) -> bytes:
        return HISTORY_KEY + b"%d" % int(self._learners.rows["user"][slot])


def due_again(taking: Bools, swept: Ints, due: Ints) -> Ints:
    """When learners ``(n,)`` are due: those taking in history at their last boundary, once more."""
    return np.where(taking & (swept > 0), swept, due)

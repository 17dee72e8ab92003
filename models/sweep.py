"""The daily sweep: when each learner's day ends, and how far the sweep of the partition number is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, Zones, boundary, next_boundary
from lyo.models.backfill import Backfill, due_again
from lyo.models.state import layout
from lyo.models.state.partition import NEVER, Ints, Key, State

if TYPE_CHECKING:
    from lyo.models.predictions.emit import Emitter

__all__ = ["ACTIVE_FOR", "FOLLOWED_FOR", "Piece", "Sweeping"]

FOLLOWED_FOR = 120 * DAY
ACTIVE_FOR = 7 * DAY


@dataclass(frozen=True, slots=True)
class Piece:
    """Learners whose day has ended.

    Attributes:
        slots: theirs ``(n,)``, ascending.
        before: the boundary up to which each had been swept ``(n,)``, ms.
        active: who was active in the last seven days ``(n,)``.
        last: nobody else is due.
        settled: changelog records about those of them whose history has settled.
    """

    slots: Ints
    before: Ints
    active: NDArray[np.bool_]
    last: bool
    settled: list[tuple[bytes, bytes | None]]


class Sweeping:
    """Sweeps over one partition number; ``until`` (ms) is how far they have gone, 0 if there was none."""

    def __init__(self, state: State, backfill: Backfill) -> None:
        self._state = state
        self._backfill = backfill
        self.until = 0
        # Limits of the first and the last piece of a sweep that is not over; 0, 0 if there is none.
        self._pieces = (0, 0)
        self._before: dict[int, int] = {}

    # -- restore ---------------------------------------------------------------------------------------

    def load(self, newest: dict[bytes, bytes | None]) -> None:
        """Remove this class's records from those of the learners' changelog, and load them.

        Raises:
            LayoutError: a record that this version cannot read.
        """
        until, pieces = newest.pop(layout.SWEEP_KEY, None), newest.pop(layout.SWEEPING_KEY, None)
        if until is not None:
            self.until = layout.decode_swept(until)
        if pieces is not None:
            self._pieces = layout.decode_sweeping(pieces)

    def loaded(self, emitter: Emitter) -> None:
        """End the restore: compute when each learner is due and what was sent last."""
        for slots in self._state.everyone():
            rows = self._state.learners.rows[slots]
            zones = self._state.zones(rows)
            self._remember_pieces(emitter, slots, rows, zones)
            swept = self._backfill.swept(slots, _swept(rows, zones, self.until))
            self._state.learners.column("swept")[slots] = swept
            self._schedule(slots, rows, zones, swept)
            emitter.remember(slots, sure=self._pieces[1] == 0)
            # Days that were used when skills were told of last may have left the row since.
            behind = rows["last_completion"] // DAY - swept // DAY > 1
            emitter.forget(slots[behind])

    def _remember_pieces(self, emitter: Emitter, slots: Ints, rows: NDArray[np.void], zones: Zones) -> None:
        """Remember what pieces of an unfinished sweep may have sent of these learners.

        It is unknown which learners they covered: what was sent last is as of one of two boundaries.
        """
        began, reached = self._pieces
        if not reached:
            return
        ahead = self._backfill.swept(slots, _swept(rows, zones, reached))
        self._state.learners.column("swept")[slots] = ahead
        emitter.remember(slots)
        behind = self._backfill.swept(slots, _swept(rows, zones, began))
        emitter.forget(slots[ahead != behind])

    # -- a piece ---------------------------------------------------------------------------------------

    def due(self, limit: int, read_until: int = NEVER) -> bool:
        """Whether a learner's day ended at or before ``limit`` (ms) and has not been swept.

        Without those who take in history that has not settled, where all is read up to a record time (ms).
        """
        return bool(self._due(limit, read_until).any())

    def _due(self, limit: int, read_until: int) -> NDArray[np.bool_]:
        due: NDArray[np.bool_] = self._state.learners.column("due") <= limit
        held = self._backfill.held(read_until)
        return due if held is None else due & ~held

    def take(self, limit: int, most: int, read_until: int = NEVER) -> Piece:
        """Take up to ``most`` learners who are `due`, the longest due first."""
        learners = self._state.learners
        due = np.flatnonzero(self._due(limit, read_until))
        last = len(due) <= most
        if not last:
            due = due[np.argsort(learners.column("due")[due], kind="stable")[:most]]
        slots = np.sort(due)
        rows = learners.rows[slots]
        zones = self._state.zones(rows)
        before, swept = learners.column("swept")[slots], _swept(rows, zones, limit)
        reached = swept >= learners.column("due")[slots]
        learners.column("swept")[slots] = now = np.where(reached, swept, before)
        settled = self._backfill.settle(slots[reached])
        self._schedule(slots, rows, zones, np.maximum(swept, now))
        active = np.maximum(rows["last_session"], rows["last_completion"]) >= swept - ACTIVE_FOR
        return Piece(slots[reached], before[reached], active[reached], last, settled)

    def progress(self, limit: int, *, last: bool) -> list[Key]:
        """Records of how far the sweep is after a piece: by them a restore knows what may have been sent."""
        began, reached = self._pieces
        if not last:
            self._pieces = (min(began or limit, limit), max(reached, limit))
            return [layout.encode_sweeping(*self._pieces)]
        self.until = max(self.until, limit)
        if not reached or limit < reached:
            return [layout.encode_swept(self.until)]
        self._pieces = (0, 0)
        return [layout.encode_swept(self.until), layout.encode_sweeping(0, 0)]

    # -- when ------------------------------------------------------------------------------------------

    def follow(
        self,
        slots: Ints,
        rows: NDArray[np.void],
        *,
        moved: NDArray[np.bool_],
        earlier: NDArray[np.bool_],
        begins: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Schedule learners that are new, no longer followed, or have moved; returns whose boundary changed.

        Also those never swept of whom an event ``earlier`` than all others has come: they are due earlier, or
        count as swept by the sweeps that passed them. A learner who ``begins`` to take in history is due
        again at the last boundary; no sweep has passed a new one.
        """
        learners = self._state.learners
        before = learners.column("swept")[slots]
        anew = (learners.column("due")[slots] == NEVER) | moved | ((before == 0) & earlier) | begins
        chosen = np.flatnonzero(anew)
        if len(chosen):
            some, those = rows[chosen], slots[chosen]
            zones = self._state.zones(some)
            # A piece of a sweep that is not over may have taken them further.
            passed = np.where(self._backfill.taking(those), 0, self.until)
            swept = _swept(some, zones, np.maximum(passed, before[chosen]))
            learners.column("swept")[those] = swept
            self._schedule(those, some, zones, swept)
        changed = learners.column("swept")[slots] != before
        for slot, was in zip(slots[changed].tolist(), before[changed].tolist(), strict=True):
            self._before.setdefault(slot, was)
        return changed

    def boundaries_before(self) -> dict[int, int]:
        """Last boundaries (ms), by slot, before `follow` changed them since this was called last."""
        before, self._before = self._before, {}
        return before

    def _schedule(self, slots: Ints, rows: NDArray[np.void], zones: Zones, swept: Ints) -> None:
        """Set when each learner is due next: the first boundary not yet swept, for 120 days of silence."""
        first = np.where(rows["first"] >= 0, np.minimum(rows["first"], rows["newest"]), rows["newest"])
        due = next_boundary(rows["user"], zones, np.where(swept > 0, swept, first))
        due = due_again(self._backfill.taking(slots), swept, due)
        kept = due <= rows["newest"] + FOLLOWED_FOR
        self._state.learners.column("due")[slots] = np.where(kept, due, NEVER)


def _swept(rows: NDArray[np.void], zones: Zones, limit: int | Ints) -> Ints:
    """Latest daily boundary of each learner up to ``limit``, one or each one's, 0 where none counts."""
    if not len(rows) or not np.any(np.asarray(limit) > 0):
        return np.zeros(len(rows), np.int64)
    latest = boundary(rows["user"], zones, np.minimum(limit, rows["newest"] + FOLLOWED_FOR))
    return np.where(np.asarray(limit) > 0, latest, 0)

"""Folds a batch's events into the state of one partition number, and says what they touch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY
from lyo.models.backfill import Backfill, Taken
from lyo.models.events.decode import Columns, Kind, Rejected
from lyo.models.predictions.emit import SlotRequest
from lyo.models.state import deduplication, learner
from lyo.models.state.learner import RING_KINDS
from lyo.models.state.partition import Ints, Key, State, pairs
from lyo.models.state.reviews import add_reviews
from lyo.models.state.skill import Attempts, fold_attempts
from lyo.models.sweep import Sweeping

__all__ = ["Changes", "Folding", "Touched"]


@dataclass(slots=True)
class Changes:
    """The output of one batch or one piece of a sweep: keys and values by topic, and counts."""

    learner_rows: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    skill_rows: list[Key] = field(default_factory=list)
    predictions: dict[str, list[tuple[bytes, bytes | None]]] = field(default_factory=dict)
    interventions: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    rejected: list[tuple[Kind, Rejected]] = field(default_factory=list)
    erased: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    history: Taken | None = None


@dataclass(slots=True)
class Touched:
    """What folding has touched: slots of learners and skills, ascending; who moved; struggle requests."""

    learners: Ints
    skills: Ints
    moved: Ints
    requests: list[SlotRequest]

    def take_requests(self, learners: Ints) -> list[SlotRequest]:
        """Remove and return the requests of learners at these slots."""
        those = set(learners.tolist())
        taken = [place for place in self.requests if place[0] in those]
        self.requests = [place for place in self.requests if place[0] not in those]
        return taken

    def add(self, later: Touched) -> None:
        """Add what a later part has touched."""
        self.learners = np.union1d(self.learners, later.learners)
        self.skills = np.union1d(self.skills, later.skills)
        self.moved = np.union1d(self.moved, later.moved)
        self.requests += later.requests


class Folding:
    """Folds events into a state, and schedules their learners' sweeps."""

    def __init__(self, state: State, sweeping: Sweeping, backfill: Backfill) -> None:
        self._state = state
        self._sweeping = sweeping
        self._backfill = backfill

    def fold(self, batches: list[Columns], changes: Changes) -> Touched:
        """Fold events that may see each other's effects (see `events.order.cut`); returns what they touch."""
        users = np.unique(np.concatenate([batch.user for batch in batches]))
        slots = self._state.learner_slots(users)
        rows = self._state.learners.rows[slots]
        before = {name: rows[name].copy() for name in ("zone", "organization", "first")}
        # Skills are told of as of these days or earlier ones, by the reviews of the days before.
        told = np.maximum(rows["last_completion"], self._state.learners.column("swept")[slots]) // DAY
        recalibrated = np.zeros(len(slots), bool)
        skills: list[Ints] = [np.zeros(0, np.int64)]
        requests: list[SlotRequest] = []
        begins = np.zeros(len(slots), bool)
        for batch in batches:
            who, reached = np.searchsorted(users, batch.user), rows["newest"].copy()
            take = self._admit(rows, who, batch, changes)
            begins |= self._note(slots, who, batch, changes)
            take = self._fold(rows, who, batch, take, changes)
            if batch.kind is Kind.LESSON_COMPLETION:
                skills.append(self._fold_skills(rows, slots, who, batch, take, changes))
                recalibrated[who[take & (batch.at // DAY < told[who])]] = True
            elif batch.kind is Kind.STRUGGLE_REQUEST:
                requests += self._ask(slots, who, batch, take, reached, changes)
        self._state.learners.rows[slots] = rows
        moved = (rows["zone"] != before["zone"]) | (rows["organization"] != before["organization"])
        moved |= recalibrated
        earlier = rows["first"] != before["first"]
        moved |= self._sweeping.follow(slots, rows, moved=moved, earlier=earlier, begins=begins)
        return Touched(slots, np.unique(np.concatenate(skills)), slots[moved], requests)

    def _note(self, slots: Ints, who: Ints, batch: Columns, changes: Changes) -> NDArray[np.bool_]:
        """Who of these learners begins to take in history."""
        begins, taken = self._backfill.note(slots, who, batch)
        if taken is not None:
            changes.history = taken.plus(changes.history)
        return begins

    def _admit(
        self, rows: NDArray[np.void], who: Ints, batch: Columns, changes: Changes
    ) -> NDArray[np.bool_]:
        """Which events are admitted: those of another organization than the learner's are refused.

        The first event of a `_SETTLING` kind that names an organization settles the learner's.
        """
        named = np.flatnonzero(batch.org > 0)
        if not len(named):
            return np.ones(len(who), bool)
        if batch.kind in _SETTLING:
            first, where = np.unique(who[named], return_index=True)
            unset = rows["organization"][first] == 0
            rows["organization"][first[unset]] = batch.org[named[where[unset]]]
        theirs = rows["organization"][who]
        admitted = (batch.org == 0) | (theirs == 0) | (batch.org == theirs)
        for place in np.flatnonzero(~admitted).tolist():
            reason = "organization_id: the learner belongs to another organization"
            changes.rejected.append(
                (batch.kind, Rejected(int(batch.index[place]), reason, "organization_id"))
            )
        return admitted

    def _fold(
        self, rows: NDArray[np.void], who: Ints, batch: Columns, take: NDArray[np.bool_], changes: Changes
    ) -> NDArray[np.bool_]:
        """Fold a batch into LEARNER rows in place; returns which of its events counted."""
        counts = changes.counts
        counts["rejected"] += int((~take).sum())
        if batch.kind in RING_KINDS:
            fresh = deduplication.recognise(rows, who, batch.id, batch.kind, take)
            counts["duplicates"] += int((take & ~fresh).sum())
            newest = rows["newest"][who]
            learner.FOLDS[batch.kind](rows, who, batch, fresh)
            counts["applied"] += int(fresh.sum())
            counts["late"] += deduplication.late(batch.at, newest, rows["newest"][who], who, fresh)
            counts["far_behind"] += deduplication.far_behind(rows, who, batch.at, newest, batch.kind, fresh)
            return fresh
        part = batch if take.all() else batch.take(np.flatnonzero(take))
        learner.FOLDS[batch.kind](rows, who[take], part)
        counts["applied"] += int(take.sum())
        return take

    def _fold_skills(
        self,
        learners: NDArray[np.void],
        slots: Ints,
        who: Ints,
        batch: Columns,
        take: NDArray[np.bool_],
        changes: Changes,
    ) -> Ints:
        """Fold the skills of completions and their reviews; returns the slots of the touched skills."""
        assert batch.skills is not None
        assert batch.skill_of is not None
        event = batch.skill_of[take[batch.skill_of]].astype(np.int64)
        if not len(event):
            return np.zeros(0, np.int64)
        intern = self._state.intern
        names = np.fromiter(map(intern, batch.skills), np.int64, len(batch.skills))[take[batch.skill_of]]
        owner = slots[who[event]]
        keys = pairs(owner, names)
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        touched = self._state.skill_slots(owner[first], names[first], batch.user[event[first]])
        rows = self._state.skills.rows[touched]
        late, reviews = fold_attempts(rows, which, _attempts(batch, event))
        add_reviews(learners, who[event[first]][reviews.row], reviews)
        self._set_topics(rows, touched, which, batch, event)
        self._state.skills.rows[touched] = rows
        changes.counts["reordered"] += int(late.sum())
        changes.counts["attempts"] += len(event)
        return touched

    def _set_topics(
        self, rows: NDArray[np.void], touched: Ints, which: Ints, batch: Columns, event: Ints
    ) -> None:
        """Set each skill's topic to that of the newest completion that names one."""
        intern = self._state.intern
        numbers = np.fromiter(
            (intern(row.topic) if row.topic else -1 for row in batch.rows), np.int32, len(batch.rows)
        )[event]
        stamps = np.where(numbers >= 0, learner.stamps(batch)[event], np.uint64(0))
        newest = rows["topic_stamp"].copy()
        np.maximum.at(newest, which, stamps)
        wins = (stamps == newest[which]) & (stamps > rows["topic_stamp"][which])
        self._state.skills.column("topic")[touched[which[wins]]] = numbers[wins]
        rows["topic_stamp"] = newest

    def _ask(
        self,
        slots: Ints,
        who: Ints,
        batch: Columns,
        take: NDArray[np.bool_],
        reached: Ints,
        changes: Changes,
    ) -> list[SlotRequest]:
        """Add requests; ``reached`` is each learner's newest event (ms) before them."""
        requests: list[SlotRequest] = []
        for place in np.flatnonzero(take).tolist():
            slot = int(slots[who[place]])
            reached[who[place]] = max(reached[who[place]], batch.at[place])
            request = self._state.requests.add(
                slot, batch.rows[place], int(batch.at[place]), int(batch.id[place])
            )
            if request is not None:
                request.as_of = int(reached[who[place]])
                requests.append((slot, request))
            else:
                changes.counts["duplicates"] += 1
        changes.counts["requests"] += len(requests)
        return requests


# Kinds that settle a learner's organization: not those that the API records for callers of any tenant.
_SETTLING = frozenset({*RING_KINDS, Kind.PREFERENCES})


def _attempts(batch: Columns, event: Ints) -> Attempts:
    """Attempts at skills, one for each entry of ``event``, the row of its completion."""
    assert batch.score is not None
    assert batch.duration is not None
    assert batch.struggled is not None
    seconds = np.where(batch.duration < 0, 65_535, np.minimum(batch.duration, 65_534)).astype(np.uint16)
    items = np.fromiter((crc32(row.content_id.encode()) for row in batch.rows), np.uint32, len(batch.rows))
    return Attempts(batch.at, batch.id, items, batch.score, seconds, batch.struggled).take(event)

"""The engine: all state of one partition number, and the only way to change it or to ask it.

Pure: no clock, no I/O. The stream, replay and evaluation all use it, so they agree. After a failure
between `apply` (or `sweep`) and `commit` the engine is thrown away and built again from the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lyo.models.erasure import ERASED_KEY, Erasing, ErasureMarker, ErasureMarkers
from lyo.models.events.decode import Columns, Kind, Rejected
from lyo.models.interventions.policy import Deciding
from lyo.models.predictions.emit import Asked, Predicting, Sent
from lyo.models.state import deduplication, layout, learner
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.learner import RING_KINDS
from lyo.models.state.partition import PIECE, Ints, Key, State, pairs
from lyo.models.state.skill import Attempts, fold_attempts
from lyo.models.sweep import Sweeping

__all__ = ["Changes", "Engine"]

_Folded: TypeAlias = tuple[Ints, NDArray[np.void], dict[str, NDArray[Any]], Ints, list[Asked]]
"""Slots of learners ``(n,)``, their new rows and some old columns; slots of skills ``(m,)``; requests."""


@dataclass(slots=True)
class Changes:
    """What one batch or one piece of a sweep sends: keys and values by topic, and what was counted."""

    learner_rows: list[Key] = field(default_factory=list)
    skill_rows: list[Key] = field(default_factory=list)
    predictions: dict[str, list[tuple[bytes, bytes | None]]] = field(default_factory=dict)
    interventions: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    rejected: list[tuple[Kind, Rejected]] = field(default_factory=list)
    erased: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Engine:
    """Learners, skills, requests and interventions of one partition number.

    Args:
        catalogue: contents and organizations.
        deciding: whether interventions are decided; predictions are the same either way.
        markers: of the erased learners; the same for all engines of a process.
        write_layout: layout of the rows that it gives to be stored.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        deciding: bool = True,
        markers: ErasureMarkers | None = None,
        write_layout: int = layout.LAYOUT,
    ) -> None:
        self._layout = write_layout
        self.state = State(catalogue)
        self.sweeping = Sweeping(self.state)
        self._open = False
        self._predicting = Predicting(self.state)
        self._deciding = Deciding(self.state, self._predicting) if deciding else None
        self.erasing = Erasing(self.state, self._deciding, ErasureMarkers() if markers is None else markers)

    # -- restore ---------------------------------------------------------------------------------------

    def load(
        self,
        learner_rows: list[tuple[bytes, bytes | None]],
        skill_rows: list[tuple[bytes, bytes | None]],
        struggle: list[tuple[bytes, bytes | None]],
        interventions: Sequence[tuple[bytes, bytes | None]] = (),
    ) -> None:
        """Take a piece of the changelogs, of the struggle and of the interventions topic.

        Each in log order; the newest of a key counts.

        Raises:
            LayoutError: a row that this version cannot read.
        """
        if learner_rows:
            newest = dict(learner_rows)
            self.sweeping.load(newest)
            for key in [key for key in newest if key.startswith(ERASED_KEY)]:
                self.erasing.load(key, newest.pop(key))
            self.state.load_learners(newest)
        if skill_rows:
            self.state.load_skills(dict(skill_rows))
        if struggle:
            asked = dict(struggle)
            for slot, (key, value) in zip(self._owners(asked), asked.items(), strict=True):
                if value is not None:
                    self.state.requests.load(slot, value)
                else:
                    self.state.requests.unload(slot, layout.split_skill_key(key)[1])
        if interventions and self._deciding is not None:
            owners = self._owners([key for key, _ in interventions])
            for slot, (key, value) in zip(owners, interventions, strict=True):
                self._deciding.load(slot, key, value)

    def _owners(self, keys: Iterable[bytes]) -> list[int]:
        """Slots of the learners whose keys these are ``(n,)``."""
        users = np.array([layout.split_skill_key(key)[0] for key in keys], np.int64)
        slots: list[int] = self.state.owners(users).tolist()
        return slots

    def loaded(self) -> None:
        """End the restore: work out when each learner is due and what was sent last."""
        rows = self.state.learners.rows
        for user in rows["user"][(rows["newest"] == 0) & (rows["applied"] == 0)].tolist():
            self.erasing.forget(user)  # of whom no row is left
        self.sweeping.loaded(self._predicting)
        if self._deciding is not None:
            self._deciding.loaded()

    # -- a batch ---------------------------------------------------------------------------------------

    def apply(self, batches: list[Columns]) -> Changes:
        """Fold events and predict for every learner and skill that they touch."""
        self._begin()
        changes = Changes()
        folded = self._fold_all(batches, changes)
        if folded is None:
            return changes
        slots, rows, before, touched, asked = folded
        moved = (rows["zone"] != before["zone"]) | (rows["organization"] != before["organization"])
        moved |= self.sweeping.follow(slots, rows, moved, rows["first"] != before["first"])
        again = self._predicting.dependents(
            pairs(*(self.state.skills.column(name)[touched] for name in ("owner", "name")))
        )
        if moved.any():
            again = np.union1d(again, self.state.skills_of(slots[moved]))
        sent = self._predicting.run(slots, np.union1d(touched, again), asked, always=None)
        if self._deciding is not None:
            changes.interventions = self._deciding.review(slots)
        self._report(changes, sent)
        changes.learner_rows = layout.encode_learners(rows, self._layout)
        if len(touched):
            changes.skill_rows = self.state.encode_skills(touched, self._layout)
        return changes

    def fold(self, batches: list[Columns]) -> Changes:
        """Fold events and send nothing, for readers of the state: rows and counts are those of `apply`."""
        self._fold_all(batches, changes := Changes())
        return changes

    def _fold_all(self, batches: list[Columns], changes: Changes) -> _Folded | None:
        batches = self.erasing.admit(batches, changes.counts)
        batches = [batch for batch in batches if len(batch.user)]
        if not batches:
            return None
        users = np.unique(np.concatenate([batch.user for batch in batches]))
        slots = self.state.learner_slots(users)
        rows = self.state.learners.rows[slots]
        before = {name: rows[name].copy() for name in ("zone", "organization", "first")}
        skills: list[Ints] = []
        asked: list[Asked] = []
        for batch in batches:
            who = np.searchsorted(users, batch.user)
            take = self._admit(rows, who, batch, changes)
            take = self._fold(rows, who, batch, take, changes)
            if batch.kind is Kind.LESSON_COMPLETION:
                skills.append(self._fold_skills(slots, who, batch, take, changes))
            elif batch.kind is Kind.STRUGGLE_REQUEST:
                asked += self._ask(slots, who, batch, take, changes)
        self.state.learners.rows[slots] = rows
        touched = np.unique(np.concatenate(skills)) if skills else np.zeros(0, np.int64)
        return slots, rows, before, touched, asked

    def _admit(
        self, rows: NDArray[np.void], who: Ints, batch: Columns, changes: Changes
    ) -> NDArray[np.bool_]:
        """Refuse events of another organization than the learner's, which is the first that settles it."""
        named = np.flatnonzero(batch.org > 0)
        if not len(named):
            return np.ones(len(who), bool)
        if batch.kind in _SETTLING:
            first, where = np.unique(who[named], return_index=True)
            unset = rows["organization"][first] == 0
            rows["organization"][first[unset]] = batch.org[named[where[unset]]]
        theirs = rows["organization"][who]
        admitted = (batch.org == 0) | (theirs == 0) | (batch.org == theirs)
        for one in np.flatnonzero(~admitted).tolist():
            reason = "organization_id: the learner belongs to another organization"
            changes.rejected.append((batch.kind, Rejected(int(batch.index[one]), reason, "organization_id")))
        return admitted

    def _fold(
        self, rows: NDArray[np.void], who: Ints, batch: Columns, take: NDArray[np.bool_], changes: Changes
    ) -> NDArray[np.bool_]:
        """Fold a batch into LEARNER rows in place; which of its events counted."""
        counts = changes.counts
        counts["rejected"] += int((~take).sum())
        if batch.kind in RING_KINDS:
            fresh = deduplication.recognise(rows, who, batch.id, batch.kind, take)
            counts["duplicates"] += int((take & ~fresh).sum())
            newest = rows["newest"][who]
            _FOLDS[batch.kind](rows, who, batch, fresh)
            counts["applied"] += int(fresh.sum())
            counts["late"] += deduplication.late(batch.at, newest, rows["newest"][who], who, fresh)
            counts["far_behind"] += deduplication.far_behind(rows, who, batch.at, newest, batch.kind, fresh)
            return fresh
        part = batch if take.all() else batch.take(np.flatnonzero(take))
        _SETS[batch.kind](rows, who[take], part)
        counts["applied"] += int(take.sum())
        return take

    def _fold_skills(
        self, slots: Ints, who: Ints, batch: Columns, take: NDArray[np.bool_], changes: Changes
    ) -> Ints:
        """Fold the skills of completions; the slots of those touched."""
        assert batch.skills is not None
        assert batch.skill_of is not None
        event = batch.skill_of[take[batch.skill_of]].astype(np.int64)
        if not len(event):
            return np.zeros(0, np.int64)
        intern = self.state.intern
        names = np.fromiter(map(intern, batch.skills), np.int64, len(batch.skills))[take[batch.skill_of]]
        owner = slots[who[event]]
        keys = pairs(owner, names)
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        touched = self.state.skill_slots(owner[first], names[first], batch.user[event[first]])
        rows = self.state.skills.rows[touched]
        late = fold_attempts(rows, which, _attempts(batch, event))
        self._set_topics(rows, touched, which, batch, event)
        self.state.skills.rows[touched] = rows
        changes.counts["reordered"] += int(late.sum())
        changes.counts["attempts"] += len(event)
        return touched

    def _set_topics(
        self, rows: NDArray[np.void], touched: Ints, which: Ints, batch: Columns, event: Ints
    ) -> None:
        """The newest completion that names a topic says under which one the skill was practised."""
        intern = self.state.intern
        numbers = np.fromiter(
            (intern(row.topic) if row.topic else -1 for row in batch.rows), np.int32, len(batch.rows)
        )[event]
        stamps = np.where(numbers >= 0, learner.stamps(batch)[event], np.uint64(0))
        newest = rows["topic_stamp"].copy()
        np.maximum.at(newest, which, stamps)
        wins = (stamps == newest[which]) & (stamps > rows["topic_stamp"][which])
        self.state.skills.column("topic")[touched[which[wins]]] = numbers[wins]
        rows["topic_stamp"] = newest

    def _ask(
        self, slots: Ints, who: Ints, batch: Columns, take: NDArray[np.bool_], changes: Changes
    ) -> list[Asked]:
        asked: list[Asked] = []
        for one in np.flatnonzero(take).tolist():
            slot = int(slots[who[one]])
            request = self.state.requests.add(slot, batch.rows[one], int(batch.at[one]), int(batch.id[one]))
            if request is not None:
                asked.append((slot, request))
            else:
                changes.counts["duplicates"] += 1
        changes.counts["requests"] += len(asked)
        return asked

    # -- time ------------------------------------------------------------------------------------------

    def due(self, limit: int) -> bool:
        """Whether a learner's day ended at or before ``limit`` (ms) and has not been swept."""
        return self.sweeping.due(limit)

    def sweep(self, limit: int, most: int = PIECE) -> Changes:
        """Predict again for up to ``most`` learners whose day ended by ``limit`` (ms), as of its end."""
        self._begin()
        changes = Changes()
        piece = self.sweeping.take(limit, most)
        skills = self.state.skills_of(piece.slots)
        sent = self._predicting.run(piece.slots, skills, [], always=piece.active)
        if self._deciding is not None:
            changes.interventions = self._deciding.sweep(piece.slots, skills, piece.before, sent)
        self._report(changes, sent)
        changes.counts["swept"] += len(piece.slots)
        changes.learner_rows += self.sweeping.progress(limit, last=piece.last)
        return changes

    def commit(self, changes: Changes) -> None:
        """Say that what `apply` or `sweep` returned has been committed."""
        self._open = False

    def current(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Every current prediction as (kind, key, value), computed anew."""
        for slots in self.state.everyone():
            for kind, found in self._predicting.everything(slots).items():
                for key, value in found:
                    if value is not None:
                        yield kind, key, value

    # -- erasure ---------------------------------------------------------------------------------------

    def pending(self, number: int, count: int) -> dict[int, ErasureMarker]:
        """Learners of partition ``number`` of ``count`` who are to be erased, or known anew."""
        return self.erasing.pending(number, count)

    def erase(self, pending: dict[int, ErasureMarker]) -> Changes:
        """Forget learners; the caller deletes what the topics hold of them, and commits."""
        self._begin()
        erased = self.erasing.carry_out(pending)
        return Changes(erased=erased, counts=Counter(erasures=len(erased)))

    # -- pieces ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._open:
            raise RuntimeError(
                "the changes before these were not committed: build the engine again from the log"
            )
        self._open = True

    def _report(self, changes: Changes, sent: Sent) -> None:
        for kind, found in sent.items():
            if found:
                changes.predictions[kind] = list(found)
                changes.counts[f"sent:{kind}"] += len(found)
        changes.counts["interventions"] += len(changes.interventions)


# Kinds that settle a learner's organization: not those that whoever may ask the API about anyone records.
_SETTLING = frozenset({*RING_KINDS, Kind.PREFERENCES})
_FOLDS = {
    Kind.LESSON_COMPLETION: learner.fold_completions,
    Kind.SESSION: learner.fold_sessions,
    Kind.SENTIMENT: learner.fold_sentiment,
}
_SETS = {
    Kind.OUTCOME: learner.fold_outcomes,
    Kind.PREFERENCES: learner.fold_preferences,
    Kind.STRUGGLE_REQUEST: learner.fold_requests,
}


def _attempts(batch: Columns, event: Ints) -> Attempts:
    """Attempts at skills, one for each entry of ``event``, the row of its completion."""
    assert batch.score is not None
    assert batch.duration is not None
    seconds = np.where(batch.duration < 0, 65_535, np.minimum(batch.duration, 65_534)).astype(np.uint16)
    items = np.fromiter((crc32(row.content_id.encode()) for row in batch.rows), np.uint32, len(batch.rows))
    return Attempts(batch.at[event], batch.id[event], items[event], batch.score[event], seconds[event])

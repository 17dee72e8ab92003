"""The engine holds all state of one partition number; nothing else changes it.

It is pure: no clock, no I/O. The stream, replay and evaluation use the same engine, so they agree. After a
failure between `apply` (or `sweep`) and `commit` the engine is discarded and built again from the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lyo.models.backfill import SETTLE, Backfill
from lyo.models.erasure import ERASED_KEY, Erasing, ErasureMarker, ErasureMarkers
from lyo.models.events.decode import Columns
from lyo.models.events.order import cut
from lyo.models.fold import Changes, Folding
from lyo.models.interventions.policy import InterventionPolicy
from lyo.models.predictions.emit import Emitter, Sent
from lyo.models.renewal import Renewal
from lyo.models.state import layout
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.history import known
from lyo.models.state.partition import NEVER, PIECE, Ints, Key, State, pairs
from lyo.models.sweep import Sweeping

__all__ = ["Changes", "Engine"]


class Engine:
    """Learners, skills, requests and interventions of one partition number.

    Args:
        catalogue: contents and organizations.
        with_interventions: whether interventions are decided; predictions are the same either way.
        markers: of the erased learners; the same for all engines of a process.
        write_layout: layout of the encoded rows.
        settle: record time (ms) without more history after which it has settled.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        with_interventions: bool = True,
        markers: ErasureMarkers | None = None,
        write_layout: int = layout.LAYOUT,
        settle: int = SETTLE,
    ) -> None:
        self._layout = write_layout
        self.state = State(catalogue)
        self._backfill = Backfill(self.state, settle)
        self.sweeping = Sweeping(self.state, self._backfill)
        self._open = False
        self._folding = Folding(self.state, self.sweeping, self._backfill)
        self._emitter = Emitter(self.state)
        self._renewal = Renewal(self.state, self._emitter)
        self._policy = InterventionPolicy(self.state, self._emitter) if with_interventions else None
        self.erasing = Erasing(self.state, self._policy, ErasureMarkers() if markers is None else markers)

    # -- restore ---------------------------------------------------------------------------------------

    def load(
        self,
        learner_rows: list[tuple[bytes, bytes | None]],
        skill_rows: list[tuple[bytes, bytes | None]],
        struggle: list[tuple[bytes, bytes | None]],
        interventions: Sequence[tuple[bytes, bytes | None]] = (),
    ) -> None:
        """Load a piece of the changelogs and of the struggle and interventions topics.

        Each is in log order; the newest record of a key counts.

        Raises:
            LayoutError: a row that this version cannot read.
        """
        if learner_rows:
            newest = dict(learner_rows)
            self.sweeping.load(newest)
            self._renewal.load(newest)
            self._backfill.load(newest)
            for key in [key for key in newest if key.startswith(ERASED_KEY)]:
                self.erasing.load(key, newest.pop(key))
            self.state.load_learners(newest)
        if skill_rows:
            self.state.load_skills(dict(skill_rows))
        if struggle:
            requests = dict(struggle)
            for slot, (key, value) in zip(self._owners(requests), requests.items(), strict=True):
                if value is not None:
                    self.state.requests.load(slot, value)
                else:
                    self.state.requests.unload(slot, layout.split_skill_key(key)[1])
        if interventions and self._policy is not None:
            owners = self._owners([key for key, _ in interventions])
            for slot, (key, value) in zip(owners, interventions, strict=True):
                self._policy.load(slot, key, value)

    def _owners(self, keys: Iterable[bytes]) -> list[int]:
        """Slots of the learners of these keys, ``n`` in all."""
        users = np.array([layout.split_skill_key(key)[0] for key in keys], np.int64)
        slots: list[int] = self.state.owners(users).tolist()
        return slots

    def loaded(self) -> None:
        """End the restore: compute when each learner is due and what was sent last."""
        rows = self.state.learners.rows
        # A learner of whom only questions have come has no row: they say up to when it is known.
        for slot, at in self.state.requests.newest():
            rows["newest"][slot] = max(rows["newest"][slot], at)
        for user in rows["user"][rows["newest"] < 0].tolist():
            self.erasing.forget(user)  # no row of the learner is left
        self.sweeping.loaded(self._emitter)
        self._renewal.loaded()
        if self._policy is not None:
            self._policy.loaded()

    # -- a batch ---------------------------------------------------------------------------------------

    def apply(self, batches: list[Columns]) -> Changes:
        """Fold events and predict for every learner and skill that they touch."""
        self._begin()
        changes = Changes()
        batches = self._admit(batches, changes)
        if not batches:
            return changes
        first_records: list[tuple[bytes, bytes | None]] = []
        parts = cut(batches)
        touched = self._folding.fold(parts[0], changes)
        for part in parts[1:]:
            # A request sees what is folded before it, and nothing after it.
            rerun = self.state.learner_slots(np.unique(np.concatenate([batch.user for batch in part])))
            first_records += self._emitter.first(touched.take_requests(rerun))
            touched.add(self._folding.fold(part, changes))
        first_records += self._emitter.first(touched.requests)
        slots, skills = touched.learners, touched.skills
        rerun = self._emitter.dependents(
            pairs(*(self.state.skills.column(name)[skills] for name in ("owner", "name")))
        )
        if len(touched.moved):
            rerun = np.union1d(rerun, self.state.skills_of(touched.moved))
        sent = self._emitter.run(slots, np.union1d(skills, rerun), touched.requests, always=None)
        sent["struggle"] = first_records + sent["struggle"]
        if self._policy is not None:
            changes.interventions = self._policy.review(slots, self.sweeping.boundaries_before())
        self._report(changes, sent)
        changes.learner_rows += self._rows(slots)
        changes.learner_rows += self._models_sent()
        if self._layout == layout.LAYOUT:  # readers of the layout before do not know such a record
            changes.learner_rows += self._backfill.records(slots)
        if len(skills):
            changes.skill_rows = self.state.encode_skills(skills, self._layout)
        return changes

    def _rows(self, slots: Ints) -> list[Key]:
        """Rows to be stored: of a learner nobody knows there is none."""
        rows = self.state.learners.rows[slots]
        return layout.encode_learners(rows[known(rows)], self._layout)

    def fold(self, batches: list[Columns]) -> Changes:
        """Fold events and send nothing; rows and counts are those of `apply`."""
        changes = Changes()
        if batches := self._admit(batches, changes):
            self._folding.fold(batches, changes)
        return changes

    def _admit(self, batches: list[Columns], changes: Changes) -> list[Columns]:
        batches = self.erasing.admit(batches, changes.counts)
        return [batch for batch in batches if len(batch.user)]

    # -- time ------------------------------------------------------------------------------------------

    def due(self, limit: int, read_until: int = NEVER) -> bool:
        """Whether a learner's day ended by ``limit`` (ms) and was not swept, or something is sent anew.

        ``read_until`` is the record time (ms) up to which everything is read: it settles history.
        """
        return self.sweeping.due(limit, read_until) or self._renewal.due

    def sweep(self, limit: int, most: int = PIECE, read_until: int = NEVER) -> Changes:
        """Predict again for up to ``most`` learners whose day ended by ``limit`` (ms), as of its end.

        If there is none, send the records of up to ``most`` learners again that another model has computed.
        """
        self._begin()
        changes = Changes()
        if not self.sweeping.due(limit, read_until):
            slots = self._renewal.take(most)
            self._report(changes, self._emitter.run(slots, self.state.skills_of(slots), [], always=None))
            changes.counts["renewed"] += len(slots)
            changes.learner_rows += self._models_sent()
            return changes
        piece = self.sweeping.take(limit, most, read_until)
        skills = self.state.skills_of(piece.slots)
        sent = self._emitter.run(piece.slots, skills, [], always=piece.active)
        if self._policy is not None:
            changes.interventions = self._policy.sweep(piece.slots, skills, piece.before, sent)
        self._report(changes, sent)
        changes.counts["swept"] += len(piece.slots)
        changes.learner_rows += self.sweeping.progress(limit, last=piece.last)
        changes.learner_rows += self._models_sent()
        if self._layout == layout.LAYOUT:
            changes.learner_rows += piece.settled
        return changes

    def _models_sent(self) -> list[Key]:
        # The layout before has no such record.
        return self._renewal.record() if self._layout == layout.LAYOUT else []

    def commit(self, changes: Changes) -> None:
        """Confirm that the changes of the last `apply`, `sweep` or `erase` are committed."""
        self._open = False

    def current(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Every current prediction as (kind, key, value), computed now."""
        for slots in self.state.everyone():
            for kind, records in self._emitter.everything(slots).items():
                for key, value in records:
                    if value is not None:
                        yield kind, key, value

    # -- erasure ---------------------------------------------------------------------------------------

    def pending(self, number: int, count: int) -> dict[int, ErasureMarker]:
        """Markers of learners of partition ``number`` of ``count`` that are not applied yet, by user."""
        return self.erasing.pending(number, count)

    def erase(self, pending: dict[int, ErasureMarker]) -> Changes:
        """Remove learners from the state; the caller deletes their keys from the topics, and commits."""
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
        for kind, records in sent.items():
            if records:
                changes.predictions[kind] = list(records)
                changes.counts[f"sent:{kind}"] += len(records)
        changes.counts["interventions"] += len(changes.interventions)

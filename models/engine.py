"""The engine: all state of one partition number, and the only way to change it or to ask it.

Pure: no clock, no I/O. The stream, replay and evaluation all use it, so they agree. After a failure
between `apply` (or `sweep`) and `commit` the engine is thrown away and built again from the log.
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
from lyo.models.predictions.emit import Predicting, Sent
from lyo.models.renewal import Renewal
from lyo.models.state import layout
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.partition import NEVER, PIECE, Key, State, pairs
from lyo.models.sweep import Sweeping

__all__ = ["Changes", "Engine"]


class Engine:
    """Learners, skills, requests and interventions of one partition number.

    Args:
        catalogue: contents and organizations.
        deciding: whether interventions are decided; predictions are the same either way.
        markers: of the erased learners; the same for all engines of a process.
        write_layout: layout of the rows that it gives to be stored.
        settle: record time (ms) without more history after which it has settled.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        deciding: bool = True,
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
        self._predicting = Predicting(self.state)
        self._renewal = Renewal(self.state, self._predicting)
        self._deciding = InterventionPolicy(self.state, self._predicting) if deciding else None
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
            self._renewal.load(newest)
            self._backfill.load(newest)
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
        for user in rows["user"][rows["newest"] < 0].tolist():
            self.erasing.forget(user)  # of whom no row is left
        self.sweeping.loaded(self._predicting)
        self._renewal.loaded()
        if self._deciding is not None:
            self._deciding.loaded()

    # -- a batch ---------------------------------------------------------------------------------------

    def apply(self, batches: list[Columns]) -> Changes:
        """Fold events and predict for every learner and skill that they touch."""
        self._begin()
        changes = Changes()
        batches = self._admit(batches, changes)
        if not batches:
            return changes
        first: list[tuple[bytes, bytes | None]] = []
        parts = cut(batches)
        touched = self._folding.fold(parts[0], changes)
        for part in parts[1:]:
            # What they are asked of is what is folded now; what comes next is not to be seen.
            again = self.state.learner_slots(np.unique(np.concatenate([batch.user for batch in part])))
            first += self._predicting.first(touched.take_asked(again))
            touched.add(self._folding.fold(part, changes))
        first += self._predicting.first(touched.asked)
        slots, skills = touched.learners, touched.skills
        again = self._predicting.dependents(
            pairs(*(self.state.skills.column(name)[skills] for name in ("owner", "name")))
        )
        if len(touched.moved):
            again = np.union1d(again, self.state.skills_of(touched.moved))
        sent = self._predicting.run(slots, np.union1d(skills, again), touched.asked, always=None)
        sent["struggle"] = first + sent["struggle"]
        if self._deciding is not None:
            changes.interventions = self._deciding.review(slots, self.sweeping.boundaries_before())
        self._report(changes, sent)
        changes.learner_rows += layout.encode_learners(self.state.learners.rows[slots], self._layout)
        changes.learner_rows += self._models_sent()
        if self._layout == layout.LAYOUT:  # nobody who reads the layout before knows such a record
            changes.learner_rows += self._backfill.records(slots)
        if len(skills):
            changes.skill_rows = self.state.encode_skills(skills, self._layout)
        return changes

    def fold(self, batches: list[Columns]) -> Changes:
        """Fold events and send nothing, for readers of the state: rows and counts are those of `apply`."""
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

        If there is none, send anew what another model has computed of up to ``most``.
        """
        self._begin()
        changes = Changes()
        if not self.sweeping.due(limit, read_until):
            slots = self._renewal.take(most)
            self._report(changes, self._predicting.run(slots, self.state.skills_of(slots), [], always=None))
            changes.counts["renewed"] += len(slots)
            changes.learner_rows += self._models_sent()
            return changes
        piece = self.sweeping.take(limit, most, read_until)
        skills = self.state.skills_of(piece.slots)
        sent = self._predicting.run(piece.slots, skills, [], always=piece.active)
        if self._deciding is not None:
            changes.interventions = self._deciding.sweep(piece.slots, skills, piece.before, sent)
        self._report(changes, sent)
        changes.counts["swept"] += len(piece.slots)
        changes.learner_rows += self.sweeping.progress(limit, last=piece.last)
        changes.learner_rows += self._models_sent()
        if self._layout == layout.LAYOUT:
            changes.learner_rows += piece.settled
        return changes

    def _models_sent(self) -> list[Key]:
        # The layout before has no such record: what was sent then is unknown.
        return self._renewal.record() if self._layout == layout.LAYOUT else []

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

"""Computes predictions of changed rows, and emits those that differ from what was sent last."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.table import Table
from lyo.models.formulas.recall import calibrate
from lyo.models.predictions.compute import Group, group, name_weak, reportable
from lyo.models.predictions.episodes import Skills
from lyo.models.predictions.kinds import (
    ABOUT_LEARNERS,
    ABOUT_SKILLS,
    KINDS,
    STRUGGLE,
    Predictions,
    encode,
    of_learners,
    of_requests,
    of_skills,
)
from lyo.models.predictions.records import content_of
from lyo.models.state.partition import Ints, State
from lyo.models.state.struggle_requests import Request

__all__ = ["Emitter", "Sent", "SlotRequest"]

CHUNK = 2_048
UNKNOWN = 1  # sentinel: the last sent content is unknown, so the next one is sent (0: no content)

SlotRequest = tuple[int, Request]
Sent = dict[str, list[tuple[bytes, bytes | None]]]


@dataclass(slots=True)
class _Batch:
    """Predictions of one kind, and the table that holds hashes of what was sent last."""

    predictions: Predictions
    table: Table | None  # None for requests
    slots: Ints
    requests: list[Request]
    encoded: list[bytes | None] = field(init=False)

    def __post_init__(self) -> None:
        self.encoded = [None if record is None else encode(record) for record in self.predictions.records]

    @property
    def column(self) -> NDArray[np.int64]:
        """Hashes of the contents sent last, by slot; 0: nothing."""
        assert self.table is not None
        return self.table.column(self.predictions.kind.name)

    def forget(self, places: list[int]) -> None:
        """Mark the content sent last at these places as unknown."""
        if self.table is not None:
            self.column[self.slots[places]] = UNKNOWN
            return
        for place in places:
            self.requests[place].sent = UNKNOWN


class Emitter:
    """Emits the predictions of one partition number's learners."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._dependents: dict[int, set[int]] = {}
        for table, kinds in ((state.learners, ABOUT_LEARNERS), (state.skills, ABOUT_SKILLS)):
            for kind in kinds:
                table.put_beside(kind.name, "i8", 0)

    def run(
        self, learners: Ints, skills: Ints, requests: list[SlotRequest], always: NDArray[np.bool_] | None
    ) -> Sent:
        """Records of what has changed for these slots.

        Args:
            learners: slots ``(n,)``, ascending.
            skills: slots ``(m,)``.
            requests: new requests, which `first` has answered.
            always: learners ``(n,)`` whose dropout risk and timing are sent even if unchanged.
        """
        sent: Sent = {kind.name: [] for kind in KINDS}
        forced = set() if always is None else set(learners[always].tolist())
        for batch in self._make(learners, skills, {id(request) for _, request in requests}):
            changed = self._changed(batch, forced, set())
            self._emit(sent, batch, changed)
        return sent

    def first(self, new_requests: list[SlotRequest]) -> list[tuple[bytes, bytes | None]]:
        """Records that answer new requests, each as of its own time."""
        sent: Sent = {STRUGGLE.name: []}
        for start in range(0, len(new_requests), CHUNK):
            requests = [request for _, request in new_requests[start : start + CHUNK]]
            slots = np.array([slot for slot, _ in new_requests[start : start + CHUNK]], np.int64)
            as_of = np.array([request.as_of for request in requests], np.int64)
            learners = self._group(slots, np.maximum(as_of, self._state.learners.column("swept")[slots]))
            batch = self._answers(slots, learners, list(range(len(slots))), requests)
            self._emit(sent, batch, self._changed(batch, set(), set(map(id, requests))))
        return sent[STRUGGLE.name]

    def dependents(self, keys: NDArray[np.uint64]) -> Ints:
        """Slots of plateaus whose suggestion depends on one of these skills as a prerequisite."""
        slots: set[int] = set()
        if self._dependents:
            for key in keys.tolist():
                slots |= self._dependents.get(key, set())
        return np.array(sorted(slots), np.int64)

    def remember(self, learners: Ints, *, sure: bool = True) -> None:
        """Remember these learners' present predictions as sent last.

        Unless ``sure``, the predictions remembered before may have been sent last instead. Where the two
        differ, the content sent last counts as unknown, so the next prediction is sent.
        """
        for batch in self._make(learners, self._state.skills_of(learners), set()):
            changed = self._changed(batch, set(), set())
            if not sure:
                batch.forget(changed)

    def forget(self, learners: Ints) -> None:
        """Mark the contents sent last about these learners as unknown, so that all are sent next."""
        for batch in self._make(learners, self._state.skills_of(learners), set()):
            batch.forget(list(range(len(batch.encoded))))

    def forget_local(self, learners: Ints) -> None:
        """Mark the contents sent last that depend on these learners' local time as unknown."""
        for kind in ABOUT_LEARNERS:
            if kind.local:
                self._state.learners.column(kind.name)[learners] = UNKNOWN
        if STRUGGLE.local:
            for slot in learners.tolist():
                for request in self._state.requests.of(slot):
                    request.sent = UNKNOWN

    def forget_kinds(self, names: Collection[str]) -> None:
        """Mark the contents sent last of these kinds as unknown: all are sent next, deletions included."""
        for table, kinds in ((self._state.learners, ABOUT_LEARNERS), (self._state.skills, ABOUT_SKILLS)):
            for kind in kinds:
                if kind.name in names:
                    table.column(kind.name)[:] = UNKNOWN
        if STRUGGLE.name in names:
            for request in self._state.requests.all():
                request.sent = UNKNOWN

    def everything(self, learners: Ints) -> Sent:
        """Records of all current predictions of these learners."""
        sent: Sent = {kind.name: [] for kind in KINDS}
        for batch in self._make(learners, self._state.skills_of(learners), set()):
            self._emit(sent, batch, [at for at, encoded in enumerate(batch.encoded) if encoded is not None])
        return sent

    def _changed(self, batch: _Batch, forced: set[int], new: set[int]) -> list[int]:
        """Indexes whose content differs from the one sent last; remembers the new one as sent."""
        hashes = [0 if encoded is None else hash(content_of(encoded)) for encoded in batch.encoded]
        if batch.table is None:
            changed = []
            for at, (request, now) in enumerate(zip(batch.requests, hashes, strict=True)):
                if request.sent != now or id(request) in new:
                    changed.append(at)
                request.sent = now
            return changed
        column = batch.column
        hashed = np.array(hashes, np.int64)
        differs = column[batch.slots] != hashed
        column[batch.slots] = hashed
        if batch.table is self._state.learners and forced:
            differs |= np.fromiter((slot in forced for slot in batch.slots.tolist()), bool, len(batch.slots))
        return np.flatnonzero(differs).tolist()

    def _emit(self, sent: Sent, batch: _Batch, places: list[int]) -> None:
        # The value None deletes a plateau or regression that a late event has undone.
        some = batch.predictions
        sent[some.kind.name] += [
            (some.keys[at], None if encoded is None else some.sealed(at, encoded))
            for at, encoded in zip(places, [batch.encoded[at] for at in places], strict=True)
        ]

    def _make(self, learners: Ints, skills: Ints, answered: set[int]) -> Iterator[_Batch]:
        for start in range(0, len(learners), CHUNK):
            yield from self._make_learners(learners[start : start + CHUNK], answered)
        for start in range(0, len(skills), CHUNK):
            yield from self._make_skills(skills[start : start + CHUNK])

    def _make_learners(self, slots: Ints, answered: set[int]) -> Iterator[_Batch]:
        rows, swept = self._state.learners.rows[slots], self._state.learners.column("swept")[slots]
        learners = self._group(slots, np.maximum(rows["newest"], swept))
        for kind in ABOUT_LEARNERS:
            made = of_learners(kind, learners)
            # A learner with struggle requests alone has no predictions of these kinds.
            made.records = [
                record if known else None
                for record, known in zip(made.records, learners.known.tolist(), strict=True)
            ]
            yield _Batch(made, self._state.learners, slots, [])
        whose, requests = self._open_requests(slots, learners.as_of, answered)
        if requests:
            yield self._answers(slots, learners, whose, requests)

    def _group(self, slots: Ints, as_of: Ints) -> Group:
        return group(self._state.learners.rows[slots], as_of, self._state.catalogue)

    def _answers(self, slots: Ints, learners: Group, whose: list[int], requests: list[Request]) -> _Batch:
        """Answers to requests; ``whose`` holds the index of each request's learner in ``slots``."""
        places = np.array(whose)
        state = self._state
        answers = of_requests(learners, places, slots[places], requests, state.catalogue, state.memories)
        return _Batch(answers, None, places, requests)

    def _open_requests(self, slots: Ints, as_of: Ints, answered: set[int]) -> tuple[list[int], list[Request]]:
        """Open requests, and the index of each request's learner in ``slots``.

        Requests just answered as of the learner's present time are left out: no event has come since.
        """
        whose: list[int] = []
        requests: list[Request] = []
        for place, (slot, at) in enumerate(zip(slots.tolist(), as_of.tolist(), strict=True)):
            open_requests = self._state.requests.open(slot, at)
            if answered:
                open_requests = [
                    request for request in open_requests if id(request) not in answered or request.as_of < at
                ]
            whose += [place] * len(open_requests)
            requests += open_requests
        return whose, requests

    def _make_skills(self, slots: Ints) -> Iterator[_Batch]:
        state = self._state
        due = reportable(state.skills.rows["now"][slots])
        for kind in ABOUT_SKILLS:  # a record that was sent and is undone must be deleted
            due |= state.skills.column(kind.name)[slots] != 0
        slots = slots[due]
        if not len(slots):
            return
        states, owner = (
            state.skills.rows["now"][slots],
            state.skills.column("owner")[slots].astype(np.int64),
        )
        rows = state.learners.rows[owner]
        topics = state.skills.column("topic")[slots].tolist()
        as_of = np.maximum(states["last_at"], state.learners.column("swept")[owner])
        skills = Skills(
            states=states,
            users=rows["user"],
            organizations=rows["organization"],
            names=[state.name(number) for number in state.skills.column("name")[slots].tolist()],
            topics=[None if number < 0 else state.name(number) for number in topics],
            as_of=as_of,
            weak=[None] * len(slots),
            learners=calibrate(rows, as_of),
        )

        def watch(place: int, names: tuple[str, ...]) -> None:
            for number in state.numbers(names).tolist():
                self._dependents.setdefault(int(owner[place]) << 32 | number, set()).add(int(slots[place]))

        name_weak(skills, owner, state.catalogue, state.memories, watch)
        for kind in ABOUT_SKILLS:
            yield _Batch(of_skills(kind, skills, rows, state.catalogue), state.skills, slots, [])

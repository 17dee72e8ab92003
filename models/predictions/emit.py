"""From rows to records: predict, and find what differs from what went out last."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.table import Table
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

__all__ = ["Asked", "Predicting", "Sent"]

CHUNK = 2_048
UNKNOWN = 1  # no content has this hash, nor has none

Asked = tuple[int, Request]
Sent = dict[str, list[tuple[bytes, bytes | None]]]


@dataclass(slots=True)
class _Made:
    """Predictions of one kind, and where it is remembered what was sent last."""

    predictions: Predictions
    table: Table | None  # None for requests
    slots: Ints
    requests: list[Request]
    encoded: list[bytes | None] = field(init=False)

    def __post_init__(self) -> None:
        self.encoded = [None if record is None else encode(record) for record in self.predictions.records]

    @property
    def column(self) -> NDArray[np.int64]:
        """What was sent last, by slot."""
        assert self.table is not None
        return self.table.column(self.predictions.kind.name)

    def forget(self, places: list[int]) -> None:
        """Take what was sent last of these places for unknown."""
        if self.table is not None:
            self.column[self.slots[places]] = UNKNOWN
            return
        for place in places:
            self.requests[place].sent = UNKNOWN


class Predicting:
    """The predictions of one partition number's learners."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._dependents: dict[int, set[int]] = {}
        for table, kinds in ((state.learners, ABOUT_LEARNERS), (state.skills, ABOUT_SKILLS)):
            for kind in kinds:
                table.put_beside(kind.name, "i8", 0)

    def run(self, learners: Ints, skills: Ints, asked: list[Asked], always: NDArray[np.bool_] | None) -> Sent:
        """Records of what has changed for these slots.

        Args:
            learners: slots ``(n,)``, ascending.
            skills: slots ``(m,)``.
            asked: requests that have just come, and have been answered.
            always: learners ``(n,)`` to whom dropout risk and timing go out even unchanged.
        """
        sent: Sent = {kind.name: [] for kind in KINDS}
        forced = set() if always is None else set(learners[always].tolist())
        for made in self._make(learners, skills, {id(request) for _, request in asked}):
            changed = self._changed(made, forced, set())
            self._emit(sent, made, changed)
        return sent

    def first(self, asked: list[Asked]) -> list[tuple[bytes, bytes | None]]:
        """Records that answer requests that have just come, each as of its own time."""
        sent: Sent = {STRUGGLE.name: []}
        for start in range(0, len(asked), CHUNK):
            requests = [request for _, request in asked[start : start + CHUNK]]
            slots = np.array([slot for slot, _ in asked[start : start + CHUNK]], np.int64)
            as_of = np.array([request.as_of for request in requests], np.int64)
            learners = self._group(slots, np.maximum(as_of, self._state.learners.column("swept")[slots]))
            made = self._answers(slots, learners, list(range(len(slots))), requests)
            self._emit(sent, made, self._changed(made, set(), set(map(id, requests))))
        return sent[STRUGGLE.name]

    def dependents(self, keys: NDArray[np.uint64]) -> Ints:
        """Slots of plateaus whose suggestion looks at one of these skills, as a prerequisite."""
        found: set[int] = set()
        if self._dependents:
            for key in keys.tolist():
                found |= self._dependents.get(key, set())
        return np.array(sorted(found), np.int64)

    def remember(self, learners: Ints, *, sure: bool = True) -> None:
        """Take what these learners' predictions are now for what was sent last.

        Unless ``sure``, what was remembered before may have been the last, too: where it was something else,
        it is not known what was, and what comes next goes out.
        """
        for made in self._make(learners, self._state.skills_of(learners), set()):
            changed = self._changed(made, set(), set())
            if not sure:
                made.forget(changed)

    def forget(self, learners: Ints) -> None:
        """Let everything of these learners go out next, since it is not known what was sent last."""
        for made in self._make(learners, self._state.skills_of(learners), set()):
            made.forget(list(range(len(made.encoded))))

    def forget_kinds(self, names: Collection[str]) -> None:
        """Let everything of these kinds go out next, also that there is nothing to say (any more)."""
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
        for made in self._make(learners, self._state.skills_of(learners), set()):
            self._emit(sent, made, [at for at, encoded in enumerate(made.encoded) if encoded is not None])
        return sent

    def _changed(self, made: _Made, forced: set[int], new: set[int]) -> list[int]:
        """Places whose content differs from the one sent last, which it now is."""
        hashes = [0 if encoded is None else hash(content_of(encoded)) for encoded in made.encoded]
        if made.table is None:
            changed = []
            for at, (request, now) in enumerate(zip(made.requests, hashes, strict=True)):
                if request.sent != now or id(request) in new:
                    changed.append(at)
                request.sent = now
            return changed
        column = made.column
        hashed = np.array(hashes, np.int64)
        differs = column[made.slots] != hashed
        column[made.slots] = hashed
        if made.table is self._state.learners and forced:
            differs |= np.fromiter((slot in forced for slot in made.slots.tolist()), bool, len(made.slots))
        return np.flatnonzero(differs).tolist()

    def _emit(self, sent: Sent, made: _Made, places: list[int]) -> None:
        # A plateau or regression that an event which came late has undone is deleted: its value is None.
        some = made.predictions
        sent[some.kind.name] += [
            (some.keys[at], None if encoded is None else some.sealed(at, encoded))
            for at, encoded in zip(places, [made.encoded[at] for at in places], strict=True)
        ]

    def _make(self, learners: Ints, skills: Ints, answered: set[int]) -> Iterator[_Made]:
        for start in range(0, len(learners), CHUNK):
            yield from self._make_learners(learners[start : start + CHUNK], answered)
        for start in range(0, len(skills), CHUNK):
            yield from self._make_skills(skills[start : start + CHUNK])

    def _make_learners(self, slots: Ints, answered: set[int]) -> Iterator[_Made]:
        rows, swept = self._state.learners.rows[slots], self._state.learners.column("swept")[slots]
        learners = self._group(slots, np.maximum(rows["newest"], swept))
        for kind in ABOUT_LEARNERS:
            yield _Made(of_learners(kind, learners), self._state.learners, slots, [])
        whose, requests = self._open_requests(slots, learners.as_of, answered)
        if requests:
            yield self._answers(slots, learners, whose, requests)

    def _group(self, slots: Ints, as_of: Ints) -> Group:
        return group(self._state.learners.rows[slots], as_of, self._state.catalogue)

    def _answers(self, slots: Ints, learners: Group, whose: list[int], requests: list[Request]) -> _Made:
        """Answers to requests of learners, each given as a place in ``slots``."""
        places = np.array(whose)
        state = self._state
        answers = of_requests(learners, places, slots[places], requests, state.catalogue, state.memories)
        return _Made(answers, None, places, requests)

    def _open_requests(self, slots: Ints, as_of: Ints, answered: set[int]) -> tuple[list[int], list[Request]]:
        """Requests that follow their learners, and the place of each one's learner in ``slots``.

        Without those just answered as of the learner's present time: nothing has come since.
        """
        whose: list[int] = []
        requests: list[Request] = []
        for place, (slot, moment) in enumerate(zip(slots.tolist(), as_of.tolist(), strict=True)):
            found = self._state.requests.open(slot, moment)
            if answered:
                found = [one for one in found if id(one) not in answered or one.as_of < moment]
            whose += [place] * len(found)
            requests += found
        return whose, requests

    def _make_skills(self, slots: Ints) -> Iterator[_Made]:
        state = self._state
        due = reportable(state.skills.rows["now"][slots])
        for kind in ABOUT_SKILLS:  # one that went out and is undone must be deleted
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
        skills = Skills(
            states=states,
            users=rows["user"],
            organizations=rows["organization"],
            names=[state.name(number) for number in state.skills.column("name")[slots].tolist()],
            topics=[None if number < 0 else state.name(number) for number in topics],
            as_of=np.maximum(states["last_at"], state.learners.column("swept")[owner]),
            weak=[None] * len(slots),
        )

        def watch(one: int, names: tuple[str, ...]) -> None:
            for number in state.numbers(names).tolist():
                self._dependents.setdefault(int(owner[one]) << 32 | number, set()).add(int(slots[one]))

        name_weak(skills, owner, state.catalogue, state.memories, watch)
        for kind in ABOUT_SKILLS:
            yield _Made(of_skills(kind, skills, rows, state.catalogue), state.skills, slots, [])

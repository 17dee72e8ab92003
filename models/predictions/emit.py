"""From rows to records: predict, and find what differs from what went out last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.predictions.compute import (
    Group,
    answer,
    dropout_risks,
    group,
    name_weak,
    plateaus,
    regressions,
    reportable,
    skill_keys,
    timing_profiles,
    user_keys,
)
from lyo.models.predictions.episodes import Skills
from lyo.models.predictions.records import Head, seal
from lyo.models.predictions.struggle_records import with_answer
from lyo.models.state.partition import Ints, State
from lyo.models.state.struggle_requests import Request

__all__ = ["KINDS", "Asked", "Predicting", "Sent"]

KINDS = ("dropout-risk", "plateaus", "regressions", "struggle", "timing")
CHUNK = 2_048
UNKNOWN = 1  # no content has this hash, nor has none

Asked = tuple[int, Request]
Sent = dict[str, list[tuple[bytes, bytes | None]]]


@dataclass(slots=True)
class _Made:
    """Contents of one kind, and where it is remembered what was sent last."""

    head: Head
    keys: list[bytes]
    contents: list[bytes | None]
    table: str  # "learners", "skills" or "" for requests
    column: str
    slots: Ints
    requests: list[Request]
    answers: list[dict[str, object]]

    def forget(self, state: State, places: list[int]) -> None:
        """Take what was sent last of these places for unknown."""
        if self.table:
            getattr(state, self.table).column(self.column)[self.slots[places]] = UNKNOWN
            return
        for place in places:
            self.requests[place].sent = UNKNOWN


class Predicting:
    """The predictions of one partition number's learners."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._dependents: dict[int, set[int]] = {}

    def run(self, learners: Ints, skills: Ints, asked: list[Asked], always: NDArray[np.bool_] | None) -> Sent:
        """Records of what has changed for these slots.

        Args:
            learners: slots ``(n,)``, ascending.
            skills: slots ``(m,)``.
            asked: requests that have just come, and have been answered.
            always: learners ``(n,)`` to whom dropout risk and timing go out even unchanged.
        """
        sent: Sent = {kind: [] for kind in KINDS}
        forced = set() if always is None else set(learners[always].tolist())
        for made in self._make(learners, skills, {id(request) for _, request in asked}):
            changed = self._changed(made, forced, set())
            self._emit(sent, made, changed)
        return sent

    def first(self, asked: list[Asked]) -> list[tuple[bytes, bytes | None]]:
        """Records that answer requests that have just come, each as of its own time."""
        sent: Sent = {"struggle": []}
        for start in range(0, len(asked), CHUNK):
            requests = [request for _, request in asked[start : start + CHUNK]]
            slots = np.array([slot for slot, _ in asked[start : start + CHUNK]], np.int64)
            as_of = np.array([request.as_of for request in requests], np.int64)
            learners = self._group(slots, np.maximum(as_of, self._state.learners.column("swept")[slots]))
            made = self._answers(slots, learners, list(range(len(slots))), requests)
            self._emit(sent, made, self._changed(made, set(), set(map(id, requests))))
        return sent["struggle"]

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
                made.forget(self._state, changed)

    def forget(self, learners: Ints) -> None:
        """Let everything of these learners go out next, since it is not known what was sent last."""
        for made in self._make(learners, self._state.skills_of(learners), set()):
            made.forget(self._state, list(range(len(made.contents))))

    def everything(self, learners: Ints) -> Sent:
        """Records of all current predictions of these learners."""
        sent: Sent = {kind: [] for kind in KINDS}
        for made in self._make(learners, self._state.skills_of(learners), set()):
            self._emit(sent, made, [at for at, content in enumerate(made.contents) if content is not None])
        return sent

    def _changed(self, made: _Made, forced: set[int], new: set[int]) -> list[int]:
        """Places whose content differs from the one sent last, which it now is."""
        hashes = [0 if content is None else hash(content) for content in made.contents]
        if not made.table:
            changed = []
            for at, (request, now) in enumerate(zip(made.requests, hashes, strict=True)):
                if request.sent != now or id(request) in new:
                    changed.append(at)
                request.sent = now
            return changed
        column = getattr(self._state, made.table).column(made.column)
        hashed = np.array(hashes, np.int64)
        differs = column[made.slots] != hashed
        column[made.slots] = hashed
        if made.table == "learners" and forced:
            differs |= np.fromiter((slot in forced for slot in made.slots.tolist()), bool, len(made.slots))
        return np.flatnonzero(differs).tolist()

    def _emit(self, sent: Sent, made: _Made, places: list[int]) -> None:
        if not places:
            return
        head = made.head
        part = Head(
            head.kind,
            head.model,
            head.revision,
            head.as_of[places],
            [head.versions[at] for at in places],
            [head.fingerprints[at] for at in places],
        )
        keys = [made.keys[at] for at in places]
        contents = [made.contents[at] for at in places]
        if made.answers:
            answers = [made.answers[at] for at in places]
            contents = [
                with_answer(each or b"", answer) for each, answer in zip(contents, answers, strict=True)
            ]
        sealed = seal(part, keys, [each or b"{}" for each in contents])
        # A plateau or regression that an event which came late has undone is deleted.
        values = [None if each is None else value for each, value in zip(contents, sealed, strict=True)]
        sent[head.kind] += zip(keys, values, strict=True)

    def _make(self, learners: Ints, skills: Ints, answered: set[int]) -> Iterator[_Made]:
        for start in range(0, len(learners), CHUNK):
            yield from self._make_learners(learners[start : start + CHUNK], answered)
        for start in range(0, len(skills), CHUNK):
            yield from self._make_skills(skills[start : start + CHUNK])

    def _make_learners(self, slots: Ints, answered: set[int]) -> Iterator[_Made]:
        rows, swept = self._state.learners.rows[slots], self._state.learners.column("swept")[slots]
        learners = self._group(slots, np.maximum(rows["newest"], swept))
        keys = user_keys(learners.rows)
        head, contents = dropout_risks(learners)
        yield _Made(head, keys, list(contents), "learners", "dropout", slots, [], [])
        head, contents, _ = timing_profiles(learners)
        yield _Made(head, keys, list(contents), "learners", "timing", slots, [], [])
        whose, requests = self._open_requests(slots, learners.as_of, answered)
        if requests:
            yield self._answers(slots, learners, whose, requests)

    def _group(self, slots: Ints, as_of: Ints) -> Group:
        return group(self._state.learners.rows[slots], as_of, self._state.catalogue)

    def _answers(self, slots: Ints, learners: Group, whose: list[int], requests: list[Request]) -> _Made:
        """Answers to requests of learners, each given as a place in ``slots``."""
        places = np.array(whose)
        head, keys, contents = answer(
            learners, places, slots[places], requests, self._state.catalogue, self._state.memories
        )
        answered = [request.answered or {} for request in requests]
        return _Made(head, keys, list(contents), "", "", places, requests, answered)

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
        for kind in ("plateaus", "regressions"):  # one that went out and is undone must be deleted
            due |= state.skills.column(kind)[slots] != 0
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

        name_weak(skills, owner, state.catalogue, self._state.memories, watch)
        keys = skill_keys(skills)
        for kind, report in (("plateaus", plateaus), ("regressions", regressions)):
            head, contents = report(skills, rows, state.catalogue)
            yield _Made(head, keys, contents, "skills", kind, slots, [], [])

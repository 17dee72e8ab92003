"""From rows to records: predict, and find what differs from what went out last."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.answering import (
    States,
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
from models.episodes import Skills
from models.questions import Request, with_answer
from models.records import Head, seal
from models.skill import MEMORY

if TYPE_CHECKING:
    from models.engine import Engine

__all__ = ["KINDS", "Asked", "Predicting", "Sent"]

KINDS = ("dropout-risk", "plateaus", "regressions", "struggle", "timing")
CHUNK = 2_048
UNKNOWN = 1  # no content has this hash, nor has none

Ints = NDArray[np.int64]
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

    def forget(self, engine: Engine, places: list[int]) -> None:
        """Take what was sent last of these places for unknown."""
        if self.table:
            getattr(engine, self.table).column(self.column)[self.slots[places]] = UNKNOWN
            return
        for place in places:
            self.requests[place].sent = UNKNOWN


class Predicting:
    """The predictions of one engine."""

    def __init__(self, engine: Engine) -> None:
        # The engine has this one: if each held the other, both would stay until the collector comes.
        self._engine: Engine = weakref.proxy(engine)
        self._dependents: dict[int, set[int]] = {}

    def run(self, learners: Ints, skills: Ints, asked: list[Asked], always: NDArray[np.bool_] | None) -> Sent:
        """Records of what has changed for these slots.

        Args:
            learners: slots ``(n,)``, ascending.
            skills: slots ``(m,)``.
            asked: requests that have just come, answered in any case.
            always: learners ``(n,)`` to whom dropout risk and timing go out even unchanged.
        """
        sent: Sent = {kind: [] for kind in KINDS}
        forced = set() if always is None else set(learners[always].tolist())
        new = {id(request) for _, request in asked}
        for made in self._make(learners, skills, asked):
            changed = self._changed(made, forced, new)
            self._emit(sent, made, changed)
        return sent

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
        for made in self._make(learners, self._engine.skills_of(learners), []):
            changed = self._changed(made, set(), set())
            if not sure:
                made.forget(self._engine, changed)

    def forget(self, learners: Ints) -> None:
        """Let everything of these learners go out next, since it is not known what was sent last."""
        for made in self._make(learners, self._engine.skills_of(learners), []):
            made.forget(self._engine, list(range(len(made.contents))))

    def everything(self, learners: Ints) -> Sent:
        """Records of all current predictions of these learners."""
        sent: Sent = {kind: [] for kind in KINDS}
        for made in self._make(learners, self._engine.skills_of(learners), []):
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
        column = getattr(self._engine, made.table).column(made.column)
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

    def _make(self, learners: Ints, skills: Ints, asked: list[Asked]) -> Iterator[_Made]:
        fresh: dict[int, list[Request]] = {}
        for slot, request in asked:
            fresh.setdefault(slot, []).append(request)
        for start in range(0, len(learners), CHUNK):
            yield from self._make_learners(learners[start : start + CHUNK], fresh)
        for start in range(0, len(skills), CHUNK):
            yield from self._make_skills(skills[start : start + CHUNK])

    def _make_learners(self, slots: Ints, fresh: dict[int, list[Request]]) -> Iterator[_Made]:
        engine = self._engine
        rows = engine.learners.rows[slots]
        as_of = np.maximum(rows["newest"], engine.learners.column("swept")[slots])
        learners = group(rows, as_of, engine.catalogue)
        keys = user_keys(rows)
        head, contents = dropout_risks(learners)
        yield _Made(head, keys, list(contents), "learners", "dropout", slots, [], [])
        head, contents, _ = timing_profiles(learners)
        yield _Made(head, keys, list(contents), "learners", "timing", slots, [], [])
        whose, requests = self._open_requests(slots, as_of, fresh)
        if requests:
            places = np.array(whose)
            head, keys, contents = answer(
                learners, places, slots[places], requests, engine.catalogue, self._states
            )
            answered = [request.answered or {} for request in requests]
            yield _Made(head, keys, list(contents), "", "", places, requests, answered)

    def _open_requests(
        self, slots: Ints, as_of: Ints, fresh: dict[int, list[Request]]
    ) -> tuple[list[int], list[Request]]:
        """Requests to answer, new or followed, and the place of each one's learner in ``slots``."""
        whose: list[int] = []
        requests: list[Request] = []
        for place, (slot, moment) in enumerate(zip(slots.tolist(), as_of.tolist(), strict=True)):
            found = self._engine.requests.open(slot, moment)
            if slot in fresh:
                # Overtaken ones come first: the last record of a key is its newest request's.
                followed = set(map(id, found))
                found = [request for request in fresh[slot] if id(request) not in followed] + found
            whose += [place] * len(found)
            requests += found
        return whose, requests

    def _states(self, owner: Ints, names: list[tuple[str, ...]]) -> States:
        """States of the skills that ``n`` learners are asked about, flat, and whether they were practised."""
        engine = self._engine
        of = np.repeat(np.arange(len(names)), np.fromiter(map(len, names), np.int64, len(names)))
        numbers = np.concatenate([engine.numbers(each) for each in names]) if names else np.zeros(0, np.int64)
        slots = engine.find_skills(owner[of], numbers)
        seen = slots >= 0
        states = np.zeros(len(slots), MEMORY)
        states[seen] = engine.skills.rows["now"][slots[seen]]
        return of, states, seen

    def _make_skills(self, slots: Ints) -> Iterator[_Made]:
        engine = self._engine
        due = reportable(engine.skills.rows["now"][slots])
        for kind in ("plateaus", "regressions"):  # one that went out and is undone must be deleted
            due |= engine.skills.column(kind)[slots] != 0
        slots = slots[due]
        if not len(slots):
            return
        states, owner = (
            engine.skills.rows["now"][slots],
            engine.skills.column("owner")[slots].astype(np.int64),
        )
        rows = engine.learners.rows[owner]
        topics = engine.skills.column("topic")[slots].tolist()
        skills = Skills(
            states=states,
            users=rows["user"],
            organizations=rows["organization"],
            names=[engine.name(number) for number in engine.skills.column("name")[slots].tolist()],
            topics=[None if number < 0 else engine.name(number) for number in topics],
            as_of=np.maximum(states["last_at"], engine.learners.column("swept")[owner]),
            weak=[None] * len(slots),
        )

        def watch(one: int, names: tuple[str, ...]) -> None:
            for number in engine.numbers(names).tolist():
                self._dependents.setdefault(int(owner[one]) << 32 | number, set()).add(int(slots[one]))

        name_weak(skills, owner, engine.catalogue, self._states, watch)
        keys = skill_keys(skills)
        for kind, report in (("plateaus", plateaus), ("regressions", regressions)):
            head, contents = report(skills, rows, engine.catalogue)
            yield _Made(head, keys, contents, "skills", kind, slots, [], [])

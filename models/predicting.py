"""From rows to records: predict, and find what differs from what went out last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models import dropout, plateau, regression, struggle, timing
from models.episodes import WEAK, Skills, plateau_contents, regression_contents
from models.forgetting import recall
from models.history import history, recent_sentiment
from models.layout import skill_key
from models.mastery import MASTERY_UNIT, mastery
from models.questions import Request, first_answer, struggle_contents, with_answer
from models.records import Head, dropout_contents, seal, texts, timing_contents
from models.skill import MEMORY
from models.zones import Zones

if TYPE_CHECKING:
    from models.engine import Engine

__all__ = ["KINDS", "Asked", "Predicting", "Sent"]

KINDS = ("dropout-risk", "plateaus", "regressions", "struggle", "timing")
CHUNK = 2_048

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


class Predicting:
    """The predictions of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
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

    def remember(self, learners: Ints) -> None:
        """Take what these learners' predictions are now for what was sent last."""
        for made in self._make(learners, self._engine.skills_of(learners), []):
            self._changed(made, set(), set())

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
        zones = engine.zones(rows)
        as_of = np.maximum(rows["newest"], engine.learners.column("swept")[slots])
        past = history(rows, as_of, zones)
        keys = [b"%d" % user for user in rows["user"].tolist()]
        versions, fingerprints = rows["applied"].tolist(), rows["fingerprint"].tolist()
        revision = engine.catalogue.revision
        head = Head("dropout-risk", dropout.MODEL, revision, as_of, versions, fingerprints)
        contents = dropout_contents(rows, dropout.predict(past), zones.names)
        yield _Made(head, keys, list(contents), "learners", "dropout", slots, [], [])
        head = Head("timing", timing.MODEL, revision, as_of, versions, fingerprints)
        contents = timing_contents(rows, timing.predict(past, rows, as_of, zones), zones.names)
        yield _Made(head, keys, list(contents), "learners", "timing", slots, [], [])
        whose: list[int] = []
        requests: list[Request] = []
        for place, (slot, moment) in enumerate(zip(slots.tolist(), as_of.tolist(), strict=True)):
            found = engine.requests.open(slot, moment)
            if slot in fresh:
                # Overtaken ones come first: the last record of a key is its newest request's.
                followed = set(map(id, found))
                found = [request for request in fresh[slot] if id(request) not in followed] + found
            whose += [place] * len(found)
            requests += found
        if requests:
            mood = recent_sentiment(past)
            yield self._answer(slots, rows, as_of, zones, mood, np.array(whose), requests)

    def _answer(
        self,
        slots: Ints,
        rows: NDArray[np.void],
        as_of: Ints,
        zones: Zones,
        mood: tuple[NDArray[np.float64], NDArray[np.float64]],
        whose: Ints,
        requests: list[Request],
    ) -> _Made:
        engine = self._engine
        organizations = rows["organization"][whose].tolist()
        for request, organization in zip(requests, organizations, strict=True):
            request.resolve(engine.catalogue, organization)
        owner = slots[whose]
        prereq_of, prereq, prereq_seen = self._states(owner, [request.prerequisites for request in requests])
        similar_of, similar, similar_seen = self._states(owner, [request.similar for request in requests])
        questions = struggle.Questions(
            as_of=as_of[whose],
            prereq_of=prereq_of,
            prereq=prereq,
            prereq_seen=prereq_seen,
            similar_of=similar_of,
            similar=similar,
            similar_seen=similar_seen,
            difficulty=np.array([request.difficulty for request in requests], np.float64),
            load=struggle.cognitive_load(rows, as_of, zones)[whose],
            sentiment=mood[0][whose],
            sentiments=mood[1][whose],
        )
        answers = struggle.predict(questions)
        users = rows["user"][whose].tolist()
        feeling = np.where(questions.sentiments > 0, questions.sentiment, np.nan)
        contents = struggle_contents(requests, users, organizations, answers, feeling)
        for one, (request, moment) in enumerate(zip(requests, texts(questions.as_of), strict=True)):
            if request.answered is None:
                request.answered = first_answer(answers, one, moment)
        head = Head(
            "struggle",
            struggle.MODEL,
            engine.catalogue.revision,
            questions.as_of,
            rows["applied"][whose].tolist(),
            rows["fingerprint"][whose].tolist(),
        )
        keys = [
            f"{user}|{request.content_id}".encode() for user, request in zip(users, requests, strict=True)
        ]
        answered = [request.answered or {} for request in requests]
        return _Made(head, keys, list(contents), "", "", whose, requests, answered)

    def _states(
        self, owner: Ints, names: list[tuple[str, ...]]
    ) -> tuple[Ints, NDArray[np.void], NDArray[np.bool_]]:
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
        states = engine.skills.rows["now"][slots]
        owner = engine.skills.column("owner")[slots]
        due = (states["window_detected"] > 0) | (states["plateaus"]["detected"] > 0).any(axis=1)
        due |= (states["peak"] >= regression.LEAST_PEAK) | (states["regressions"]["detected"] > 0).any(axis=1)
        due |= (engine.skills.column("plateaus")[slots] != 0) | (
            engine.skills.column("regressions")[slots] != 0
        )
        slots, states, owner = slots[due], states[due], owner[due].astype(np.int64)
        if not len(slots):
            return
        rows = engine.learners.rows[owner]
        as_of = np.maximum(states["last_at"], engine.learners.column("swept")[owner])
        topics = engine.skills.column("topic")[slots].tolist()
        skills = Skills(
            states=states,
            users=rows["user"],
            organizations=rows["organization"],
            names=[engine.name(number) for number in engine.skills.column("name")[slots].tolist()],
            topics=[None if number < 0 else engine.name(number) for number in topics],
            as_of=as_of,
            weak=[None] * len(slots),
        )
        self._find_weak(skills, owner, slots)
        keys = [skill_key(user, name) for user, name in zip(rows["user"].tolist(), skills.names, strict=True)]
        versions, fingerprints = rows["applied"].tolist(), rows["fingerprint"].tolist()
        revision = engine.catalogue.revision
        head = Head("plateaus", plateau.MODEL, revision, as_of, versions, fingerprints)
        yield _Made(
            head, keys, plateau_contents(skills, engine.catalogue), "skills", "plateaus", slots, [], []
        )
        head = Head("regressions", regression.MODEL, revision, as_of, versions, fingerprints)
        yield _Made(
            head, keys, regression_contents(skills, engine.catalogue), "skills", "regressions", slots, [], []
        )

    def _find_weak(self, skills: Skills, owner: Ints, slots: Ints) -> None:
        """For plateaus, name the weakest prerequisite that is not mastered."""
        catalogue = self._engine.catalogue
        for one in np.flatnonzero(skills.states["window_detected"] > 0).tolist():
            organization = int(skills.organizations[one])
            names = tuple(catalogue.prerequisites_of(skills.names[one], organization))
            if not names:
                continue
            for number in self._engine.numbers(names).tolist():
                self._dependents.setdefault(int(owner[one]) << 32 | number, set()).add(int(slots[one]))
            _, states, seen = self._states(owner[one : one + 1], [names])
            level = mastery(states["hits"], states["weight"]) / MASTERY_UNIT
            now = np.where(
                seen,
                level * recall(skills.as_of[one] - states["last_at"], np.maximum(states["stability"], 1)),
                1,
            )
            weakest = int(np.argmin(now))
            if now[weakest] < WEAK:
                skills.weak[one] = catalogue.skill_name(names[weakest], organization)

"""Builders for tests of the models: events as plain dicts, engines, rows, and lives of generated learners."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lyo.models.engine import Changes, Engine
from lyo.models.events.decode import Columns, Kind, decode
from lyo.models.renewal import MODELS_KEY
from lyo.models.state import layout
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.history import known
from lyo.models.state.partition import NEVER, PIECE

MINUTE = 60_000
START = 1_772_409_600_000  # 2026-03-02, a Monday, 00:00 UTC

Current = dict[tuple[str, bytes], dict[str, Any]]
Rows = dict[bytes, bytes]


class Sent(NamedTuple):
    """One input event: its kind and its JSON object."""

    kind: Kind
    body: dict[str, Any]


def iso(at: int) -> str:
    """RFC 3339 text of an instant in ms."""
    whole = datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{at % 1000:03d}Z"


def ms(text: str) -> int:
    """Instant in ms of an RFC 3339 text."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


# -- events ------------------------------------------------------------------------------------------------

_numbers = iter(range(1, 1 << 62))


def _name(name: str | None) -> str:
    return f"event-{next(_numbers)}" if name is None else name


def completion(
    user: int, at: int, *skills: str, score: float | None = 0.8, name: str | None = None, **more: Any
) -> Sent:
    """A lesson completion."""
    body = {"event_id": _name(name), "user_id": user, "occurred_at": iso(at), "content_id": "lesson"}
    return Sent(Kind.LESSON_COMPLETION, {**body, "skills": list(skills), "score": score, **more})


def session(user: int, at: int, minutes: int | None = 30, *, name: str | None = None, **more: Any) -> Sent:
    """A session that starts at an instant; without minutes, an open one."""
    ended = None if minutes is None else iso(at + minutes * MINUTE)
    body = {"event_id": _name(name), "user_id": user, "started_at": iso(at), "ended_at": ended}
    return Sent(Kind.SESSION, {**body, **more})


def sentiment(user: int, at: int, value: float, *, name: str | None = None, **more: Any) -> Sent:
    """How a learner feels."""
    body = {"event_id": _name(name), "user_id": user, "occurred_at": iso(at), "sentiment": value}
    return Sent(Kind.SENTIMENT, {**body, **more})


def outcome(user: int, at: int, what: str, *, name: str | None = None, **more: Any) -> Sent:
    """What came of a prediction."""
    body = {"event_id": _name(name), "user_id": user, "occurred_at": iso(at), "kind": what}
    return Sent(Kind.OUTCOME, {**body, **more})


def preferences(user: int, at: int, *, name: str | None = None, **more: Any) -> Sent:
    """A learner's preferences; only what is named is set."""
    return Sent(Kind.PREFERENCES, {"event_id": _name(name), "user_id": user, "updated_at": iso(at), **more})


def request(
    user: int, at: int, *, name: str | None = None, organization_id: int | None = None, **metadata: Any
) -> Sent:
    """A question whether a learner will struggle with a content."""
    body = {"request_id": _name(name), "user_id": user, "organization_id": organization_id}
    return Sent(Kind.STRUGGLE_REQUEST, {**body, "requested_at": iso(at), "content_metadata": metadata})


# -- engines -----------------------------------------------------------------------------------------------


def columns(events: Iterable[Sent], recorded: int = -1) -> list[Columns]:
    """Events as columns, one for each run of one kind, so that the order of arrival is kept.

    ``recorded`` is the time of their records (ms); without it, none of them is history.
    """
    runs = []
    for kind, run in groupby(events, key=lambda event: event.kind):
        values = [json.dumps(event.body).encode() for event in run]
        decoded, rejected = decode(kind, None, values, [recorded] * len(values))
        assert not rejected, rejected
        runs.append(decoded)
    return runs


def by_kind(events: Iterable[Sent]) -> list[Columns]:
    """Events as columns, one for each kind, as polls of all topics give them, with the order they came in."""
    came = sorted(enumerate(events), key=lambda one: one[1].kind)
    made = columns([event for _, event in came])
    turns = iter([turn for turn, _ in came])
    for each in made:
        each.turn = np.fromiter(turns, np.int64, len(each.user))
    return made


def catalogue(*contents: dict[str, Any], organizations: Iterable[dict[str, Any]] = ()) -> Catalogue:
    """A catalogue of contents and organizations given as plain objects."""
    made = Catalogue()
    for content in contents:
        assert made.put(Kind.CONTENT, content["content_id"].encode(), json.dumps(content).encode()) is None
    for one in organizations:
        key = b"%d" % one["organization_id"]
        assert made.put(Kind.ORGANIZATION, key, json.dumps(one).encode()) is None
    return made


class Stream:
    """An engine and what it has sent: newest row and prediction of each key, as the topics keep them."""

    def __init__(self, known: Catalogue | None = None) -> None:
        self.engine = Engine(Catalogue() if known is None else known)
        self.learner_rows: Rows = {}
        self.skill_rows: Rows = {}
        self.models: Rows = {}
        self.sent: Current = {}
        self.raw: dict[str, dict[bytes, bytes]] = {}
        self.changes: list[Changes] = []
        self.interventions: Rows = {}
        self.told: list[dict[str, Any]] = []

    def feed(self, events: Iterable[Sent], recorded: int = -1) -> Changes:
        """Apply events as one batch, in their order of arrival, and commit."""
        return self.take(columns(events, recorded))

    def take(self, batches: list[Columns]) -> Changes:
        """Apply columns as one batch and commit."""
        return self._take(self.engine.apply(batches))

    def sweep(self, limit: int, most: int | None = None, read_until: int = NEVER) -> None:
        """Sweep up to an instant until nothing is due."""
        while self.sweep_some(limit, most, read_until):
            pass

    def sweep_some(self, limit: int, most: int | None = None, read_until: int = NEVER) -> bool:
        """Sweep a piece, if something is due at an instant; whether it was."""
        if not self.engine.due(limit, read_until):
            return False
        self._take(self.engine.sweep(limit, PIECE if most is None else most, read_until))
        return True

    def _take(self, changes: Changes) -> Changes:
        self.engine.commit(changes)
        self.changes.append(changes)
        for name, row in changes.learner_rows:
            kept = self.models if name == MODELS_KEY else self.learner_rows
            if row is None:
                kept.pop(name, None)
            else:
                kept[name] = row
        self.skill_rows.update(changes.skill_rows)
        for kind, pairs in changes.predictions.items():
            for key, value in pairs:
                if value is None:
                    self.raw.setdefault(kind, {}).pop(key, None)
                    self.sent.pop((kind, key), None)
                else:
                    self.raw.setdefault(kind, {})[key] = value
                    self.sent[kind, key] = json.loads(value)
        for key, value in changes.interventions:
            if value is None:
                del self.interventions[key]
            else:
                self.interventions[key] = value
                self.told.append(json.loads(value))
        return changes

    def decided(self, **wanted: Any) -> list[dict[str, Any]]:
        """The newest record of each intervention that has these values, in the order of their times."""
        found = [json.loads(value) for value in self.interventions.values()]
        chosen = [one for one in found if all(one[name] == value for name, value in wanted.items())]
        return sorted(chosen, key=lambda one: (one["as_of"], one["user_id"], one["audience"], one["type"]))

    def counted(self, name: str) -> int:
        """Sum of one counter over all changes."""
        return sum(changes.counts[name] for changes in self.changes)

    def current(self) -> Current:
        """Every current prediction by kind and key."""
        return {(kind, key): json.loads(value) for kind, key, value in self.engine.current()}

    def one(self, kind: str, key: str) -> dict[str, Any]:
        """One current prediction."""
        return self.current()[kind, key.encode()]

    def restored(self, pieces: int = 1) -> Stream:
        """A stream whose engine was built from what this one sent, in a number of pieces."""
        again = Stream(self.engine.state.catalogue)
        logs = [list((self.learner_rows | self.models).items()), list(self.skill_rows.items())]
        logs.append(list(self.raw.get("struggle", {}).items()))
        logs.append(list(self.interventions.items()))
        for piece in range(pieces):
            again.engine.load(*(_part(log, piece, pieces) for log in logs))
        again.engine.loaded()
        again.models = dict(self.models)
        again.learner_rows, again.skill_rows = dict(self.learner_rows), dict(self.skill_rows)
        again.interventions, again.told = dict(self.interventions), list(self.told)
        again.sent, again.raw = dict(self.sent), {kind: dict(raw) for kind, raw in self.raw.items()}
        return again


def _part(log: list[tuple[bytes, bytes]], piece: int, pieces: int) -> list[tuple[bytes, bytes | None]]:
    size = -(-len(log) // pieces)
    return [*log[piece * size : (piece + 1) * size]]


def run(events: Iterable[Sent], known: Catalogue | None = None) -> Stream:
    """A stream that was fed all events as one batch."""
    stream = Stream(known)
    stream.feed(list(events))
    return stream


def stored(engine: Engine) -> tuple[Rows, Rows]:
    """All LEARNER and SKILL rows of an engine as they would be stored, by key."""
    skills = engine.state.encode_skills(np.arange(len(engine.state.skills)))
    rows = engine.state.learners.rows
    return dict(layout.encode_learners(rows[known(rows)])), dict(skills)


def without(current: Current, fields: Iterable[str]) -> Current:
    """Predictions without some fields."""
    left_out = set(fields)
    return {
        key: {name: value for name, value in record.items() if name not in left_out}
        for key, record in current.items()
    }


# -- generated lives ---------------------------------------------------------------------------------------


def learner_row(stream: Stream, user: int) -> NDArray[np.void]:
    """The LEARNER row of a user ``(1,)``, a copy."""
    rows = stream.engine.state.learners.rows
    return rows[rows["user"] == user].copy()


def skill_row(stream: Stream, user: int, skill: str) -> NDArray[np.void]:
    """The SKILL row of a user's skill ``(1,)``, a copy."""
    engine = stream.engine
    owner = engine.state.learners.index.find(np.array([user], np.uint64)).astype(np.int64)
    slot = engine.state.find_skills(owner, engine.state.numbers((skill,)))
    found: NDArray[np.void] = engine.state.skills.rows[slot].copy()
    return found

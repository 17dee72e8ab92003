"""What Kafka and Postgres have after a fault: rows and predictions, read committed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from lyo.models.state import layout
from lyo.storage.database import plain_url
from lyo.streams import topics
from lyo.streams.settings import Settings
from tests.support import logs
from tests.support.faults import agreement
from tests.support.faults.agreement import Predictions

Rows = dict[bytes, bytes]
Pair = tuple[bytes, bytes | None]

_ID: Final = b'"prediction_id":"'
_VERSION: Final = b'"version":'


@dataclass(slots=True)
class Found:
    """What Kafka and Postgres have, read committed."""

    rows: Rows
    predictions: Predictions
    ambiguous: list[str] = field(default_factory=list)
    """Prediction ids that carry two contents."""
    older: list[str] = field(default_factory=list)
    """Rows and predictions that follow a newer one of their key in the log."""
    stored_rows: Rows | None = None
    stored: Predictions | None = None


async def look(settings: Settings, *, postgres: bool = True) -> Found:
    """Read the changelogs, the prediction topics and Postgres."""
    names = topics.names(settings)
    learners = rows_of(await _log(settings, names.learner_rows))
    found = Found(learners.newest, {}, older=learners.older)
    found.rows |= rows_of(await _log(settings, names.skill_rows)).newest
    for kind, topic in names.predictions.items():
        read = predictions_of(await _log(settings, topic))
        found.predictions |= {(kind, key.decode()): json.loads(value) for key, value in read.newest.items()}
        found.ambiguous += [f"{kind} {number}" for number in read.ambiguous]
        found.older += [f"{kind} {text}" for text in read.older]
    if postgres:
        found.stored_rows = await _stored_rows(settings.database_url)
        found.stored = await agreement.in_postgres(settings.database_url)
    return found


async def _log(settings: Settings, topic: str) -> list[Pair]:
    """Every committed record of a topic, each key's in the order of the log."""
    return [(record.key, record.value) for record in await logs.records(settings, topic)]


@dataclass(slots=True)
class Read:
    """What a log says, read from its beginning."""

    newest: Rows
    ambiguous: list[str] = field(default_factory=list)
    older: list[str] = field(default_factory=list)


def predictions_of(log: Iterable[Pair]) -> Read:
    """The newest prediction of each key; ids that carry two contents, and versions that go back, anywhere."""
    newest: dict[bytes, bytes | None] = {}
    contents: dict[bytes, int] = {}
    versions: dict[bytes, int] = {}
    twofold: set[bytes] = set()
    older: list[str] = []
    for key, value in log:
        newest[key] = value
        if value is None:
            versions.pop(key, None)
            continue
        number, version = _id_and_version(value)
        if contents.setdefault(number, hash((key, value))) != hash((key, value)):
            twofold.add(number)
        if version < versions.get(key, 0):
            older.append(f"{key.decode()}: version {version} after {versions[key]}")
        versions[key] = version
    kept = {key: value for key, value in newest.items() if value is not None}
    return Read(kept, sorted(number.decode() for number in twofold), older)


def _id_and_version(value: bytes) -> tuple[bytes, int]:
    start = value.index(_ID) + len(_ID)
    after = value.index(_VERSION) + len(_VERSION)
    return value[start : start + 32], int(value[after : value.index(b",", after)])


def rows_of(log: Iterable[Pair]) -> Read:
    """The newest row of each key; learners' rows that have applied fewer events than the one before."""
    newest: dict[bytes, bytes | None] = {}
    older: list[str] = []
    for key, value in log:
        if key.startswith(b"#"):  # a partition's own: how far it is swept, what it stands at, who was erased
            continue
        before, newest[key] = newest.get(key), value
        if before is not None and value is not None and b"|" not in key:
            was, is_ = applied(before)[0], applied(value)[0]
            if is_ < was:
                older.append(f"{shown(key)}: {is_} events after {was}")
    return Read({key: value for key, value in newest.items() if value is not None}, older=older)


async def _stored_rows(database_url: str) -> Rows:
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        learners = await connection.fetch('SELECT user_id, "row" FROM learner_rows')
        skills = await connection.fetch('SELECT user_id, skill_id, "row" FROM skill_rows')
    finally:
        await connection.close()
    found = {b"%d" % row["user_id"]: row["row"] for row in learners}
    return found | {layout.skill_key(row["user_id"], row["skill_id"]): row["row"] for row in skills}


def shown(key: bytes) -> str:
    """A row's key as reports say it."""
    return f"row {key.decode(errors='replace')}"


def applied(row: bytes | None) -> tuple[int, int]:
    """How many events a learner's row has applied, and their fingerprint; zeros of no row."""
    if row is None:
        return 0, 0
    fields = layout.decode_learners([row])[0]
    return int(fields["applied"]), int(fields["fingerprint"])

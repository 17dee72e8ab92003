"""Do Kafka, Postgres and `lyo replay` agree? Compares key by key and field by field."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np

from lyo.evaluation.replay import Replay
from lyo.models.engine import Engine
from lyo.models.predictions.records import IDENTITY_FREE
from lyo.models.state import layout
from lyo.models.state.history import known
from lyo.storage.database import plain_url
from lyo.streams import topics
from lyo.streams.event_files.reader import opened
from lyo.streams.settings import Settings
from tests.support import logs

Fields = dict[str, Any]
Predictions = dict[tuple[str, str], Fields]

TABLES = {
    "dropout-risk": "dropout_risk_scores",
    "timing": "user_timing_profiles",
    "plateaus": "learning_plateaus",
    "regressions": "skill_regressions",
    "struggle": "struggle_predictions",
}
EPISODIC = ("plateaus", "regressions")
# In the tables these say what came of a prediction, from the outcomes; on the topics they cannot be known.
OUTCOMES = {"user_reviewed", "intervention_taken"}
SHOWN = 5


def replayed(path: Path, at: int) -> Replay:
    """Fold an event file in one process, as of ``at`` (ms)."""
    replay = Replay()
    replay.read(path, at, None, None)
    replay.settle(at)
    return replay


def predicted(replay: Replay) -> Predictions:
    """What a replay predicts, by kind and key."""
    return {(kind, key.decode()): _comparable(json.loads(value)) for kind, key, value in replay.predictions()}


def asked_about(path: Path) -> set[tuple[str, str]]:
    """The keys of all struggle requests of an event file, also of those that no longer follow."""
    found = set()
    with opened(path) as file:
        for piece in file.pieces():
            for line in piece.lines:
                if b'"struggle_request"' in line:
                    asked = json.loads(line)
                    content = asked["content_metadata"].get("content_id", asked["request_id"])
                    found.add(("struggle", f"{asked['user_id']}|{content}"))
    return found


def rows(engine: Engine, write_layout: int = layout.LAYOUT) -> dict[bytes, bytes]:
    """Every row of an engine as it is stored: none of a learner of whom only questions have come."""
    learners = engine.state.learners.rows
    skills = engine.state.encode_skills(np.arange(len(engine.state.skills)), write_layout)
    found = dict(layout.encode_learners(learners[known(learners)], write_layout) + skills)
    return {key: value for key, value in found.items() if key.partition(b"|")[0] != b"0"}  # of the forgotten


async def stored_rows(settings: Settings) -> dict[bytes, bytes]:
    """Every row as the changelogs have it."""
    names = topics.names(settings)
    found = await newest(settings, names.learner_rows) | await newest(settings, names.skill_rows)
    return {key: value for key, value in found.items() if not key.startswith(b"#")}


async def newest(settings: Settings, topic: str) -> dict[bytes, bytes]:
    """The committed value of every key of a topic."""
    values = {record.key: record.value for record in await logs.records(settings, topic)}
    return {key: value for key, value in values.items() if value is not None}


async def on_topics(settings: Settings) -> Predictions:
    """The current predictions on the topics, by kind and key."""
    found: Predictions = {}
    for kind, topic in topics.names(settings).predictions.items():
        for key, value in (await newest(settings, topic)).items():
            found[kind, key.decode()] = _comparable(json.loads(value))
    return found


async def in_postgres(database_url: str) -> Predictions:
    """The current predictions in Postgres, by kind and key; of episodes the list."""
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        found: Predictions = {}
        for kind, table in TABLES.items():
            # Of a struggle question there is a row for each request: the newest is the current one.
            order = "user_id, skill_id, detected_at" if kind in EPISODIC else "log_offset NULLS FIRST"
            for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY {order}"):
                _add_row(found, kind, {name: _plain(value) for name, value in row.items()})
        return found
    finally:
        await connection.close()


def _add_row(found: Predictions, kind: str, row: Fields) -> None:
    subject = {"plateaus": "skill_id", "regressions": "skill_id", "struggle": "content_id"}.get(kind)
    key = str(row["user_id"]) if subject is None else f"{row['user_id']}|{row[subject]}"
    row["features"] = row.pop("prediction_features", None)
    if kind in EPISODIC:
        found.setdefault((kind, key), {"episodes": []})["episodes"].append(row)
        found[kind, key] |= {name: value for name, value in row.items() if name != "episodes"}
    else:
        found[kind, key] = row


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value


def _comparable(record: Fields) -> Fields:
    return {name: value for name, value in record.items() if name not in IDENTITY_FREE}


def differences(
    wanted: Predictions, found: Predictions, closed: set[tuple[str, str]] | None = None
) -> list[str]:
    """What ``found`` has otherwise, compared in the fields that both have.

    Keys in ``closed`` (struggle requests that no longer follow the learner) only have to be there.
    """
    said = [f"{key} is missing" for key in wanted.keys() - found.keys()]
    said += [f"{key} is too much" for key in found.keys() - wanted.keys() - (closed or set())]
    for key in wanted.keys() & found.keys():
        said += [f"{key} {text}" for text in _unlike(wanted[key], found[key])]
    return sorted(said)


def _unlike(wanted: Fields, found: Fields) -> list[str]:
    said = []
    for name in (wanted.keys() & found.keys()) - IDENTITY_FREE - OUTCOMES:
        if name == "episodes":
            pairs = list(zip(wanted[name], found[name], strict=False))
            said += [text for one, other in pairs for text in _unlike(one, other)]
            if len(wanted[name]) != len(found[name]):
                said.append(f"episodes: {len(wanted[name])} != {len(found[name])}")
        elif wanted[name] != found[name]:
            said.append(f"{name}: {wanted[name]!r} != {found[name]!r}")
    return said


def informed(predictions: Predictions) -> dict[str, int]:
    """How many predictions of each kind are more than a neutral answer."""
    return dict(Counter(kind for (kind, _), record in predictions.items() if record["confidence"] > 0))

"""What the tables must hold at the end of a run: what the topics hold, row by row."""

from __future__ import annotations

import json
from typing import Any

from lyo.models.state import layout
from lyo.storage.sink import merges
from tests.support.simulation.kafka.log import Stored
from tests.support.simulation.statements import returned_at
from tests.support.simulation.world import World


def current(world: World, topic: str) -> dict[bytes, Stored]:
    found = world.broker.newest(topic)
    return {
        key: record
        for key, record in found.items()
        if key is not None and not key.startswith(b"#") and record.value is not None
    }


def differing_tables(world: World) -> list[str]:
    """The tables hold what the topics hold, row by row."""
    tables, said = world.database.tables, []
    plans = {world.names.prediction(kind): plan for kind, plan in merges.PLANS.items()}
    plans[world.names.interventions] = merges.INTERVENTIONS
    for topic, plan in plans.items():
        wanted = {}
        for record in current(world, topic).values():
            body = json.loads(record.value or b"")
            for episode in body["episodes"] if plan.episode else [{}]:
                key = tuple((body | episode)[column] for column in plan.key)
                wanted[key] = (body, record.partition, record.offset)
        rows = tables.get(plan.table.name, {})
        found = {key: (row["record"], row["log_partition"], row["log_offset"]) for key, row in rows.items()}
        if plan.table.name == "struggle_predictions":
            wanted |= _asked_before(found, wanted) | _answers(world, topic)
        said += [
            f"table {plan.table.name} differs at {key}"
            for key in sorted(wanted.keys() | found.keys())
            if wanted.get(key) != found.get(key)
        ]
    for name, topic in (("learner_rows", world.names.learner_rows), ("skill_rows", world.names.skill_rows)):
        values = {_split(raw): (record.value, record.offset) for raw, record in current(world, topic).items()}
        stored = {key: (row["row"], row["log_offset"]) for key, row in tables.get(name, {}).items()}
        said += [
            f"table {name} differs at {key}"
            for key in sorted(values.keys() | stored.keys())
            if values.get(key) != stored.get(key)
        ]
    return said + _outcomes(world)


Answers = dict[tuple[Any, ...], tuple[Any, int, int]]
"""By learner, content and request: what was answered, its partition and its offset."""


def _asked_before(found: Answers, current: Answers) -> Answers:
    """The rows found of questions that were asked again; compaction may have removed their records."""
    newest = {key[:2]: (partition, offset) for key, (_, partition, offset) in current.items()}
    return {key: row for key, row in found.items() if key[:2] in newest and row[1:] < newest[key[:2]]}


def _answers(world: World, topic: str) -> Answers:
    """The last answer to every question that the topic has, since the newest tombstone of its key."""
    found: dict[bytes, Answers] = {}
    for tp, log in world.broker.logs.items():
        for record in log.committed(tp)[0] if tp.topic == topic else ():
            key = record.key or b""
            if record.value is None:
                found.pop(key, None)
                continue
            body = json.loads(record.value)
            question = (*_split(key), body["request_id"])
            found.setdefault(key, {})[question] = (body, record.partition, record.offset)
    return {question: answer for answers in found.values() for question, answer in answers.items()}


def _split(key: bytes) -> tuple[Any, ...]:
    if b"|" not in key:
        return (int(key),)
    return layout.split_skill_key(key)


def _outcomes(world: World) -> list[str]:
    tables = world.database.tables
    facts = tables.get("outcome_facts", {})
    return [
        f"dropout_risk_scores: returned_at of {key} is not what the outcomes say"
        for key, row in tables.get("dropout_risk_scores", {}).items()
        if row.get("returned_at") != returned_at(facts, key[0])
    ]

"""What each statement of the sink does, for the database in memory: by the text of the statement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lyo.storage import session
from lyo.storage.sink import (
    erasures,
    merges,
    offsets,
    outcomes,
    preferences,
    rows,
    sources,
    struggle_outcomes,
    writer,
)
from lyo.storage.sink.merges import Plan, delete_sql, merge_sql
from tests.support.simulation.database import Handler, Row, Session
from tests.support.simulation.erasure_statements import erasure_statements

_LOG = ("log_partition", "log_offset")
_OUTCOME = ("user", "content", "tenant", "kind", "at", "event", "seconds", "gave_up", *_LOG)
_SESSIONS = ("total_sessions", "avg_duration", "last_session")
_PLANS = (*merges.PLANS.values(), merges.INTERVENTIONS)


class _ByTable(dict[str, str]):
    """Texts by the plan of their table; the plan itself has no hash."""

    def __getitem__(self, plan: Any) -> str:
        return super().__getitem__(plan.table.name)


MERGE_SQL = _ByTable({plan.table.name: merge_sql(plan) for plan in _PLANS})
DELETE_SQL = _ByTable({plan.table.name: delete_sql(plan) for plan in _PLANS})


def _newer(old: Row | None, partition: int, offset: int) -> bool:
    return old is None or old["log_partition"] != partition or old["log_offset"] < offset


async def _queue(_tx: Session) -> list[Row]:
    return [{"pg_notification_queue_usage": 0.0}]


async def _notify(tx: Session, said: list[str]) -> None:
    tx.said += said


# ------------------------------------------------------------ offsets


async def _lock(tx: Session, space: int, numbers: Sequence[int]) -> None:
    for number in numbers:
        await tx.lock(f"advisory-{space}", number)


async def _claim(
    tx: Session, topics: list[str], partitions: list[int], firsts: list[int], ids: list[str | None]
) -> list[Row]:
    found = []
    for topic, partition, first, given in sorted(zip(topics, partitions, firsts, ids, strict=True)):
        key = (topic, partition)
        await tx.lock("sink_offsets", key)
        old = tx.get("sink_offsets", key) or {"next_offset": first, "epoch": 0, "topic_id": None}
        row = {**old, "topic": topic, "partition": partition, "epoch": old["epoch"] + 1}
        row["topic_id"] = old["topic_id"] or given
        await tx.put("sink_offsets", key, row)
        found.append(row)
    return found


async def _advance(
    tx: Session,
    topics: list[str],
    partitions: list[int],
    expected: list[int],
    nexts: list[int],
    epochs: list[int],
) -> list[Row]:
    moved = []
    for topic, partition, before, after, epoch in zip(
        topics, partitions, expected, nexts, epochs, strict=True
    ):
        key = (topic, partition)
        await tx.lock("sink_offsets", key)
        row = tx.get("sink_offsets", key)
        if row is not None and (row["next_offset"], row["epoch"]) == (before, epoch):
            await tx.put("sink_offsets", key, {**row, "next_offset": after})
            moved.append(row)
    return moved


async def _read(tx: Session, topics: list[str], partitions: list[int]) -> list[Row]:
    found = (tx.get("sink_offsets", key) for key in zip(topics, partitions, strict=True))
    return [row for row in found if row is not None]


async def _topics(tx: Session) -> list[Row]:
    return [{"topic": topic} for topic in sorted({topic for topic, _ in tx.rows("sink_offsets")})]


# ------------------------------------------------------------ predictions and interventions


def _merge(plan: Plan) -> Handler:
    name = plan.table.name

    async def merge(tx: Session, together: str, partitions: list[int], offsets_: list[int]) -> None:
        for record, partition, offset in zip(json.loads(together), partitions, offsets_, strict=True):
            tx.stored.add((name, partition, offset))
            for row in record["episodes"] if plan.episode else [{}]:
                key = tuple((record | row)[column] for column in plan.key)
                await tx.lock(name, key)
                old = tx.get(name, key)
                if _newer(old, partition, offset):
                    said = {
                        "record": record,
                        "episode": row,
                        "log_partition": partition,
                        "log_offset": offset,
                    }
                    await tx.put(name, key, {**(old or {}), **said})

    return merge


def _delete(plan: Plan) -> Handler:
    name = plan.table.name

    async def delete(
        tx: Session, users: list[int], subjects: list[str], parts: list[int], offsets_: list[int], _topic: str
    ) -> None:
        for user, subject, partition, offset in zip(users, subjects, parts, offsets_, strict=True):
            tx.stored.add((name, partition, offset))
            for key, row in tx.rows(name).items():
                same = key[0] == user and (not plan.subject or key[1] == subject)
                if same and _newer(row, partition, offset):
                    await tx.put(name, key, None)

    return delete


# ------------------------------------------------------------ rows and catalogue


def _upsert(name: str, columns: Sequence[str], key: Sequence[str]) -> Handler:
    async def upsert(tx: Session, *arrays: list[Any]) -> None:
        for values in zip(*arrays, strict=True):
            row = dict(zip(columns, values, strict=True))
            where = tuple(row[column] for column in key)
            tx.stored.add((name, row["log_partition"], row["log_offset"]))
            await tx.lock(name, where)
            if _newer(tx.get(name, where), row["log_partition"], row["log_offset"]):
                await tx.put(name, where, row)

    return upsert


def _remove(name: str) -> Handler:
    async def remove(tx: Session, *arrays: list[Any]) -> None:
        *keys, partitions, offsets_ = arrays
        for *where, partition, offset in zip(*keys, partitions, offsets_, strict=True):
            tx.stored.add((name, partition, offset))
            old = tx.get(name, tuple(where))
            if old is not None and _newer(old, partition, offset):
                await tx.put(name, tuple(where), None)

    return remove


def _forget(name: str) -> Handler:
    async def forget(tx: Session, keys: list[str]) -> None:
        for where in list(tx.rows(name)):
            if str(where[0]) in keys:
                await tx.put(name, where, None)

    return forget


async def _moved(tx: Session, users: list[int], tenants: list[int | None]) -> list[Row]:
    return [
        {"user_id": user}
        for user, tenant in zip(users, tenants, strict=True)
        if (tx.get("learner_rows", (user,)) or {}).get("organization_id") != tenant
    ]


async def _nothing(tx: Session, *_: Any) -> None:
    """Not simulated: the tenant of a skill's row, the outcome columns of episodes and questions."""


# ------------------------------------------------------------ outcomes and preferences


async def _facts(tx: Session, *arrays: list[Any]) -> None:
    for user, kind, subject, tenant, at, event, partition, offset in zip(*arrays, strict=True):
        tx.stored.add(("outcome_facts", partition, offset))
        key = (user, kind, subject, tenant)
        await tx.lock("outcome_facts", key)
        old = tx.get("outcome_facts", key) or {"times": [], "newest": (at, event)}
        times = sorted({*old["times"], at}, reverse=True)[: outcomes.KEPT_TIMES]
        await tx.put("outcome_facts", key, {"times": times, "newest": max(old["newest"], (at, event))})


async def _with_facts(tx: Session, users: list[int]) -> list[Row]:
    return [{"user_id": user} for user in sorted({key[0] for key in tx.rows("outcome_facts")} & set(users))]


async def _derive_returned(tx: Session, users: list[int]) -> None:
    for key, row in tx.rows("dropout_risk_scores").items():
        if key[0] in users:
            returned = returned_at(tx.rows("outcome_facts"), key[0])
            if row.get("returned_at") != returned:
                await tx.put("dropout_risk_scores", key, {**row, "returned_at": returned})


def returned_at(facts: dict[Any, Row], user: int) -> Any:
    """When a learner came back last, as the facts say."""
    times = [row["newest"][0] for key, row in facts.items() if key[:2] == (user, "returned")]
    return max(times, default=None)


async def _tenants(tx: Session, users: list[int]) -> list[Row]:
    found = [(user, tx.get("preferences", (user,))) for user in users]
    return [{"user_id": user, "organization_id": row["organization_id"]} for user, row in found if row]


async def _prefer(tx: Session, *arrays: list[Any]) -> None:
    for values in zip(*arrays, strict=True):
        said = dict(zip(preferences.COLUMNS, values, strict=True))
        tx.stored.add(("preferences", said["log_partition"], said["log_offset"]))
        key = (said["user_id"],)
        await tx.lock("preferences", key)
        row = dict(tx.get("preferences", key) or {"organization_id": None})
        row["organization_id"] = row["organization_id"] or said["organization_id"]
        for field, columns in preferences.FIELDS.items():
            stamp = (said[f"{field}_at"], said[f"{field}_event"])
            old = row.get(f"{field}_stamp")
            if stamp[0] is not None and (old is None or stamp > old):
                row |= {name: said[name] for name in columns} | {f"{field}_stamp": stamp}
        await tx.put("preferences", key, row)


def statements() -> dict[str, Handler]:
    """Every statement that the sink runs."""
    found: dict[str, Handler] = {}
    for plan in _PLANS:
        found[MERGE_SQL[plan]], found[DELETE_SQL[plan]] = _merge(plan), _delete(plan)
    found |= {
        offsets._CLAIM_SQL: _claim,
        offsets._ADVANCE_SQL: _advance,
        offsets._READ_SQL: _read,
        offsets._LOCK_SQL: _lock,
        sources.TOPICS_SQL: _topics,
        writer._NOTIFY_SQL: _notify,
        session.QUEUE_SQL: _queue,
        rows.LEARNERS_SQL: _upsert(
            "learner_rows", ("user_id", "organization_id", "row", *_LOG, *_SESSIONS), ("user_id",)
        ),
        rows.SKILLS_SQL: _upsert(
            "skill_rows", ("user_id", "skill_id", "row", *_LOG), ("user_id", "skill_id")
        ),
        rows.CONTENTS_SQL: _upsert(
            "contents", ("content_id", "organization_id", "document", *_LOG), ("content_id",)
        ),
        rows.ORGANIZATIONS_SQL: _upsert(
            "organizations", ("organization_id", "document", *_LOG), ("organization_id",)
        ),
        rows.DELETE_LEARNERS_SQL: _remove("learner_rows"),
        rows.DELETE_SKILLS_SQL: _remove("skill_rows"),
        rows.DELETE_CONTENTS_SQL: _forget("contents"),
        rows.DELETE_ORGANIZATIONS_SQL: _forget("organizations"),
        rows.MOVED_SQL: _moved,
        rows.SKILLS_TENANT_SQL: _nothing,
        outcomes.FACTS_SQL: _facts,
        outcomes.WITH_FACTS_SQL: _with_facts,
        struggle_outcomes.ADD_SQL: _upsert("content_outcomes", _OUTCOME, ("user", "content", "at", "event")),
        struggle_outcomes.DERIVE_SQL: _nothing,
        preferences.TENANTS_SQL: _tenants,
        preferences.WRITE_SQL: _prefer,
    }
    # Nothing is published through the outbox here.
    found |= erasure_statements(_PLANS) | {erasures._OUTBOX_SQL: _nothing}
    found |= dict.fromkeys(outcomes.DERIVE_SQL, _nothing)
    found[outcomes._DROPOUT_SQL] = _derive_returned
    return found

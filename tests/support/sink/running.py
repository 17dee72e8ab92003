"""Sinks that run in this process, and what is published for them."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg

from lyo.models.events.decode import Kind, partition
from lyo.storage.database import plain_url
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.sink.rows import TenantOf
from lyo.storage.sink.sink import Sink
from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.processes import Environment
from tests.support.sink.records import (
    at,
    contents,
    dropout,
    intervention,
    outcome,
    pair,
    plateau,
    regression,
    struggle,
    timing,
)

LONGEST = 60.0
MAKERS: dict[str, Callable[..., dict[str, Any]]] = {
    "dropout-risk": dropout,
    "timing": timing,
    "struggle": struggle,
    "plateaus": plateau,
    "regressions": regression,
    "interventions": intervention,
}


class Sent(NamedTuple):
    """A record to be published."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None


async def until(condition: Callable[[], Awaitable[bool]], task: asyncio.Task[None] | None = None) -> None:
    """Wait for a condition; a sink that ends before it holds fails the test with the sink's error."""
    end = time.monotonic() + LONGEST
    while not await condition():
        if task is not None and task.done():
            task.result()
            raise AssertionError("the sink ended")
        assert time.monotonic() < end, "the condition never came to hold"
        await asyncio.sleep(0.02)


def first_byte(row: bytes) -> int | None:
    """The organization in the rows of these tests, which no model has made."""
    return row[0] or None


@asynccontextmanager
async def running(settings: Settings, **more: Any) -> AsyncIterator[tuple[Sink, asyncio.Task[None]]]:
    """A sink at work; it is stopped afterwards, and its error is the test's."""
    sink = Sink(settings, **({"tenants": first_byte} | more))
    task = asyncio.create_task(sink.run())
    try:
        yield sink, task
    finally:
        sink.stop()
        await asyncio.wait([task], timeout=LONGEST)
    task.result()


async def all_stored(settings: Settings, task: asyncio.Task[None] | None = None) -> None:
    async def nothing_behind() -> bool:
        return await behind(settings) == 0

    await until(nothing_behind, task)


async def publish(settings: Settings, records: Iterable[Sent], at_once: int = 50) -> None:
    """Publish in transactions, as the worker does: each ends with a marker that is no record."""
    producer = clients.producer(settings, f"{settings.app_id}-test")
    await producer.start()
    waiting = list(records)
    try:
        while waiting:
            some, waiting = waiting[:at_once], waiting[at_once:]
            async with producer.transaction():
                for sent in some:
                    await producer.send(sent.topic, sent.value, sent.key, partition=sent.partition)
    finally:
        await producer.stop()


def sent(settings: Settings, kind: str, record: dict[str, Any], *, tombstone: bool = False) -> Sent:
    """A prediction as the worker would publish it."""
    key, value = pair(kind, record)
    number = partition(record["user_id"], settings.partitions)
    names = topics.names(settings)
    topic = names.interventions if kind == "interventions" else names.prediction(kind)
    return Sent(topic, number, key, None if tombstone else value)


def said(settings: Settings, kind: Kind, event: dict[str, Any]) -> Sent:
    """An event as the app would publish it."""
    user = event["user_id"]
    number = partition(user, settings.partitions)
    return Sent(topics.names(settings).topic(kind), number, str(user).encode(), json.dumps(event).encode())


def mixture(settings: Settings, count: int, users: int = 20, seed: int = 1) -> list[Sent]:
    """Predictions of every kind, tombstones, rows, outcomes and preferences of a few learners, many times."""
    chance = random.Random(seed)
    names = topics.names(settings)
    records = []
    for number in range(count):
        user = chance.randint(1, users)
        about = chance.choice("abc")
        home = partition(user, settings.partitions)
        match chance.randint(0, 9):
            case 0:
                record = dropout(user, risk_score=round(chance.random(), 2), as_of=at(number))
                records.append(sent(settings, "dropout-risk", record))
            case 1:
                records.append(sent(settings, "timing", timing(user, sessions_analyzed=number)))
                status = chance.choice(["active", "superseded", "retracted"])
                record = intervention(user, about, status=status, priority=chance.randint(1, 10))
                records.append(sent(settings, "interventions", record, tombstone=chance.random() < 0.2))
            case 2 | 3:
                record = struggle(user, about, requested_at=at(chance.randint(0, number)))
                records.append(sent(settings, "struggle", record, tombstone=chance.random() < 0.2))
            case 4:
                detected = sorted(chance.sample(range(0, 300, 30), chance.randint(0, 3)))
                record = plateau(user, about, tuple(detected))
                records.append(sent(settings, "plateaus", record, tombstone=chance.random() < 0.1))
            case 5:
                detected = sorted(chance.sample(range(0, 300, 30), chance.randint(0, 3)))
                record = regression(user, about, tuple(detected))
                records.append(sent(settings, "regressions", record, tombstone=chance.random() < 0.1))
            case 6:
                row = bytes([user % 3]) + b"%d" % number
                records.append(Sent(names.learner_rows, home, b"%d" % user, row))
                records.append(Sent(names.skill_rows, home, f"{user}|{about}".encode(), row))
            case 7 | 8:
                kinds = ["struggled", "not_struggled", "help_offered", "help_accepted", "help_declined"]
                kinds += ["strategy_executed", "returned", "intervention_taken", "reminder_sent", "reviewed"]
                event = outcome(user, chance.choice(kinds), chance.randint(0, 300))
                event |= {"content_id": about, "skill_id": about}
                records.append(said(settings, Kind.OUTCOME, event))
            case _:
                event = {"event_id": f"p{number}", "user_id": user, "updated_at": at(chance.randint(0, 50))}
                field, value = chance.choice(
                    [("timezone", "Asia/Tokyo"), ("timezone", None), ("language", "ja")]
                )
                records.append(said(settings, Kind.PREFERENCES, event | {field: value}))
    records += catalogue(settings, chance)
    return records


def catalogue(settings: Settings, chance: random.Random) -> list[Sent]:
    """A few contents and organizations, some of them removed again."""
    names = topics.names(settings)
    records = []
    for number in range(30):
        name = chance.choice("abcdef")
        value = json.dumps({"content_id": name, "title": str(number), "skills": [name]}).encode()
        records.append(
            Sent(names.topic(Kind.CONTENT), 0, name.encode(), value if chance.random() < 0.8 else None)
        )
        tenant = chance.randint(1, 5)
        value = json.dumps({"organization_id": tenant, "max_nudges_per_day": number}).encode()
        records.append(Sent(names.topic(Kind.ORGANIZATION), 0, b"%d" % tenant, value))
    return records


async def tables(database_url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every table's content, ids and log positions aside."""
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        return await contents(connection)
    finally:
        await connection.close()


async def fetch(database_url: str, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        return [tuple(row) for row in await connection.fetch(sql, *arguments)]
    finally:
        await connection.close()


async def rebuilt(
    settings: Settings, database_url: str, tenants: TenantOf = first_byte
) -> dict[str, list[tuple[object, ...]]]:
    """What a sink with a group of its own makes of the same topics in an empty database."""
    other = settings.model_copy(update={"database_url": database_url, "app_id": f"{settings.app_id}b"})
    async with running(other, batch_records=100_000, tenants=tenants) as (_, task):
        await all_stored(other, task)
    return await tables(database_url)


async def start(settings: Settings, environment: Environment, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lyo.cli.main", "sink", *arguments),
        env=environment(settings),
        stderr=asyncio.subprocess.PIPE,
    )


async def all_claimed(sink: Sink, task: asyncio.Task[None]) -> None:
    async def claimed() -> bool:
        return bool(sink.positions)

    await until(claimed, task)

"""Relays at work, what they are given and what arrives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from lyo.models.events.decode import Kind, partition
from lyo.storage.database import plain_url
from lyo.storage.outbox.relay import Relay
from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.sink.records import outcome
from tests.support.sink.running import fetch, until

Row = tuple[str, str, str, bytes]
NEVER = 100_000.0
INSERT = "INSERT INTO outbox (topic, key, partition_key, value) VALUES ($1, $2, $3, $4)"


def rows(settings: Settings, count: int, users: int = 7, first: int = 0) -> list[Row]:
    """Outcomes and erasures of a few learners."""
    names = topics.names(settings)
    found = []
    for number in range(first, first + count):
        user = number % users + 1
        topic = names.topic(Kind.ERASURE if number % 5 == 0 else Kind.OUTCOME)
        value = json.dumps(outcome(user, "returned", number)).encode()
        found.append((topic, str(user), str(user), value))
    return found


async def write(url: str, some: Iterable[Row]) -> None:
    connection = await asyncpg.connect(plain_url(url))
    try:
        await connection.executemany(INSERT, list(some))
    finally:
        await connection.close()


@asynccontextmanager
async def relaying(settings: Settings, **more: Any) -> AsyncIterator[Relay]:
    relay = Relay(settings, **more)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        relay.stop()
        await asyncio.wait([task], timeout=60)
    task.result()


async def none_left(settings: Settings) -> None:
    async def nothing() -> bool:
        return (
            await fetch(
                settings.database_url, "SELECT 1 FROM outbox WHERE sent_at IS NULL AND error IS NULL LIMIT 1"
            )
            == []
        )

    await until(nothing)


async def arrived(settings: Settings, *wanted: str) -> dict[tuple[str, int], list[tuple[str, bytes]]]:
    """Keys and values by topic-partition, in order."""
    names = topics.names(settings)
    wanted = wanted or (names.topic(Kind.ERASURE), names.topic(Kind.OUTCOME))
    partitions = await clients.partitions_of(settings, *wanted)
    reader = clients.consumer(settings)
    await reader.start()
    found: dict[tuple[str, int], list[tuple[str, bytes]]] = {}
    try:
        async for tp, records in clients.read_to_end(reader, partitions):
            found.setdefault(tuple(tp), []).extend((r.key.decode(), r.value) for r in records)
    finally:
        await reader.stop()
    return found


def expected(settings: Settings, some: Iterable[Row]) -> dict[tuple[str, int], list[tuple[str, bytes]]]:
    found: dict[tuple[str, int], list[tuple[str, bytes]]] = {}
    for topic, key, partition_key, value in some:
        place = (topic, partition(int(partition_key), settings.partitions))
        found.setdefault(place, []).append((key, value))
    return found

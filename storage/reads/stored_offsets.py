"""How far Postgres is behind the topics."""

from __future__ import annotations

from typing import Final

import asyncpg

from lyo.storage.database import plain_url
from lyo.storage.sink.merges import PLANS
from lyo.storage.sink.offsets import Place
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings

OFFSETS_SQL: Final = "SELECT topic, partition, next_offset FROM sink_offsets"


async def stored_offsets(database_url: str) -> dict[Place, int]:
    """The next offset that Postgres waits for, of each topic-partition that a sink has claimed."""
    connection = await asyncpg.connect(plain_url(database_url), timeout=10)
    try:
        rows = await connection.fetch(OFFSETS_SQL)
    finally:
        await connection.close(timeout=2)
    return {Place(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def behind(settings: Settings, *, predictions_only: bool = False) -> int:
    """How many offsets of the sink's topics are not in Postgres yet; 0: everything is stored.

    Offsets include transaction markers, so this is more than the number of records.

    Raises:
        aiokafka.errors.KafkaError: Kafka cannot be reached, or a topic does not exist.
        OSError, asyncpg.PostgresError: the same of Postgres.
    """
    names = topics.names(settings)
    wanted = (
        [names.prediction(kind) for kind in PLANS] if predictions_only else Writer(names, tenant_of).topics
    )
    partitions = await clients.partitions_of(settings, *wanted)
    reader = clients.consumer(settings)
    await reader.start()
    try:
        first = await reader.beginning_offsets(partitions)
        end = await reader.end_offsets(partitions)
    finally:
        await reader.stop()
    stored = await stored_offsets(settings.database_url)
    return sum(max(end[tp] - stored.get(Place(*tp), first[tp]), 0) for tp in partitions)

"""What stands on a topic."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from lyo.streams.kafka import clients
from lyo.streams.settings import Settings


async def records(settings: Settings, topic: str) -> list[ConsumerRecord]:
    """Every committed record of a topic, those of one partition in log order."""
    reader = clients.consumer(settings, fetch_max_wait_ms=100)
    await reader.start()
    try:
        partitions = await clients.partitions_of(settings, topic)
        return [record async for _, some in clients.read_to_end(reader, partitions) for record in some]
    finally:
        await clients.stop(reader)

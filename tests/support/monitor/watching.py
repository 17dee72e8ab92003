"""A monitor for tests, and waiting for what it shall see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from lyo.ops.monitor.monitor import SINK, WORKERS, Monitor
from lyo.ops.monitor.snapshot import GroupLag, PartitionLag, Snapshot
from lyo.streams.settings import Settings


@asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[Monitor]:
    monitor = Monitor(settings)
    try:
        yield monitor
    finally:
        await monitor.close()


def workers(snapshot: Snapshot) -> GroupLag:
    return next(group for group in snapshot.groups if group.role == WORKERS)


def sink(snapshot: Snapshot) -> GroupLag:
    return next(group for group in snapshot.groups if group.role == SINK)


def partition(group: GroupLag, topic: str, number: int) -> PartitionLag:
    return next(one for one in group.partitions if (one.topic, one.partition) == (topic, number))


async def seen(
    monitor: Monitor, condition: Callable[[Snapshot], bool], what: str, seconds: float = 60
) -> Snapshot:
    """Look until a look shows it."""
    end = time.monotonic() + seconds
    while True:
        snapshot = await monitor.look()
        if condition(snapshot):
            return snapshot
        shown = [(group.role, group.status.value, group.why, group.events) for group in snapshot.groups]
        assert time.monotonic() < end, f"not seen within {seconds} s: {what}; {shown} {snapshot.kafka}"
        await asyncio.sleep(0.2)

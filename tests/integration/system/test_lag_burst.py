"""A burst that drains is lagging: stalled is only who had time and did nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lyo.ops.monitor.snapshot import Status
from lyo.streams.settings import Settings
from tests.support.monitor.watching import watching, workers
from tests.support.processes import Environment, process
from tests.support.worker.running import events, publish, publisher

pytestmark = pytest.mark.integration

COUNT = 60_000
USERS = 3_000


async def test_a_burst_that_drains_is_never_stalled(
    ready: Settings, environment: Environment, tmp_path: Path
) -> None:
    """One worker takes four numbers in turn: the last waits far longer than the limit of a stall."""
    limits = {"monitor_stalled_seconds": 0.2, "monitor_lagging_seconds": 0.2, "batch_records": 4_000}
    settings = ready.model_copy(update=limits)
    seen: set[Status] = set()
    waited = 0
    async with publisher(settings) as producer:
        await publish(settings, producer, events(COUNT, users=USERS))
    async with process("worker", environment(settings), tmp_path / "worker"), watching(settings) as monitor:
        while True:
            group = workers(await monitor.look())
            # Until the worker has joined and opened its partitions nobody owns them, or they are restored.
            begun = any(partition.position for partition in group.partitions)
            if begun:
                seen |= {partition.status for partition in group.partitions}
                waited += any(partition.status is Status.LAGGING for partition in group.partitions)
            if begun and group.events == 0:
                break
            await asyncio.sleep(0.1)
    assert Status.STALLED not in seen
    assert waited, "nothing waited: this says nothing about a burst"

"""Partitions added to a topic under a running worker: it ends and says what happened."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiokafka.admin import NewPartitions
from aiokafka.errors import KafkaError

from lyo import agents
from lyo.models.events.decode import Kind
from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.runtime.worker import Worker, WorkerError
from lyo.streams.settings import Settings
from tests.support.worker.counting_worker import CountingEngine, EmptyCatalogue
from tests.support.worker.running import until

pytestmark = pytest.mark.integration


async def look_again(worker: Worker) -> None:
    """Let the group's consumer read the topics' metadata now, and not within five minutes."""
    assert worker._app is not None
    thread = worker._app.consumer._thread  # type: ignore[attr-defined]

    async def inside() -> None:
        await thread._ensure_consumer()._client.force_metadata_update()

    with contextlib.suppress(KafkaError):
        await thread.call_thread(inside)


async def test_partitions_added_under_a_worker_are_named_with_the_way_out(kafka_settings: Settings) -> None:
    worker = Worker(
        kafka_settings, catalogue=EmptyCatalogue(), engine=CountingEngine, register=agents.register
    )
    running = asyncio.create_task(worker.run())
    sessions = topics.names(kafka_settings).topic(Kind.SESSION)

    def is_open() -> bool:
        if running.done():
            running.result()
        opened = [task for task in worker.tasks.values() if task.is_open]
        return len(opened) == kafka_settings.partitions

    await until(is_open, 60, "every partition number is open")
    async with clients.admin(kafka_settings) as admin:
        await admin.create_partitions({sessions: NewPartitions(kafka_settings.partitions + 1)})

    async def ended() -> bool:
        if not running.done():
            await look_again(worker)
        return running.done()

    await until(ended, 60, "the worker has ended", pause=1.0)
    wanted = rf"^{sessions} got more partitions than LYO_PARTITIONS=4: .* copy the log to a new set of topics"
    with pytest.raises(WorkerError, match=wanted):
        await running

"""Kafka stopped and killed, for moments and for a minute, again and again, with events coming in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from lyo.storage.reads.stored_offsets import stored_offsets
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka
from tests.support.faults.deployment import deployed
from tests.support.learners.published import Paced, simulated
from tests.support.processes import wait_for
from tests.support.servers.outages import outage

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(0)]

RESUMES_SECONDS = 30.0
OUTAGES = [(5.0, False), (5.0, True), (60.0, False), (60.0, True), (5.0, True), (5.0, False)]


async def test_kafka_going_away_costs_nothing_and_work_resumes_by_itself(
    own_kafka: LocalKafka,
    database_url: str,
    environment: Callable[[Settings], dict[str, str]],
    tmp_path: Path,
) -> None:
    settings = Settings(
        bootstrap_servers=own_kafka.bootstrap_servers,
        database_url=database_url,
        partitions=4,
        session_timeout_ms=3_000,
        transaction_timeout_ms=6_000,
    )
    path = simulated(tmp_path / "events.jsonl", learners=200, days=60)
    async with deployed(settings, environment, tmp_path, supervised=True) as deployment:
        fleet = deployment.fleet
        for name in ("worker-1", "worker-2", "sink-1"):
            fleet.add(name)
        deployment.tell(path)
        # Events are still coming in when the last outage is over.
        paced = Paced(path, settings, sum(seconds for seconds, _ in OUTAGES) + 45 * len(OUTAGES))
        publishing = asyncio.create_task(paced.run())
        for seconds, violently in OUTAGES:
            await asyncio.sleep(8)
            await outage(own_kafka, seconds, violently=violently)
            back = time.monotonic()
            ends = await clients.persist(lambda: held(settings), RESUMES_SECONDS)
            workers, sink = await asyncio.gather(
                resumed(lambda: committed(settings), ends, back),
                resumed(lambda: stored_offsets(database_url), ends, back),
            )
            assert not publishing.done(), "nothing came in any more: the pause says nothing"
            print(
                f"\nKafka {'killed' if violently else 'stopped'} for {seconds:g} s: every partition number's "
                f"work resumed {workers:.1f} s after its return, its sink's {sink:.1f} s",
                end="",
            )
        events = await publishing
        report = await deployment.verdict()
        print(f"\n{events:,} events, started anew: {fleet.revived}\n{report}")
        assert report.clean, str(report)
        assert fleet.unexplained() == []
        await fleet.stop()


async def held(settings: Settings) -> dict[TopicPartition, int]:
    """Where the topics end that workers and sink read: nobody can have read further before."""
    wanted = {*topics.names(settings).inputs, *Writer(topics.names(settings), tenant_of).topics}
    return await clients.log_end_offsets(settings, await clients.partitions_of(settings, *wanted))


async def committed(settings: Settings) -> dict[TopicPartition, int]:
    """Where the workers' group stands in the inputs."""
    wanted = [
        TopicPartition(topic, number)
        for topic in topics.names(settings).inputs
        for number in range(settings.partitions)
    ]
    async with clients.admin(settings) as client:
        found = await clients.committed(client, settings.app_id, wanted)
    return {tp: entry.offset for tp, entry in found.items()}


async def resumed(
    standing: Callable[[], Awaitable[Mapping[Any, int]]], ends: Mapping[TopicPartition, int], since: float
) -> float:
    """Wait until of every partition number something is done that came after these ends; gives seconds."""

    async def every_number() -> bool:
        done = await clients.persist(standing, RESUMES_SECONDS)
        beyond = {place[1] for place, offset in done.items() if offset > ends[place]}
        return beyond == {tp.partition for tp in ends}

    await wait_for(every_number, "work goes on in every partition number", RESUMES_SECONDS)
    return time.monotonic() - since

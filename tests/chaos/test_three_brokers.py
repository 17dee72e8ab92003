"""Three brokers, replication 3 and two in sync: one of them killed, and work goes on within ten seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from lyo.models.events.decode import Kind
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.faults.deployment import deployed
from tests.support.learners.published import Paced, simulated
from tests.support.servers.cluster import addresses, three_brokers
from tests.support.servers.kinds import JARS
from tests.support.worker.running import read

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(0)]

LONGEST_PAUSE = 10.0
BETWEEN_SECONDS = 20.0


async def longest_pauses(settings: Settings) -> dict[int, float]:
    """The longest time (s) between two writes of rows, by partition number: the records carry their times."""
    times: dict[int, list[int]] = {}
    for record in await read(settings, topics.names(settings).learner_rows):
        times.setdefault(record.partition, []).append(record.timestamp)
    return {
        number: max((after - before) / 1000 for before, after in pairwise(sorted(found)))
        for number, found in times.items()
    }


async def test_one_of_three_brokers_killed_costs_nothing_and_no_long_pause(
    database_url: str, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    with three_brokers(tmp_path, JARS) as nodes:
        settings = Settings(
            bootstrap_servers=addresses(nodes),
            database_url=database_url,
            partitions=4,
            replication=3,
            session_timeout_ms=6_000,
        )
        path = simulated(tmp_path / "events.jsonl", learners=200, days=60)
        async with deployed(settings, environment, tmp_path, supervised=True) as deployment:
            fleet = deployment.fleet
            for name in ("worker-1", "worker-2", "sink-1"):
                fleet.add(name)
            deployment.tell(path)
            publishing = asyncio.create_task(Paced(path, settings, BETWEEN_SECONDS * 7).run())
            # One after another, so that each leader, each coordinator and the controller is killed once.
            for node in nodes:
                await asyncio.sleep(BETWEEN_SECONDS)
                await asyncio.to_thread(node.kill)
                await asyncio.sleep(BETWEEN_SECONDS)
                await asyncio.to_thread(node.start)
            events = await publishing
            report = await deployment.verdict()
            pauses = await longest_pauses(settings)
            print(f"\n{events:,} events; longest pause by partition (s): {pauses}\n{fleet.revived}\n{report}")
            assert report.clean, str(report)
            assert max(pauses.values()) < LONGEST_PAUSE
            await fleet.stop()


async def test_a_process_reads_from_the_replicas_of_its_rack(tmp_path: Path) -> None:
    with three_brokers(tmp_path, JARS) as nodes:
        settings = Settings(bootstrap_servers=addresses(nodes), partitions=3, replication=3, client_rack="2")
        await topic_admin.ensure(settings)
        topic = topics.names(settings).topic(Kind.SESSION)
        sending = clients.producer(settings)
        await sending.start()
        for number in range(3):
            await sending.send_and_wait(topic, b"{}", partition=number)
        await sending.stop()
        reading = clients.consumer(settings, topic)
        await reading.start()
        try:
            seen = [await reading.getone() for _ in range(3)]
            assert {record.partition for record in seen} == {0, 1, 2}
            near = reading._fetcher._preferred_read_replica
            led = {
                number: reading._client.cluster.leader_for_partition(TopicPartition(topic, number))
                for number in range(3)
            }
            assert set(led.values()) == {1, 2, 3}
            assert {pair.partition: node for pair, (node, _) in near.items()} == {
                number: 2 for number, leader in led.items() if leader != 2
            }
        finally:
            await clients.stop(reading)

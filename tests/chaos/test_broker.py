"""Kafka stopped and killed, for moments and for a minute, again and again, with events coming in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.stack import LocalKafka
from streams.settings import Settings
from tests.integration.worker_running import committed
from tests.support.deployment import deployed
from tests.support.outages import outage
from tests.support.processes import wait_for
from tests.support.published import Paced, simulated

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
            before = await committed(settings)
            await outage(own_kafka, seconds, violently=violently)
            back = time.monotonic()

            async def resumed(before: int = before) -> bool:
                return await committed(settings) > before

            await wait_for(resumed, "more events are committed", RESUMES_SECONDS)
            assert not publishing.done(), "nothing came in any more: the pause says nothing"
            print(
                f"\nKafka {'killed' if violently else 'stopped'} for {seconds:g} s: "
                f"work resumed {time.monotonic() - back:.1f} s after its return",
                end="",
            )
        events = await publishing
        report = await deployment.verdict()
        print(f"\n{events:,} events, started anew: {fleet.revived}\n{report}")
        assert report.clean, str(report)
        await fleet.stop()

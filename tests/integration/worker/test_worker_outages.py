"""Outages: a broker killed and started again, a worker frozen and woken, Kafka gone for good."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from lyo.streams import topic_admin
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka
from tests.support.processes import Environment
from tests.support.worker.running import (
    WorkerProcess,
    all_done,
    committed,
    counted,
    events,
    expected,
    publish,
    publisher,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SMALL = {"LYO_BATCH_RECORDS": "200", "LYO_POLL_RECORDS": "200"}


async def test_a_worker_frozen_past_its_session_cannot_write_when_it_wakes(
    kafka_settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    variables = environment(kafka_settings) | SMALL | {"LYO_SESSION_TIMEOUT_MS": "2000"}
    made = events(40_000, users=1_000)
    await topic_admin.ensure(kafka_settings)
    async with (
        publisher(kafka_settings) as producer,
        WorkerProcess(variables, tmp_path / "frozen.log") as frozen,
    ):
        await publish(kafka_settings, producer, made[:20_000])

        async def begun() -> bool:
            return await committed(kafka_settings) > 1_000

        await until(begun, 60, "the first worker is at work")
        frozen.process.send_signal(signal.SIGSTOP)
        before = await committed(kafka_settings)
        async with WorkerProcess(variables, tmp_path / "successor.log") as successor:
            await publish(kafka_settings, producer, made[20_000:30_000])

            async def taken_over() -> bool:
                return await committed(kafka_settings) >= max(30_000, before)

            await until(taken_over, 90, "the successor has done everything")
            frozen.process.send_signal(signal.SIGCONT)
            await publish(kafka_settings, producer, made[30_000:])
            await all_done(kafka_settings, len(made))
            # Both go on as members of the group, each with its own numbers.
            await frozen.says("assigned", times=2)
            await publish(kafka_settings, producer, events(2_000, users=1_000, first=100_000))
            await all_done(kafka_settings, len(made) + 2_000)
            assert await successor.stop() == 0, successor.log.read_text()[-3000:]
        assert await frozen.stop() == 0, frozen.log.read_text()[-3000:]
    wanted = expected(made + events(2_000, users=1_000, first=100_000))
    assert await counted(kafka_settings) == wanted


async def test_a_broker_killed_and_started_again_costs_no_event_and_repeats_none(
    own_kafka: LocalKafka, environment: Environment, tmp_path: Path
) -> None:
    settings = Settings(bootstrap_servers=own_kafka.bootstrap_servers, partitions=2)
    variables = environment(settings) | SMALL
    made = events(30_000, users=1_000)
    await topic_admin.ensure(settings)
    async with WorkerProcess(variables, tmp_path / "log") as worker:
        async with publisher(settings) as producer:
            await publish(settings, producer, made)

        async def begun() -> bool:
            return await committed(settings) > 1_000

        await until(begun, 60, "the worker is at work")
        assert await committed(settings) < len(made)
        await asyncio.to_thread(own_kafka.kill)
        await asyncio.to_thread(own_kafka.start)
        await all_done(settings, len(made))
        assert await worker.stop() == 0, worker.log.read_text()[-3000:]
    assert await counted(settings) == expected(made)


async def test_a_worker_whose_kafka_stays_away_ends_with_a_line(
    own_kafka: LocalKafka, environment: Environment, tmp_path: Path
) -> None:
    settings = Settings(bootstrap_servers=own_kafka.bootstrap_servers, partitions=2, stalled_seconds=5)
    await topic_admin.ensure(settings)
    variables = environment(settings) | {"LYO_REQUEST_TIMEOUT_MS": "1000"}
    async with WorkerProcess(variables, tmp_path / "log") as worker:
        await worker.says("task=", times=2)
        await asyncio.to_thread(own_kafka.kill)
        assert await worker.ended(60) == 1
        assert "nothing was done for 5 s" in worker.log.read_text().strip().splitlines()[-1]

"""No acknowledged event is lost and none is counted twice, whatever is killed and whenever.

The worker here counts without knowing event ids, which would hide a repetition by the worker itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lyo.streams import topic_admin
from lyo.streams.failpoints import TASK_FAILPOINTS
from lyo.streams.settings import Settings
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


@pytest.fixture
def quick(kafka_settings: Settings) -> Settings:
    """Settings under which a killed worker's partitions move within seconds."""
    return kafka_settings.model_copy(update={"session_timeout_ms": 2_000, "transaction_timeout_ms": 6_000})


def environment_of(environment: Environment, settings: Settings) -> dict[str, str]:
    return environment(settings) | {
        "LYO_SESSION_TIMEOUT_MS": str(settings.session_timeout_ms),
        "LYO_TRANSACTION_TIMEOUT_MS": str(settings.transaction_timeout_ms),
        "LYO_BATCH_RECORDS": "500",
        "LYO_POLL_RECORDS": "500",
    }


async def test_two_workers_one_joining_halfway_and_one_killed_count_every_event_once(
    quick: Settings, environment: Environment, tmp_path: Path
) -> None:
    variables = environment_of(environment, quick)
    made = events(120_000, users=5_000)
    await topic_admin.ensure(quick)
    async with (
        publisher(quick) as producer,
        WorkerProcess(variables, tmp_path / "first.log") as first,
    ):
        await publish(quick, producer, made[:40_000])
        await first.says("task=", times=quick.partitions)

        async def begun() -> bool:
            return await committed(quick) > 5_000

        await until(begun, 60, "the first worker has committed some events")
        async with WorkerProcess(variables, tmp_path / "second.log") as second:
            await publish(quick, producer, made[40_000:80_000])
            await second.says("task=")
            await publish(quick, producer, made[80_000:])
            assert await committed(quick) < len(made), "everything was done before the kill: publish more"
            first.kill()
            await all_done(quick, len(made))
            assert await second.stop() == 0
    found = await counted(quick)
    wanted = expected(made)
    assert sum(found.values()) == len(made)
    assert found == wanted


async def test_a_worker_that_dies_at_any_named_step_loses_nothing_and_repeats_nothing(
    quick: Settings, environment: Environment, tmp_path: Path
) -> None:
    variables = environment_of(environment, quick)
    await topic_admin.ensure(quick)
    made = events(300 * (len(TASK_FAILPOINTS) + 1), users=200)
    async with publisher(quick) as producer:
        for number, step in enumerate(TASK_FAILPOINTS):
            await publish(quick, producer, made[number * 300 : (number + 1) * 300])
            async with WorkerProcess(variables, tmp_path / f"{step}.log", LYO_CRASH_AT=f"{step}:2") as worker:
                assert await worker.ended() == 137, worker.log.read_text()[-3000:]
        await publish(quick, producer, made[len(TASK_FAILPOINTS) * 300 :])
        async with WorkerProcess(variables, tmp_path / "last.log") as worker:
            await all_done(quick, len(made))
            assert await worker.stop() == 0
    assert await counted(quick) == expected(made)

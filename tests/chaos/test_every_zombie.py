"""Zombies: a process frozen past its session while another takes over, then woken."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyo.streams.settings import Settings
from tests.support.faults.deployment import QUICK, deployed
from tests.support.faults.zombies import frozen, processed, rows, woken
from tests.support.learners.published import parts, simulated
from tests.support.processes import Environment
from tests.support.sink.running import tables

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow]


@pytest.mark.parametrize(
    "step", ["updated", "begun", "outputs_sent", "rows_sent", "offsets_sent", "committed"]
)
async def test_a_worker_frozen_in_its_transaction_writes_nothing_when_it_wakes(
    step: str, settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    files = parts(simulated(tmp_path / "events.jsonl", learners=30, days=40), 3)
    async with deployed(settings.model_copy(update=QUICK), environment, tmp_path) as deployment:
        fleet = deployment.fleet
        fleet.add("sink-1")
        await deployment.give(files[0])
        zombie = fleet.add("worker-1", LYO_CRASH_AT=f"{step}:3:stop")
        await frozen(zombie, step)
        successor = fleet.add("worker-2")
        await deployment.give(files[1])
        await processed(deployment)
        assert zombie.stopped
        before = await rows(deployment)
        await woken(zombie)
        assert await rows(deployment) == before, "the zombie has written"
        await deployment.give(files[2])
        report = await deployment.verdict()
        assert report.clean, str(report)
        assert successor.alive, successor.tail()
        await fleet.stop()


@pytest.mark.parametrize("step", ["sink_begun", "sink_rows", "sink_notified", "sink_committed"])
async def test_a_sink_frozen_in_its_transaction_writes_nothing_when_it_wakes(
    step: str, settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    files = parts(simulated(tmp_path / "events.jsonl", learners=30, days=40), 3)
    async with deployed(settings.model_copy(update=QUICK), environment, tmp_path) as deployment:
        fleet = deployment.fleet
        fleet.add("worker-1")
        await deployment.give(files[0])
        zombie = fleet.add("sink-1", LYO_CRASH_AT=f"{step}:2:stop")
        await frozen(zombie, step)
        successor = fleet.add("sink-2")
        await deployment.give(files[1])
        # The successor gets on although the frozen one held locks.
        await deployment.quiet()
        assert zombie.stopped
        before = await tables(settings.database_url)
        await woken(zombie)
        assert await tables(settings.database_url) == before, "the zombie has written"
        await deployment.give(files[2])
        report = await deployment.verdict()
        assert report.clean, str(report)
        assert successor.alive, successor.tail()
        await fleet.stop()

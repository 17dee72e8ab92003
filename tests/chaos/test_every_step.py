"""Every named step of worker, sink and relay: the process dies there, and nothing differs afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lyo.streams.failpoints import RELAY_FAILPOINTS, SINK_FAILPOINTS, TASK_FAILPOINTS
from lyo.streams.settings import Settings
from tests.support.faults.deployment import QUICK, deployed
from tests.support.learners.published import outcomes_aside, parts, simulated

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(0)]

KILLED = 137
CELLS = [("worker-1", step) for step in TASK_FAILPOINTS]
CELLS += [("sink-1", step) for step in (*SINK_FAILPOINTS, *RELAY_FAILPOINTS)]


@pytest.mark.parametrize("fresh", [False, True], ids=["same host", "fresh disk"])
async def test_a_process_that_dies_at_a_step_and_comes_back(
    *, fresh: bool, settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    files = parts(simulated(tmp_path / "events.jsonl", learners=60, days=40, seed=12), len(CELLS))
    async with deployed(settings.model_copy(update=QUICK), environment, tmp_path) as deployment:
        fleet = deployment.fleet
        fleet.add("worker-1")
        fleet.add("sink-1")
        for file, (name, step) in zip(files, CELLS, strict=True):
            member = fleet.members[name]
            member.kill()
            rest, outcomes = outcomes_aside(file)
            deployment.tell(file)
            await deployment.publish(rest)
            assert await deployment.to_outbox(outcomes) > 0
            times = 2 if name == "worker-1" else 1
            member.start(fresh=fresh, LYO_CRASH_AT=f"{step}:{times}")
            assert await member.ended() == KILLED, member.tail()
            member.start(fresh=fresh)
            report = await deployment.verdict()
            print(f"\n{name} died at {step}: {'no difference' if report.clean else report}", end="")
            assert report.clean, f"{name} at {step}: {report}"
            assert member.left_behind() == []
        await fleet.stop()

"""Workers and sinks that die at each of their named steps: nothing is lost, nothing is counted twice.

One after another on the same topics and tables, compared once; `make faults` compares after each step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import pytest

from lyo.streams.failpoints import RELAY_FAILPOINTS, SINK_FAILPOINTS, TASK_FAILPOINTS
from lyo.streams.settings import Settings
from tests.support.faults.deployment import QUICK, deployed
from tests.support.faults.fleet import Member
from tests.support.learners.published import outcomes_aside, parts, simulated

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow]

KILLED = 137


async def dies(member: Member) -> None:
    code = await member.ended()
    assert code == KILLED, f"{member.name} ended with {code}:\n{member.tail()}"


async def test_processes_that_die_at_every_step_lose_nothing_and_repeat_nothing(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    cells = list(zip_longest(TASK_FAILPOINTS, (*SINK_FAILPOINTS, *RELAY_FAILPOINTS)))
    files = parts(simulated(tmp_path / "events.jsonl", learners=30, days=40), len(cells))
    async with deployed(settings.model_copy(update=QUICK), environment, tmp_path) as deployment:
        worker, sink = deployment.fleet.add("worker-1"), deployment.fleet.add("sink-1")
        for number, (file, (task_step, sink_step)) in enumerate(zip(files, cells, strict=True)):
            rest, outcomes = outcomes_aside(file)
            worker.kill()
            sink.kill()
            deployment.tell(file)
            await deployment.publish(rest)
            assert await deployment.to_outbox(outcomes) > 0
            fresh = number % 2 == 1
            worker.start(fresh=fresh, LYO_CRASH_AT=f"{task_step}:2")
            sink.start(fresh=fresh, **({"LYO_CRASH_AT": sink_step} if sink_step else {}))
            await asyncio.gather(dies(worker), *([dies(sink)] if sink_step else []))
        worker.start()
        if not sink.alive:
            sink.start()
        report = await deployment.verdict()
        assert report.clean, str(report)
        assert (worker.left_behind(), sink.left_behind()) == ([], [])
        await deployment.fleet.stop()

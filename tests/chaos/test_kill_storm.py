"""Kill storm: three workers and two sinks, killed and started again at random, a worker coming and going."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from lyo.streams.settings import Settings
from tests.support.faults.deployment import deployed
from tests.support.faults.storm import Storm, come_and_go, kill_one
from tests.support.learners.published import Paced, simulated

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(0)]

LEARNERS, DAYS = 2_200, 60  # some 560,000 events of all types
LEAST_EVENTS, LEAST_KILLS = 500_000, 40
MOVE_SECONDS = 15.0
# What drains, folds and compares needs of the time allowed.
AFTERWARDS = 0.45


async def test_a_storm_of_kills_loses_nothing_and_repeats_nothing(
    own_settings: Settings,
    environment: Callable[[Settings], dict[str, str]],
    tmp_path: Path,
    minutes: float,
    seed: int,
) -> None:
    began = time.monotonic()
    path = simulated(tmp_path / "events.jsonl", LEARNERS, DAYS, seed=seed)
    settings = own_settings.model_copy(update={"partitions": 6})
    async with deployed(settings, environment, tmp_path, supervised=True) as deployment:
        fleet = deployment.fleet
        for name in ("worker-1", "worker-2", "worker-3", "sink-1", "sink-2"):
            fleet.add(name)
        deployment.tell(path)
        seconds = minutes * 60 * (1 - AFTERWARDS)
        paced = Paced(path, settings, seconds)
        assert paced.total >= LEAST_EVENTS
        pause = seconds / (LEAST_KILLS * 1.4)
        storm = Storm(
            fleet, seed, (0.5 * pause, 1.5 * pause), {"kill": kill_one(fleet, "worker", "worker", "sink")}
        )
        moves: list[str] = []
        moving = asyncio.create_task(come_and_go(fleet, "worker-4", MOVE_SECONDS, moves))
        publishing, stormy = asyncio.create_task(paced.run()), time.monotonic()
        await storm.run(lambda: publishing.done() and storm.counts["kill"] >= LEAST_KILLS)
        stormy = time.monotonic() - stormy
        moving.cancel()
        with suppress(asyncio.CancelledError):
            await moving
        events = await publishing
        drained = await deployment.quiet(minutes * 60)
        report = await deployment.verdict()
        stopped = await fleet.stop()
        print(
            f"{events:,} events in {seconds:.0f} s, {storm.counts['kill']} kills -9, "
            f"worker-4 {len(moves)} times in or out, {len(fleet.revived)} starts anew; "
            f"drained {drained:.1f} s after the last kill; SIGTERM at most {max(stopped.values()):.1f} s; "
            f"{time.monotonic() - began:.0f} s in all\n{report}"
        )
        assert report.clean, str(report)
        assert events >= LEAST_EVENTS
        assert storm.counts["kill"] >= LEAST_KILLS
        assert len(moves) >= stormy / MOVE_SECONDS * 0.75
        ended = [line for line in fleet.revived if "(-9)" not in line]
        assert ended == [], "processes ended that nobody killed"

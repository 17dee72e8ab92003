"""Postgres down, slow, resetting connections: the sink's lag grows and drains, the workers do not notice."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lyo.storage.reads.stored_offsets import behind
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalPostgres
from lyo.tools.stack.processes import LOOPBACK
from tests.support.faults.deployment import QUICK, Deployment, deployed
from tests.support.learners.published import parts, simulated
from tests.support.processes import Environment, lag, wait_for
from tests.support.servers.outages import outage
from tests.support.servers.proxy import Proxy, proxied

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(0)]

# What a sink may grow by while it waits: its fetch buffers, not what it could not store (4 KB a record).
MOST_GROWTH = 20_000_000
LONG = float(os.environ.get("POSTGRES_AWAY_SECONDS") or 300)


@asynccontextmanager
async def away_from(
    settings: Settings, postgres: LocalPostgres, environment: Environment, folder: Path
) -> AsyncIterator[tuple[Deployment, Proxy]]:
    """A worker, and a sink that reaches Postgres only through a proxy."""
    settings = settings.model_copy(update={**QUICK, "database_url": postgres.database_url})
    async with proxied(LOOPBACK, postgres.port) as proxy:
        through = {"LYO_DATABASE_URL": f"postgresql://postgres@{LOOPBACK}:{proxy.port}/lyo"}
        async with deployed(settings, environment, folder, supervised=True, through=through) as deployment:
            deployment.fleet.add("worker-1")
            deployment.fleet.add("sink-1")
            yield deployment, proxy


async def all_folded(deployment: Deployment) -> None:
    """Wait until the workers have processed everything, whatever the sink does."""

    async def nothing() -> bool:
        return await lag(deployment.settings) == 0

    await wait_for(nothing, "the workers have processed everything", 120)


@pytest.mark.parametrize(("seconds", "learners"), [(10.0, 20), (LONG, 200)])
async def test_postgres_away_means_lag_that_drains(
    seconds: float,
    learners: int,
    kafka_settings: Settings,
    own_postgres: LocalPostgres,
    environment: Environment,
    tmp_path: Path,
) -> None:
    files = parts(simulated(tmp_path / "events.jsonl", learners=learners, days=60), 2)
    async with away_from(kafka_settings, own_postgres, environment, tmp_path) as (deployment, proxy):
        await deployment.give(files[0])
        await deployment.quiet()
        sink = deployment.fleet.members["sink-1"]
        before = sink.memory()
        away = asyncio.create_task(outage(own_postgres, seconds, violently=True))
        await deployment.give(files[1])
        await all_folded(deployment)
        assert not away.done(), "Postgres was back before the workers were done"
        # Until it is seen how far behind the sink is.
        proxy.refusing = True
        most = 0
        while not away.done():
            most = max(most, sink.memory())
            await asyncio.sleep(0.5)
        await away
        waiting = await behind(deployment.settings)
        proxy.refusing = False
        drained = await deployment.quiet()
        report = await deployment.verdict()
        print(
            f"\nPostgres away for {seconds:g} s: {waiting:,} records behind at its return, drained in "
            f"{drained:.1f} s; the sink grew by {(most - before) / 1e6:.0f} MB\n{report}"
        )
        assert report.clean, str(report)
        assert waiting > 0, "the sink was not behind"
        assert most - before < MOST_GROWTH
        assert deployment.fleet.revived == []
        await deployment.fleet.stop()


async def test_postgres_slow_and_resetting_connections(
    kafka_settings: Settings, own_postgres: LocalPostgres, environment: Environment, tmp_path: Path
) -> None:
    files = parts(simulated(tmp_path / "events.jsonl", learners=200, days=60), 3)
    async with away_from(kafka_settings, own_postgres, environment, tmp_path) as (deployment, proxy):
        await deployment.give(files[0])
        await deployment.quiet()
        proxy.delay = 0.5
        began = time.monotonic()
        await deployment.give(files[1])
        await all_folded(deployment)
        folded = time.monotonic() - began
        behind_then = await behind(deployment.settings)
        proxy.delay = 0.0
        drained = await deployment.quiet()
        await deployment.give(files[2])
        broken = 0
        for _ in range(40):
            broken += proxy.reset()
            await asyncio.sleep(0.1)
        report = await deployment.verdict()
        print(
            f"\nPostgres 0.5 s slower: all folded after {folded:.1f} s, {behind_then:,} records behind then, "
            f"drained in {drained:.1f} s; then {broken} connections broken\n{report}"
        )
        assert report.clean, str(report)
        assert behind_then > 0, "the sink was not behind"
        assert broken > 0
        assert deployment.fleet.revived == []
        await deployment.fleet.stop()


@pytest.mark.parametrize("how", ["down", "slow", "swallowed"])
async def test_every_process_ends_in_time_while_postgres_is_away(
    how: str, kafka_settings: Settings, own_postgres: LocalPostgres, environment: Environment, tmp_path: Path
) -> None:
    files = parts(simulated(tmp_path / "events.jsonl", learners=60, days=60), 2)
    async with away_from(kafka_settings, own_postgres, environment, tmp_path) as (deployment, proxy):
        await deployment.give(files[0])
        await deployment.quiet()
        if how == "down":
            await asyncio.to_thread(own_postgres.kill)
        elif how == "slow":
            proxy.delay = 5.0
        else:
            proxy.swallow()
        await deployment.give(files[1])
        await all_folded(deployment)
        print(f"\nPostgres {how}: SIGTERM took {await deployment.fleet.stop()}")

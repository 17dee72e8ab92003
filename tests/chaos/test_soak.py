"""Soak: an hour of events with a fault every minute; memory does not grow, and nothing differs in the end.

Its learners and what they are asked about are known before the hour begins, as to a worker that has been at
work for a while: so what grows in it is not what is kept of them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka, LocalPostgres
from lyo.tools.stack.processes import LOOPBACK
from tests.support.faults.deployment import deployed
from tests.support.faults.fleet import Fleet
from tests.support.faults.refusals import refuse_writes
from tests.support.faults.storm import Fault, Memory, Storm, freeze_one, kill_one
from tests.support.learners.published import Paced, parts, simulated
from tests.support.servers.outages import away, resetting, slow
from tests.support.servers.proxy import Proxy, proxied

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(0)]

KEPT = ("worker-1", "sink-1")
"""They are never killed: only of a process that lives can be said whether it grows."""
MEMBERS = (*KEPT, "worker-2", "sink-2")
WARM_UP = 1 / 3
SAMPLE_SECONDS = 5.0
LONG_ENOUGH = 1_200.0
JUDGED_FROM = 40 * 60.0
LEAST_FAULTS = 0.8  # a minute
# A straight line through a sawtooth of a few MB is never quite level; twenty minutes of growth would show.
MOST_MB_AN_HOUR = 40.0


async def test_an_hour_with_a_fault_every_minute(
    own_kafka: LocalKafka,
    own_postgres: LocalPostgres,
    own_settings: Settings,
    environment: Callable[[Settings], dict[str, str]],
    tmp_path: Path,
    seed: int,
) -> None:
    seconds = float(os.environ.get("SOAK_MINUTES") or 60) * 60
    # Of an hour a fault a minute; of a shorter run as many, closer together.
    path = simulated(tmp_path / "events.jsonl", learners=1_500, days=120, seed=seed)
    before, during = parts(path, 2)
    settings = own_settings.model_copy(update={"partitions": 4})
    async with proxied(LOOPBACK, own_postgres.port) as proxy:
        through = {"LYO_DATABASE_URL": f"postgresql://postgres@{LOOPBACK}:{proxy.port}/lyo"}
        async with deployed(settings, environment, tmp_path, supervised=True, through=through) as deployment:
            fleet = deployment.fleet
            for name in MEMBERS:
                fleet.add(name)
            deployment.tell(path)
            known = await deployment.publish(before)
            await deployment.quiet(600)
            # What the backlog took lies free in them now, and would hide what grows.
            await fleet.stop()
            for name in MEMBERS:
                fleet.add(name)
            paced = Paced(during, settings, seconds)
            faults = every_fault(fleet, own_kafka, own_postgres, proxy)
            storm = Storm(fleet, seed, (seconds / 72, seconds / 60), faults)
            memory = Memory(fleet, KEPT, WARM_UP)
            began = time.monotonic()
            async with watched(memory):
                await storm.run(asyncio.create_task(paced.run()).done)
            drained = await deployment.quiet()
            report = await deployment.verdict()
            lasted = time.monotonic() - began
            stopped = await fleet.stop()
            print(
                f"{known:,} events before, {paced.done:,} in {seconds:.0f} s; {storm.counts.total()} faults: "
                f"{', '.join(f'{count} {name}' for name, count in sorted(storm.counts.items()))}; "
                f"drained {drained:.1f} s after the last; SIGTERM at most {max(stopped.values()):.1f} s; "
                f"{lasted:.0f} s"
            )
            for name in KEPT:
                print(memory.said(name))
            print("\n".join(["ended by themselves:", *fleet.revived, f"{report}"]))
            assert report.clean, str(report)
            assert storm.counts.total() >= seconds / 60 * LEAST_FAULTS
            assert fleet.unexplained() == []
            judge(memory, seconds)


@asynccontextmanager
async def watched(memory: Memory) -> AsyncIterator[None]:
    """Take samples until the block ends."""
    watching = asyncio.create_task(memory.watch(SAMPLE_SECONDS))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def every_fault(fleet: Fleet, kafka: LocalKafka, postgres: LocalPostgres, proxy: Proxy) -> dict[str, Fault]:
    """Whatever may happen within the hour, by name."""
    return {
        "worker killed": kill_one(fleet, "worker", spare=KEPT),
        "sink killed": kill_one(fleet, "sink", spare=KEPT),
        "worker frozen past its session": freeze_one(fleet, "worker", 4.0, spare=KEPT),
        "Kafka stopped": away(kafka, 5.0, violently=False),
        "Kafka killed": away(kafka, 5.0, violently=True),
        "Postgres stopped": away(postgres, 10.0, violently=False),
        "Postgres killed": away(postgres, 10.0, violently=True),
        "Postgres slow": slow(proxy, 0.2, 20.0),
        "Postgres refuses to write": refuse_writes(postgres.database_url, 10.0),
        "Postgres resets connections": resetting(proxy, 5, 2.0),
    }


def judge(memory: Memory, seconds: float) -> None:
    """No member that was kept grows; of a short run the slope says how it fills its buffers, not a leak."""
    for name in KEPT:
        if memory.seconds(name) >= LONG_ENOUGH:
            assert memory.slope(name) < MOST_MB_AN_HOUR
        else:
            said = f"{name}: its growth is not judged, its samples span less than {LONG_ENOUGH:.0f} s"
            assert seconds < JUDGED_FROM, said
            print(said)

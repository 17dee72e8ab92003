"""What trying again does not mend: a process that gets nothing done ends, and is started anew."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from lyo.streams.producers.transactional_producer import TransactionalProducer
from lyo.streams.runtime.global_topics import CatalogueFollower
from lyo.streams.runtime.task import Task
from tests.support.simulation import oracle, runs
from tests.support.simulation.world import Failed, World


def quiet_world(seed: int) -> World:
    """A world in which nothing goes wrong by itself."""
    plan = runs.plan_of(seed, real_engine=False)
    plan.kinds, plan.stops, plan.disasters = (), [], 0
    return World(plan)


def ended_by_themselves(world: World) -> list[str]:
    return [line.split()[2].rstrip(":") for line in world.trace if "nothing was done" in line]


def test_a_worker_whose_every_transaction_is_refused_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Counter[Task] = Counter()
    open_task = Task._open

    async def counted(self: Task) -> None:
        opened[self] += 1
        await open_task(self)

    async def refused(*_: Any) -> None:
        raise TopicAuthorizationFailedError("lyo.predictions.timing")

    monkeypatch.setattr(Task, "_open", counted)
    monkeypatch.setattr(TransactionalProducer, "transact", refused)
    world = quiet_world(4)
    with pytest.raises(Failed, match="nothing was done for 25 s"):
        world.run()
    # The world ends with the first of them.
    assert ended_by_themselves(world)[0] in {"worker-1", "worker-2"}
    assert max(opened.values()) < 20, "it rests between its attempts"


@pytest.mark.parametrize("seed", [2, 3])
def test_a_reader_that_is_stuck_in_every_process_is_got_rid_of(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    async def stuck(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(CatalogueFollower, "_follow", stuck)
    world = quiet_world(seed)
    world.run()
    oracle.check(world)
    assert {name.partition("-")[0] for name in ended_by_themselves(world)} == {"worker", "sink"}

"""Learners about whom the specification's code asks, and the moment at which it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.arrays.zones import DAY, HOUR
from lyo.predictive import predictors
from tests.support.contract.specification_python import (
    NOW,
)
from tests.support.contract.specification_world import FADING, LOST, STEADY, STUCK
from tests.support.learners.building import START, completion, iso, session
from tests.support.learners.stored_learners import World, world_in


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LYO_CLOCK", iso(NOW))
    predictors._clock.cache_clear()
    yield
    predictors._clock.cache_clear()


@pytest.fixture
async def world(database_url: str, clock: None) -> AsyncIterator[World]:
    evening = 19 * HOUR
    async with world_in(database_url) as made:
        busy = [*range(24), 26, 29, 33]
        await made.feed(
            [
                *(session(LOST, START + day * DAY + evening) for day in busy),
                *(completion(LOST, START + day * DAY + evening, "algebra", score=0.9) for day in range(8)),
                *(session(STEADY, START + day * DAY + evening) for day in range(60)),
                *(completion(STEADY, START + day * DAY + evening, "steady", score=0.9) for day in range(60)),
                *(
                    completion(
                        STUCK, START + day * DAY + evening, "calc", score=1.0 - day % 2, topic="Calculus"
                    )
                    for day in range(48, 60)
                ),
                *(
                    completion(FADING, START + day * DAY, "algebra", score=0.8 * (day < 4))
                    for day in range(6)
                ),
                *(session(FADING, START + day * DAY) for day in range(50, 60)),
            ]
        )
        await made.sweep(NOW)
        yield made


@pytest.fixture
async def db(world: World) -> AsyncIterator[AsyncSession]:
    async with world.session() as made:
        yield made

"""Recording through the API's functions, and what the outbox holds of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.predictive.answers import answers
from tests.support.learners.building import START, completion, session
from tests.support.learners.stored_learners import World, world_in

AT = START + 20 * DAY


LESSON = {
    "content_id": "calc-5",
    "type": "lesson",
    "difficulty_rating": 0.85,
    "prerequisites": ["derivatives", "integrals"],
    "similar_topics": ["calc-3"],
}


HISTORY = [
    *(session(1, START + day * DAY + 8 * HOUR) for day in range(20)),
    *(completion(1, START + day * DAY, "derivatives", score=0.2) for day in range(6)),
    *(completion(1, START + day * DAY, "integrals", score=0.3) for day in range(6)),
    *(completion(1, START + day * DAY, "calc-3", score=0.25) for day in range(4)),
]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with world_in(database_url) as made:
        yield made


async def asked(world: World, function: Any, user: int = 1, **more: Any) -> Any:
    async with world.session() as db:
        return await function(db, **({"user_id": user, "organization": None} | more))


async def predict(world: World, user: int = 1, **more: Any) -> Any:
    return await asked(
        world, answers.predict_struggle, user, **({"content_metadata": LESSON, "at": AT} | more)
    )


async def outbox(world: World) -> list[tuple[str, dict[str, Any]]]:
    rows = await world.rows("SELECT topic, value FROM outbox ORDER BY id")
    return [(topic, json.loads(value)) for topic, value in rows]

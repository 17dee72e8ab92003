"""Questions that wait at the same time are read and computed together, and answered as each alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.exc import InterfaceError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.predictions.kinds import DROPOUT_RISK, KINDS, PLATEAUS, REGRESSIONS, TIMING, PredictionKind
from lyo.models.state.layout import LAYOUT, LayoutError
from lyo.predictive.answers import answers, learner_responses
from lyo.predictive.answers.reading import LearnerQuery, LearnerSnapshot
from lyo.predictive.answers.request_batcher import MOST, RequestBatcher
from lyo.streams.topics import Names
from tests.support.learners.building import START, completion, session
from tests.support.learners.sampled import CONTENTS, ORGANIZATIONS
from tests.support.learners.stored_learners import World, world_in

pytestmark = pytest.mark.integration

ALL: dict[str, Any] = {"active_only": False}
# What tells it of a learner read together with others, of one read alone, and what is to be read.
WAYS: list[tuple[Any, Any, tuple[PredictionKind, ...], dict[str, Any]]] = [
    (learner_responses.dropout_risk, answers.dropout_risk, (DROPOUT_RISK,), {}),
    (learner_responses.timing_profile, answers.timing_profile, (TIMING,), {}),
    (learner_responses.timing_check, answers.timing_check, (TIMING,), {}),
    (learner_responses.plateaus, answers.plateaus, (PLATEAUS,), ALL),
    (learner_responses.regressions, answers.regressions, (REGRESSIONS,), ALL),
    (learner_responses.insights, answers.insights, KINDS, {}),
]
NOW = START + 80 * DAY


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with world_in(database_url) as made:
        await made.catalogue(*CONTENTS, organizations=ORGANIZATIONS)
        for user in range(1, 7):
            await made.feed(
                [
                    session(user, START + day * DAY + user * HOUR, organization_id=7)
                    for day in range(20 + user)
                ]
                + [
                    completion(user, START + day * DAY, "s", score=0.9 if day < 3 + user else 0.2)
                    for day in range(5 + user)
                ]
                + [completion(user, START + day * DAY, "calc", score=day % 2) for day in range(12)]
            )
        yield made


class Counted:
    """Makes the world's sessions, and counts them: one for each batch."""

    def __init__(self, world: World) -> None:
        self._world, self.made, self.begun = world, 0, asyncio.Event()

    def __call__(self) -> AsyncSession:
        self.made += 1
        self.begun.set()
        return self._world.session()


def questions() -> list[dict[str, Any]]:
    """About known learners and an unknown one, for three tenants, as of three moments."""
    return [
        {
            "user_id": user,
            "organization": (7, None, 8)[number % 3],
            "at": NOW + (number % 4) * 9 * DAY,
            "now": NOW,
        }
        for number, user in enumerate((1, 2, 3, 4, 5, 6, 99, 1, 1, 2))
    ]


async def test_many_at_once_are_answered_as_each_alone_with_few_queries(world: World) -> None:
    sessions = Counted(world)
    batcher = RequestBatcher(sessions, Names())
    asked = [(about, *way) for about in questions() for way in WAYS]
    learners = await asyncio.gather(
        *(batcher.read(LearnerQuery(**about, kinds=kinds)) for about, _, _, kinds, _ in asked)
    )
    assert sessions.made <= len(asked) / MOST + 2
    given = []
    for (about, tell, alone, _, more), learner in zip(asked, learners, strict=True):
        given.append((alone, tell(learner, **more)))
        async with world.session() as db:
            assert given[-1][1] == await alone(db, **about, **more), (alone.__name__, about)
    for many in (answers.plateaus, answers.regressions):
        assert any(answer for function, answer in given if function is many)
    foreign = [
        (await batcher.read(LearnerQuery(user, organization, NOW, NOW))).foreign
        for user, organization in ((1, 7), (1, 8), (1, None), (99, 8))
    ]
    assert foreign == [False, True, False, False]


async def test_what_comes_while_a_batch_is_under_way_becomes_the_next(world: World) -> None:
    sessions = Counted(world)
    batcher = RequestBatcher(sessions, Names())
    waiting = [asyncio.create_task(batcher.read(risk_of(1)))]
    await sessions.begun.wait()
    waiting += [asyncio.create_task(batcher.read(risk_of(user))) for user in range(2, 2 + MOST)]
    learners = await asyncio.gather(*waiting)
    assert [learner.query.user_id for learner in learners] == list(range(1, 2 + MOST))
    assert sessions.made == 2


def risk_of(user: int) -> LearnerQuery:
    """A question about a learner's dropout risk."""
    return LearnerQuery(user, 7, NOW, NOW, (DROPOUT_RISK,))


async def test_one_who_gives_up_leaves_the_others_their_answers(world: World) -> None:
    batcher = RequestBatcher(world.session, Names())
    tasks = [asyncio.create_task(batcher.read(risk_of(user))) for user in (1, 2, 3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(second, asyncio.CancelledError)
    assert isinstance(first, LearnerSnapshot)
    assert isinstance(third, LearnerSnapshot)
    assert (first.row["user_id"], third.row["user_id"]) == (1, 3)
    assert (await batcher.read(risk_of(2))).row["user_id"] == 2


async def test_a_row_that_cannot_be_read_is_the_fault_of_its_own_question_alone(world: World) -> None:
    await world.rows(f"UPDATE learner_rows SET row = set_byte(row, 0, {LAYOUT + 1}) WHERE user_id = 2")
    batcher = RequestBatcher(world.session, Names())
    learners = await asyncio.gather(
        *(batcher.read(risk_of(user)) for user in (1, 2, 3)),
        return_exceptions=True,
    )
    assert [isinstance(learner, LayoutError) for learner in learners] == [False, True, False]


async def test_where_postgres_does_not_answer_all_who_wait_are_told(world: World) -> None:
    def broken() -> AsyncSession:
        raise InterfaceError("connect", None, ConnectionError("refused"))

    batcher = RequestBatcher(broken, Names())
    learners = await asyncio.gather(
        *(batcher.read(risk_of(user)) for user in range(1, 40)),
        return_exceptions=True,
    )
    assert all(isinstance(learner, SQLAlchemyError) for learner in learners)
    whole = RequestBatcher(world.session, Names())
    assert (await whole.read(risk_of(1))).row["user_id"] == 1

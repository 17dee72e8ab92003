"""Asking for an erasure by the API's functions: once while it is under way, and how far it has come."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.events.decode import Kind
from lyo.predictive.answers import answers
from lyo.storage.times import instant
from tests.support.api.recording import AT, HISTORY, asked, outbox, predict
from tests.support.learners.building import START, iso, ms, session
from tests.support.learners.stored_learners import World, world_in
from tests.support.sink.records import NAMES

pytestmark = pytest.mark.integration


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with world_in(database_url) as made:
        yield made


async def test_an_erasure_is_asked_for_once_and_tells_what_is_left(world: World) -> None:
    await world.feed([*HISTORY, session(2, START)])
    before = await asked(world, answers.erasure_progress)
    assert (before["status"], before["requested_at"], before["sent_at"]) == ("not_requested", None, None)
    told = await asked(world, answers.request_erasure, at=AT)
    assert (told["status"], told["requested_at"]) == ("requested", iso(AT))
    assert told["remaining"]["skill_rows"] == 3
    assert told["remaining"]["learner_rows"] == told["remaining"]["dropout_risk_scores"] == 1
    assert (await asked(world, answers.request_erasure, at=AT + HOUR))["event_id"] == told["event_id"]
    ((topic, body),) = await world.relay()
    assert topic == NAMES.topic(Kind.ERASURE)
    assert body == {
        "event_id": told["event_id"],
        "user_id": 1,
        "organization_id": None,
        "requested_at": iso(AT),
    }
    sent = await asked(world, answers.erasure_progress)
    assert sent["status"] == "sent"
    assert await asked(world, answers.request_erasure, at=AT + 2 * HOUR) == sent
    assert ms(sent["sent_at"]) > 0
    for table in sent["remaining"]:
        await world.connection.execute(f"DELETE FROM {table} WHERE user_id = 1")
    assert (await asked(world, answers.erasure_progress))["status"] == "sent"
    await carried_out(world, 1, AT)
    done = await asked(world, answers.erasure_progress)
    assert (done["status"], done["removed"], done["topics_removed"]) == ("done", {"a": 2}, {"lyo.b": 3})
    assert done["topics_removed_at"] == iso(AT + HOUR)
    assert done["compacted_by"] == iso(AT + 7 * HOUR)
    assert done["tombstones_until"] == iso(AT + 7 * HOUR + 7 * DAY)
    assert len(done["kept"]) == 3
    again = await asked(world, answers.request_erasure, at=AT + DAY)
    assert (again["status"], again["requested_at"]) == ("requested", iso(AT + DAY))
    await world.relay()
    assert await asked(world, answers.request_erasure, at=AT + 2 * DAY) == await asked(
        world, answers.erasure_progress
    )
    assert [body["requested_at"] for _, body in await outbox(world)] == [iso(AT), iso(AT + DAY)]


async def carried_out(world: World, user: int, at: int, organization: int | None = None) -> None:
    """What the sink notes when it and the worker have erased a learner."""
    await world.connection.execute(
        "INSERT INTO erasure_fences "
        "(user_id, organization_id, erased_at, stored_at, removed, topics_at, topics) "
        """VALUES ($1, $2, $3, $4, '{"a": 2}', $4, '{"lyo.b": 3}')""",
        user,
        organization,
        instant(at),
        instant(at + HOUR),
    )


async def test_of_an_erased_learner_the_api_stores_nothing(world: World) -> None:
    await carried_out(world, 1, AT)
    told = await predict(world)
    assert "erased" in told["reason"]
    done = await asked(world, answers.record_outcome, content_id="calc-5", struggled=True, at=AT)
    assert (done["success"], done["message"]) == (False, told["reason"])
    assert await outbox(world) == []
    assert await world.connection.fetchval("SELECT count(*) FROM struggle_predictions") == 0


async def test_the_erasure_of_an_unknown_learner_is_fine(world: World) -> None:
    told = await asked(world, answers.request_erasure, 99, at=AT)
    assert (told["status"], told["remaining"]) == ("requested", {})
    await world.relay()
    await carried_out(world, 99, AT, 7)
    assert (await asked(world, answers.erasure_progress, 99))["status"] == "done"
    assert (await asked(world, answers.erasure_progress, 99, organization=7))["status"] == "done"
    assert (await asked(world, answers.erasure_progress, 99, organization=8))["status"] == "not_requested"

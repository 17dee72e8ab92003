"""Outcomes that the API records: one or many, all or none, and the columns that the stream makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.events.decode import EventError, Kind
from lyo.models.events.types import OutcomeKind
from lyo.predictive.answers import answers
from tests.support.api.recording import AT, HISTORY, asked, outbox, predict
from tests.support.learners.building import START, iso, session
from tests.support.learners.stored_learners import World
from tests.support.sink.records import NAMES

pytestmark = pytest.mark.integration


async def test_an_outcome_sets_the_columns_once_the_stream_has_seen_it(world: World) -> None:
    await world.feed(HISTORY)
    await predict(world)
    done = await asked(
        world,
        answers.record_outcome,
        content_id="calc-5",
        struggled=True,
        completion_time_seconds=3600,
        gave_up=False,
        at=AT + HOUR,
        event_id="e1",
    )
    assert done == {"success": True, "message": "Outcome recorded successfully", "event_id": "e1"}
    sql = "SELECT actual_struggled, actual_outcome_at FROM struggle_predictions"
    assert await world.rows(sql) == [(None, None)]
    topic, body = (await world.relay())[-1]
    assert topic == NAMES.topic(Kind.OUTCOME)
    assert body == {
        "event_id": "e1",
        "user_id": 1,
        "organization_id": None,
        "occurred_at": iso(AT + HOUR),
        "content_id": "calc-5",
        "kind": "struggled",
        "completion_time_seconds": 3600,
        "gave_up": False,
    }
    ((struggled, at),) = await world.rows(sql)
    assert (struggled, round(at.timestamp() * 1000)) == (True, AT + HOUR)


async def test_outcomes_of_every_kind_go_out_in_order_and_count_once(world: World) -> None:
    await world.feed(HISTORY)
    await predict(world)
    kinds = [*OutcomeKind]
    outcomes = [
        {
            "event_id": f"e-{kind}",
            "occurred_at": AT + (place + 1) * 60_000,
            "kind": kind.value,
            "content_id": "calc-5",
            "skill_id": "algebra",
        }
        for place, kind in enumerate(kinds)
    ]
    ids = [outcome["event_id"] for outcome in outcomes]
    row = "SELECT intervention_offered, intervention_accepted, actual_struggled FROM struggle_predictions"
    for _ in range(2):
        done = await asked(world, answers.record_outcomes, outcomes=outcomes, at=AT + DAY)
        assert done == {"success": True, "message": "Outcomes recorded successfully", "event_ids": ids}
        sent = [body for topic, body in await world.relay() if topic == NAMES.topic(Kind.OUTCOME)]
        assert [body["kind"] for body in sent][-len(kinds) :] == [kind.value for kind in kinds]
        assert [body["occurred_at"] for body in sent][-len(kinds) :] == [
            iso(outcome["occurred_at"]) for outcome in outcomes
        ]
        assert await world.rows(row) == [(True, False, False)]
        assert await world.rows("SELECT count(*) FROM content_outcomes") == [(5,)]


async def test_one_outcome_that_is_refused_keeps_all_back(world: World) -> None:
    good = {"event_id": "e1", "occurred_at": AT, "kind": "reminder_sent", "skill_id": "algebra"}
    with pytest.raises(EventError) as refused:
        await asked(world, answers.record_outcomes, outcomes=[good, good | {"event_id": "x" * 101}], at=AT)
    assert refused.value.field == "outcomes[1].event_id"
    assert await outbox(world) == []


async def test_outcomes_lie_at_most_a_day_in_the_future(world: World) -> None:
    ahead = {"event_id": "e1", "occurred_at": AT + DAY, "kind": "strategy_executed"}
    later = ahead | {"occurred_at": AT + DAY + 1}
    with pytest.raises(EventError, match="more than a day") as refused:
        await asked(world, answers.record_outcomes, outcomes=[later], at=AT, now=AT)
    assert refused.value.field == "outcomes[0].occurred_at"
    assert (await asked(world, answers.record_outcomes, outcomes=[ahead], at=AT, now=AT))["success"]


async def test_an_outcome_names_the_learners_organization(world: World) -> None:
    await world.feed([session(2, START, organization_id=8)])
    for organization in (None, 8):
        await asked(
            world,
            answers.record_outcome,
            2,
            organization=organization,
            content_id="c",
            struggled=False,
            at=AT,
        )
    assert [body["organization_id"] for _, body in await outbox(world)] == [8, 8]
    assert {body["kind"] for _, body in await outbox(world)} == {"not_struggled"}


async def test_an_outcome_that_the_stream_would_refuse_is_refused_at_once(world: World) -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"content_id": ""}, "content_id"),
        ({"completion_time_seconds": -1}, "completion_time_seconds"),
        ({"at": AT + 2 * DAY, "now": AT}, "occurred_at"),
    )
    for fields, field in wrong:
        more: dict[str, Any] = {"content_id": "c", "struggled": True, "at": AT} | fields
        with pytest.raises(EventError) as refused:
            await asked(world, answers.record_outcome, **more)
        assert refused.value.field == field
    assert await outbox(world) == []

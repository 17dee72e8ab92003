"""Outcomes and preferences in Postgres: the same rows in whatever order they come."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from lyo.models.events.decode import Kind
from tests.support.sink.records import (
    NAMES,
    START,
    Rec,
    at,
    contents,
    dropout,
    event,
    outcome,
    plateau,
    prediction,
    regression,
    regression_episode,
    struggle,
)
from tests.support.sink.store import Store

pytestmark = pytest.mark.integration


async def settle(store: Store, records: Iterable[Rec], *, together: bool) -> dict[str, Any]:
    await store.clear()
    if together:
        await store.write(*records)
    else:
        for record in records:
            await store.write(record)
    return await contents(store.connection)


async def every_order(store: Store, records: list[Rec]) -> dict[str, Any]:
    """The tables after the records, the same for every order of topics and any batching."""
    expected: dict[str, Any] | None = None
    for order in itertools.permutations(range(len(records))):
        chosen = [records[place] for place in order]
        # One topic's records of one partition come in the order of their offsets, always.
        offsets = [r.offset for r in chosen if "predictions" in r.topic]
        if offsets != sorted(offsets):
            continue
        for together in (False, True):
            found = await settle(store, chosen, together=together)
            expected = found if expected is None else expected
            assert found == expected, order
    assert expected is not None
    return expected


async def test_struggle_outcomes_in_every_order(store: Store) -> None:
    await every_order(
        store,
        [
            prediction("struggle", struggle(1), 0),
            event(Kind.OUTCOME, outcome(1, "struggled", 5, content_id="lesson"), 1),
            event(Kind.OUTCOME, outcome(1, "not_struggled", 9, content_id="lesson"), 2),
            event(Kind.OUTCOME, outcome(1, "help_offered", 1, content_id="lesson"), 3),
            event(Kind.OUTCOME, outcome(1, "help_accepted", 2, content_id="lesson"), 4),
        ],
    )
    sql = (
        "SELECT actual_struggled, actual_outcome_at - $1, intervention_offered, intervention_accepted "
        "FROM struggle_predictions"
    )
    ((struggled, after, offered, accepted),) = await store.rows(sql, START)
    assert (struggled, after.total_seconds(), offered, accepted) == (False, 9 * 60, True, True)


async def test_asking_again_keeps_what_came_of_the_question_before_in_every_order(store: Store) -> None:
    took = {"content_id": "lesson", "completion_time_seconds": 90.0}
    await every_order(
        store,
        [
            prediction("struggle", struggle(1), 0),
            prediction("struggle", struggle(1, request_id="request-2", requested_at=at(30)), 1),
            event(Kind.OUTCOME, outcome(1, "not_struggled", 20, **took, gave_up=True), 1),
            event(Kind.OUTCOME, outcome(1, "help_declined", 21, content_id="lesson"), 2),
            event(Kind.OUTCOME, outcome(1, "not_struggled", 30, **took), 3),
        ],
    )
    sql = (
        "SELECT request_id, actual_struggled, completion_time_seconds, gave_up, intervention_offered, "
        "intervention_accepted FROM struggle_predictions ORDER BY requested_at"
    )
    assert await store.rows(sql) == [
        ("request-1", True, 90.0, True, True, False),
        ("request-2", False, 90.0, None, False, None),
    ]


async def test_every_settled_question_keeps_its_own_outcome_however_many_there_are(store: Store) -> None:
    for number in range(20):
        asked = struggle(1, request_id=f"request-{number}", requested_at=at(10 * number))
        kind = "struggled" if number % 3 else "not_struggled"
        told = outcome(1, kind, 10 * number + 5, content_id="lesson")
        await store.write(prediction("struggle", asked, number), event(Kind.OUTCOME, told, number))
    sql = "SELECT actual_struggled FROM struggle_predictions ORDER BY requested_at"
    assert await store.rows(sql) == [(bool(number % 3),) for number in range(20)]


async def test_an_answer_that_follows_the_learner_changes_its_own_row_alone(store: Store) -> None:
    again = struggle(1, request_id="request-2", requested_at=at(30))
    await store.write(prediction("struggle", struggle(1), 0), prediction("struggle", again, 1))
    await store.write(prediction("struggle", again | {"struggle_probability": 0.1}, 2))
    sql = "SELECT id, request_id, struggle_probability FROM struggle_predictions ORDER BY id"
    assert await store.rows(sql) == [(1, "request-1", 0.72), (2, "request-2", 0.1)]
    await store.write(Rec(NAMES.prediction("struggle"), 0, 3, b"1|lesson", None))
    assert await store.rows(sql) == []
    gone = "SELECT key ->> 'request_id' FROM removed_rows ORDER BY id"
    assert await store.rows(gone) == [("request-1",), ("request-2",)]


async def test_dropout_outcomes_in_every_order(store: Store) -> None:
    await every_order(
        store,
        [
            prediction("dropout-risk", dropout(1), 0),
            event(Kind.OUTCOME, outcome(1, "strategy_executed", 5), 1),
            event(Kind.OUTCOME, outcome(1, "returned", 8), 2),
            event(Kind.OUTCOME, outcome(2, "returned", 8), 3),
        ],
    )
    sql = "SELECT strategy_executed, user_returned, returned_at - $1 FROM dropout_risk_scores"
    ((executed, returned, after),) = await store.rows(sql, START)
    assert (executed, returned, after.total_seconds()) == (True, True, 8 * 60)
    await store.write(event(Kind.OUTCOME, outcome(1, "strategy_executed", 9), 4))
    sql = "SELECT strategy_executed, user_returned, returned_at FROM dropout_risk_scores"
    assert await store.rows(sql) == [(True, None, None)], "not back since the newest strategy"


async def test_episode_outcomes_in_every_order(store: Store) -> None:
    await every_order(
        store,
        [
            prediction("plateaus", plateau(1, detected=(0, 100)), 0),
            event(Kind.OUTCOME, outcome(1, "intervention_taken", 50, skill_id="algebra"), 1),
            event(Kind.OUTCOME, outcome(1, "intervention_taken", -5, skill_id="algebra"), 2),
            prediction("plateaus", plateau(1, detected=(0, 100, 200)), 3),
            event(Kind.OUTCOME, outcome(1, "intervention_taken", 300, skill_id="algebra"), 4),
        ],
    )
    sql = "SELECT intervention_taken FROM learning_plateaus ORDER BY detected_at"
    assert await store.rows(sql) == [(True,), (False,), (True,)]


async def test_regression_outcomes_in_every_order(store: Store) -> None:
    practised = regression(1, detected=(0, 100))
    practised["episodes"][0] = regression_episode(0, user_reviewed=True, resolved_at=at(60), is_active=False)
    await every_order(
        store,
        [
            prediction("regressions", practised, 0),
            event(Kind.OUTCOME, outcome(1, "reminder_sent", 150, skill_id="algebra"), 1),
            event(Kind.OUTCOME, outcome(1, "reviewed", 160, skill_id="algebra"), 2),
            event(Kind.OUTCOME, outcome(1, "reviewed", 161, skill_id="other"), 3),
        ],
    )
    sql = (
        "SELECT reminder_sent, user_reviewed, extract(epoch FROM reviewed_at - $1)::int / 60 "
        "FROM skill_regressions ORDER BY detected_at"
    )
    assert await store.rows(sql, START) == [(False, True, 60), (True, True, 160)]


async def test_an_outcome_of_another_organization_touches_no_row(store: Store) -> None:
    await every_order(
        store,
        [
            prediction("struggle", struggle(1), 0),
            event(Kind.OUTCOME, outcome(1, "not_struggled", 5, content_id="lesson", organization_id=7), 1),
            event(Kind.OUTCOME, outcome(1, "struggled", 9, content_id="lesson", organization_id=8), 2),
        ],
    )
    assert await store.rows("SELECT actual_struggled FROM struggle_predictions") == [(False,)]


async def test_preferences_are_the_newest_of_each_field_in_every_order(store: Store) -> None:
    said: list[dict[str, Any]] = [
        {"updated_at": at(0), "timezone": "Europe/Berlin", "quiet_hours": {"from": "22:00", "to": "07:00"}},
        {"updated_at": at(1), "timezone": "Asia/Tokyo", "language": "ja"},
        {"updated_at": at(2), "quiet_hours": None, "max_nudges_per_day": 2},
        {"updated_at": at(1), "timezone": None},
    ]
    records = [
        event(Kind.PREFERENCES, {"event_id": f"e{number}", "user_id": 1, **fields}, number)
        for number, fields in enumerate(said)
    ]
    found = await every_order(store, records)
    sql = "SELECT language, quiet_from, quiet_to, max_nudges_per_day FROM preferences"
    assert await store.rows(sql) == [("ja", None, None, 2)]
    assert len(found["preferences"]) == 1


async def test_preferences_of_another_organization_change_nothing(store: Store) -> None:
    own = {"event_id": "a", "user_id": 1, "organization_id": 7, "updated_at": at(0), "language": "de"}
    other = {"event_id": "b", "user_id": 1, "organization_id": 8, "updated_at": at(1), "language": "fr"}
    expected = [(7, "de")]
    for together in (False, True):
        records = [event(Kind.PREFERENCES, own, 0), event(Kind.PREFERENCES, other, 1)]
        await settle(store, records, together=together)
        assert await store.rows("SELECT organization_id, language FROM preferences") == expected

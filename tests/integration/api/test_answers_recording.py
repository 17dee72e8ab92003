"""What the API records: stored at once, sent by the outbox, joined with what the stream makes of it."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy.exc import DBAPIError

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.events.decode import Kind
from lyo.predictive.answers import answers
from lyo.storage.outbox.queue import CHANNEL
from tests.support.api.recording import AT, HISTORY, LESSON, asked, outbox, predict
from tests.support.learners.building import START, completion, iso, session
from tests.support.learners.sampled import CONTENTS
from tests.support.learners.stored_learners import World
from tests.support.sink.records import NAMES, prediction, struggle

pytestmark = pytest.mark.integration


# -- struggle ----------------------------------------------------------------------------------------------


async def test_a_struggle_prediction_is_stored_with_what_it_saw_and_asked_of_the_stream(world: World) -> None:
    await world.feed(HISTORY)
    answer = await predict(world, request_id="r1")
    assert answer["struggle_probability"] > 0.6
    assert answer["should_offer_help"]
    assert answer["help_message"]
    assert set(answer["features"]) == {
        "prereq_mastery",
        "similar_performance",
        "content_difficulty",
        "recency",
        "cognitive_load",
        "sentiment",
    }
    row = dict(await world.connection.fetchrow("SELECT * FROM struggle_predictions"))
    assert (row["id"], row["user_id"], row["content_id"]) == (answer["prediction_id"], 1, "calc-5")
    assert row["struggle_probability"] == answer["struggle_probability"]
    assert json.loads(row["prediction_features"]) == answer["features"]
    assert json.loads(row["content_metadata"]) == LESSON
    assert row["prereq_mastery"] == answer["features"]["prereq_mastery"]
    assert json.loads(row["answered"])["probability"] == answer["struggle_probability"]
    assert (row["log_partition"], row["request_id"], row["content_type"]) == (None, "r1", "lesson")
    body = {"request_id": "r1", "user_id": 1, "organization_id": None}
    assert await outbox(world) == [
        (
            NAMES.topic(Kind.STRUGGLE_REQUEST),
            body | {"requested_at": iso(AT), "content_metadata": LESSON},
        )
    ]


async def test_the_streams_answer_to_the_same_request_takes_the_same_row(world: World) -> None:
    await world.feed(HISTORY)
    answer = await predict(world, request_id="r1")
    before = dict(await world.connection.fetchrow("SELECT * FROM struggle_predictions"))
    await world.relay()
    after = dict(await world.connection.fetchrow("SELECT * FROM struggle_predictions"))
    assert (await world.rows("SELECT count(*) FROM struggle_predictions")) == [(1,)]
    assert before.pop("log_offset") is before.pop("log_partition") is None
    assert after.pop("log_offset") is not None
    assert after.pop("log_partition") is not None
    assert after == before, "the same models on the same rows"
    record = world.stream.one("struggle", "1|calc-5")
    assert record["prediction_id"] == after["prediction_id"]
    assert record["struggle_probability"] == answer["struggle_probability"]


async def test_the_answer_through_the_catalogue_is_the_streams(world: World) -> None:
    await world.catalogue(*CONTENTS)
    await world.feed(
        [completion(1, START + day * DAY, "algebra", "fractions", score=0.3) for day in range(5)]
    )
    answer = await predict(world, content_metadata={"content_id": "lesson-a"})
    assert answer["features"]["prereq_mastery"] is not None
    await world.relay()
    record = world.stream.one("struggle", "1|lesson-a")
    for name in ("struggle_probability", "confidence", "features", "factors", "help_message", "as_of"):
        assert answer[name] == record[name], name


async def test_the_same_request_again_is_answered_as_the_first_time(world: World) -> None:
    await world.feed(HISTORY)
    first = await predict(world, request_id="r1")
    again = await predict(world, request_id="r1", at=AT + HOUR)
    assert again == first | {"stale": True}, "an hour without the stream's answer"
    await world.relay()
    assert await predict(world, request_id="r1", at=AT + 2 * HOUR) == first
    assert len(await outbox(world)) == 1


async def test_the_first_request_is_known_also_after_another_about_the_content(world: World) -> None:
    found = [
        await predict(world, request_id=name, at=AT + hours * HOUR)
        for hours, name in enumerate(("r1", "r2", "r1"))
    ]
    assert found[2] == found[0] | {"stale": found[2]["stale"]}
    assert [body["request_id"] for _, body in await outbox(world)] == ["r1", "r2"]


async def test_a_new_question_about_the_content_keeps_what_came_of_the_first(world: World) -> None:
    await world.feed(HISTORY)
    first = await predict(world, request_id="r1")
    await asked(world, answers.record_outcome, content_id="calc-5", struggled=True, at=AT + HOUR)
    await world.relay()
    sql = "SELECT id, request_id, actual_struggled FROM struggle_predictions ORDER BY id"
    settled = (first["prediction_id"], "r1", True)
    assert await world.rows(sql) == [settled]
    second = await predict(world, request_id="r2", at=AT + DAY)
    assert await world.rows(sql) == [settled, (second["prediction_id"], "r2", None)]
    await world.relay()
    assert await world.rows(sql) == [settled, (second["prediction_id"], "r2", None)]
    await asked(world, answers.record_outcome, content_id="calc-5", struggled=False, at=AT + DAY + HOUR)
    await world.relay()
    assert await world.rows(sql) == [settled, (second["prediction_id"], "r2", False)]
    third = await predict(world, content_metadata=LESSON | {"content_id": "other"}, at=AT + DAY)
    assert third["prediction_id"] == second["prediction_id"] + 1, "no number is burnt"


async def test_a_record_about_another_question_leaves_the_row_alone(world: World) -> None:
    await predict(world, request_id="new")
    row = "SELECT * FROM struggle_predictions WHERE request_id = 'new'"
    before = await world.rows(row)
    older = struggle(1, "calc-5", request_id="old", requested_at=iso(AT - HOUR))
    await world._write([prediction("struggle", older, 7, 2)])
    assert await world.rows(row) == before


async def test_one_request_sent_many_times_at_once_has_one_row_and_goes_out_once(world: World) -> None:
    found = await asyncio.gather(*(predict(world, request_id="r") for _ in range(8)))
    assert len({answer["prediction_id"] for answer in found}) == 1
    assert len(await world.rows("SELECT 1 FROM struggle_predictions")) == 1
    assert len(await outbox(world)) == 1


async def test_a_question_that_was_asked_again_waits_for_no_answer_of_its_own(world: World) -> None:
    await predict(world, request_id="r1")
    await predict(world, request_id="r2", at=AT + HOUR)
    await world.relay()
    await world.connection.execute(
        "UPDATE struggle_predictions SET log_partition = NULL WHERE request_id = 'r1'"
    )
    assert not (await asked(world, answers.dropout_risk, at=AT + 2 * HOUR))["stale"]


async def test_for_a_later_moment_the_answer_has_faded_and_the_question_is_of_now(world: World) -> None:
    known = [completion(1, START + day * DAY, "derivatives", score=float(day % 3 != 1)) for day in range(8)]
    await world.feed(known)
    metadata = {"content_id": "c", "prerequisites": ["derivatives"]}
    now = await predict(world, content_metadata=metadata)
    later = await predict(world, content_metadata=metadata, at=AT + 90 * DAY, now=AT)
    assert later["struggle_probability"] > now["struggle_probability"]
    assert later["as_of"] == iso(AT + 90 * DAY)
    assert [body["requested_at"] for _, body in await outbox(world)] == [iso(AT), iso(AT)]


async def test_an_unanswered_question_makes_answers_stale_after_a_minute(world: World) -> None:
    await world.feed(HISTORY)
    await predict(world)

    async def stale(now: int) -> bool:
        return (await asked(world, answers.dropout_risk, at=now))["stale"]

    assert [await stale(AT + seconds * 1000) for seconds in (0, 59, 60, 600)] == [None, None, True, True]
    await world.relay()
    assert not await stale(AT + 600_000)


async def test_a_question_about_an_unknown_learner_is_stored_with_its_tenant(world: World) -> None:
    answer = await predict(world, 50, organization=7, content_metadata={"content_id": "c"})
    assert (answer["struggle_probability"], answer["confidence"]) == (0.5, 0)
    assert answer["reason"] == "not enough data: nothing is known of this content"
    assert await world.rows("SELECT user_id, organization_id FROM struggle_predictions") == [(50, 7)]
    await world.relay()
    tables = ("learner_rows", "dropout_risk_scores", "user_timing_profiles", "interventions")
    rows = " UNION ALL ".join(f"SELECT user_id FROM {table}" for table in tables)
    assert await world.rows(rows) == [], "a question alone makes no learner"
    risk = await asked(world, answers.dropout_risk, 50, at=AT)
    assert (risk["known"], risk["risk_score"], risk["risk_level"], risk["confidence"]) == (
        False,
        0.5,
        "low",
        0,
    )
    assert risk["reengagement_strategy"]["interventions"] == []
    await world.feed([session(50, AT, organization_id=7)])
    known = await asked(world, answers.dropout_risk, 50, at=AT + DAY)
    assert known["known"]
    assert await world.rows(f"SELECT DISTINCT user_id FROM ({rows}) AS every") == [(50,)]


async def test_of_another_tenants_learner_nothing_is_written(world: World) -> None:
    await world.feed([session(2, START, organization_id=8), session(2, AT)])
    await predict(world, 2, organization=8)
    rows = "SELECT * FROM struggle_predictions"
    before, sent = await world.rows(rows), await outbox(world)
    answer = await predict(world, 2, organization=7)
    unknown = await predict(world, 99, organization=7, content_metadata=LESSON)
    aside = {"prediction_id": 0, "request_id": ""}
    assert answer | aside == unknown | aside
    assert answer["prediction_id"] not in {row[0] for row in await world.rows(rows)}
    await asked(world, answers.record_outcome, 2, organization=7, content_id="calc-5", struggled=True, at=AT)
    await asked(world, answers.request_erasure, 2, organization=7, at=AT)
    assert [row for row in await world.rows(rows) if row[1] == 2] == before
    assert [event for event in await outbox(world) if event[1]["user_id"] == 2] == sent


async def test_two_tenants_cannot_share_a_row_of_a_learner_nobody_knows_yet(world: World) -> None:
    first = await predict(world, 60, organization=7)
    second = await predict(world, 60, organization=8)
    assert second["prediction_id"] != first["prediction_id"]
    assert await world.rows("SELECT id, organization_id FROM struggle_predictions") == [
        (first["prediction_id"], 7)
    ]


async def test_without_commit_the_callers_transaction_decides(world: World) -> None:
    async with world.session() as db:
        await answers.predict_struggle(
            db, user_id=1, organization=None, content_metadata=LESSON, at=AT, commit=False
        )
        await db.rollback()
    assert await world.rows("SELECT 1 FROM outbox UNION ALL SELECT 1 FROM struggle_predictions") == []


async def test_row_and_event_are_written_together_or_not_at_all(world: World) -> None:
    await world.connection.execute("ALTER TABLE outbox ADD CHECK (length(value) < 10)")
    with pytest.raises(DBAPIError):
        await predict(world)
    assert await world.rows("SELECT 1 FROM struggle_predictions") == []


async def test_many_contents_are_ranked_and_nothing_is_stored(world: World) -> None:
    await world.feed(HISTORY)
    easy = {"content_id": "easy", "difficulty_rating": 0.1, "prerequisites": []}
    contents = [LESSON, easy, {"content_id": "unknown"}, {"difficulty_rating": 0.5}]
    ranked = await asked(world, answers.rank_struggle, contents=contents, at=AT)
    assert ranked[0]["position"] == 1
    assert ranked[-1]["content_id"] == "calc-5"
    risks = [answer["struggle_probability"] for answer in ranked]
    assert risks == sorted(risks)
    assert {answer["content_id"] for answer in ranked} == {"calc-5", "easy", "unknown", None}
    assert await world.rows("SELECT 1 FROM outbox UNION ALL SELECT 1 FROM struggle_predictions") == []
    single = await predict(world)
    assert ranked[-1]["struggle_probability"] == single["struggle_probability"]
    assert ranked[-1]["features"] == single["features"]
    assert await asked(world, answers.rank_struggle, contents=[], at=AT) == []


# -- the outbox ----------------------------------------------------------------------------------------------


async def test_who_relays_the_outbox_is_woken_by_the_commit(world: World) -> None:
    woken = asyncio.Event()
    await world.connection.add_listener(CHANNEL, lambda *_: woken.set())
    await predict(world)
    await asyncio.wait_for(woken.wait(), 30)

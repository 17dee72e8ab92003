"""What records become in Postgres: one batch after another, in any order and any batching."""

from __future__ import annotations

import json
from datetime import time

import pytest

from lyo.models.events.decode import Kind
from lyo.storage.sink.offsets import Place, Position, Stolen, claim
from tests.support.sink.records import (
    NAMES,
    START,
    Rec,
    at,
    dropout,
    intervention,
    plateau,
    plateau_episode,
    prediction,
    regression,
    struggle,
    timing,
)
from tests.support.sink.store import Store

pytestmark = pytest.mark.integration


async def test_each_kind_of_prediction_fills_its_table(store: Store) -> None:
    await store.write(
        prediction("dropout-risk", dropout(1), 10),
        prediction("timing", timing(1), 11),
        prediction("struggle", struggle(1), 12),
        prediction("plateaus", plateau(1), 13),
        prediction("regressions", regression(1), 14),
    )
    (row,) = await store.connection.fetch("SELECT * FROM dropout_risk_scores")
    assert row["user_id"] == 1
    assert row["organization_id"] == 7
    assert row["risk_factors"] == ["declining_engagement", "negative_sentiment"]
    assert row["sentiment_trend_7d"] is None
    assert json.loads(row["reengagement_strategy"])["urgency"] == "high"
    assert json.loads(row["factors"]) == [{"name": "declining_engagement", "contribution": 0.12}]
    assert (row["strategy_executed"], row["user_returned"]) == (False, None)
    assert (row["calculated_at"], row["updated_at"]) == (START, START)
    assert (row["log_partition"], row["log_offset"]) == (0, 10)
    (row,) = await store.connection.fetch("SELECT * FROM user_timing_profiles")
    assert (row["peak_hours"], row["optimal_study_time"]) == ([7, 19], time(19))
    assert (row["typical_study_days"], json.loads(row["performance_by_hour"])) == ([1, 3], {"7": 0.85})
    (row,) = await store.connection.fetch("SELECT * FROM struggle_predictions")
    assert (row["content_id"], row["struggle_probability"]) == ("lesson", 0.72)
    assert json.loads(row["prediction_features"]) == {"prereq_mastery": 0.45}
    assert json.loads(row["answered"])["probability"] == 0.72
    (row,) = await store.connection.fetch("SELECT * FROM learning_plateaus")
    assert (row["skill_id"], row["attempts"], row["detected_at"]) == ("algebra", 15, START)
    assert row["confidence"] == 0.6
    (row,) = await store.connection.fetch("SELECT * FROM skill_regressions")
    assert (row["skill_name"], row["urgency"], row["user_reviewed"]) == ("Algebra", "high", False)


async def test_an_intervention_is_one_row_that_follows_its_status(store: Store) -> None:
    await store.write(prediction("interventions", intervention(1), 1))
    (row,) = await store.connection.fetch("SELECT * FROM interventions")
    said = intervention(1)
    for name in ("intervention_id", "audience", "type", "priority", "title", "message", "action", "because"):
        assert row[name] == said[name], name
    assert json.loads(row["refused"]) == said["refused"]
    assert (row["as_of"], row["organization_id"], row["level"]) == (START, 7, "high")
    assert (row["status"], row["supersedes"], row["reason"]) == ("active", None, None)
    gone = intervention(1, status="retracted", reason="the dropout risk has fallen", changed_after=at(-5))
    graver = intervention(1, "b", priority=10, supersedes="a")
    await store.write(prediction("interventions", gone, 2), prediction("interventions", graver, 3))
    found = await store.rows(
        "SELECT id, intervention_id, status, reason, supersedes, log_offset FROM interventions ORDER BY id"
    )
    assert found == [
        (1, "a", "retracted", "the dropout risk has fallen", None, 2),
        (2, "b", "active", None, "a", 3),
    ]
    tombstone = prediction("interventions", intervention(1), 4)._replace(value=None)
    await store.write(tombstone)
    assert await store.rows("SELECT intervention_id FROM interventions") == [("b",)]


async def test_an_upsert_keeps_the_id_and_burns_none(store: Store) -> None:
    for offset in range(0, 40, 4):
        await store.write(
            prediction("dropout-risk", dropout(1, risk_score=offset / 100), offset),
            prediction("timing", timing(1), offset),
            prediction("struggle", struggle(1), offset),
            prediction("plateaus", plateau(1), offset),
            prediction("regressions", regression(1), offset),
        )
    await store.write(
        prediction("dropout-risk", dropout(2), 50),
        prediction("timing", timing(2), 50),
        prediction("struggle", struggle(2), 50),
        prediction("plateaus", plateau(2), 50),
        prediction("regressions", regression(2), 50),
    )
    tables = ("dropout_risk_scores", "user_timing_profiles", "struggle_predictions")
    for table in (*tables, "learning_plateaus", "skill_regressions"):
        assert await store.rows(f"SELECT id, user_id FROM {table} ORDER BY id") == [(1, 1), (2, 2)], table
    assert await store.rows("SELECT risk_score FROM dropout_risk_scores WHERE user_id = 1") == [(0.36,)]


async def test_only_the_newest_record_of_a_key_counts(store: Store) -> None:
    first = [prediction("dropout-risk", dropout(1, risk_score=score / 10), score) for score in range(3)]
    await store.write(*first)
    assert await store.rows("SELECT risk_score, log_offset FROM dropout_risk_scores") == [(0.2, 2)]
    await store.write(first[1])
    assert await store.rows("SELECT risk_score, log_offset FROM dropout_risk_scores") == [(0.2, 2)]


async def test_a_tombstone_deletes_the_row_of_its_key_alone(store: Store) -> None:
    for kind, make in (("struggle", struggle), ("plateaus", plateau), ("regressions", regression)):
        records = [prediction(kind, make(1, about), offset) for offset, about in enumerate("ab")]
        await store.write(*records)
        await store.write(Rec(NAMES.prediction(kind), 0, 5, b"1|a", None))
    assert await store.rows("SELECT content_id FROM struggle_predictions") == [("b",)]
    assert await store.rows("SELECT skill_id FROM learning_plateaus") == [("b",)]
    assert await store.rows("SELECT skill_id FROM skill_regressions") == [("b",)]


async def test_the_table_holds_the_episodes_of_the_newest_record(store: Store) -> None:
    await store.write(prediction("plateaus", plateau(1, detected=(0, 100)), 0))
    ids = dict(await store.rows("SELECT detected_at, id FROM learning_plateaus"))
    await store.write(prediction("plateaus", plateau(1, detected=(100, 200)), 1))
    kept = dict(await store.rows("SELECT detected_at, id FROM learning_plateaus"))
    assert len(kept) == 2
    assert min(kept) != min(ids)
    assert kept[max(ids)] == ids[max(ids)], "an episode that stays keeps its id"
    await store.write(prediction("plateaus", plateau(1, detected=()), 2))
    assert await store.rows("SELECT 1 FROM learning_plateaus") == []


async def test_an_ended_episode_says_so(store: Store) -> None:
    ended = plateau_episode(0, is_active=False, resolved=True, resolved_at=at(50), ended_because="mastery")
    record = plateau(1, detected=(0, 100))
    record["episodes"][0] = ended
    await store.write(prediction("plateaus", record, 0))
    sql = "SELECT is_active, resolved, ended_because FROM learning_plateaus ORDER BY detected_at"
    assert await store.rows(sql) == [(False, True, "mastery"), (True, False, None)]


async def test_rows_are_kept_as_they_are_and_know_their_tenant(store: Store) -> None:
    learner, skill = NAMES.learner_rows, NAMES.skill_rows
    rows = [
        Rec(skill, 0, 0, b"1|algebra", b"\x00skill"),
        Rec(learner, 0, 0, b"#sweep", b"\x01"),
        Rec(learner, 0, 1, b"1", b"\x05old"),
        Rec(learner, 0, 2, b"1", b"\x05" + bytes(4_000)),
        Rec(learner, 0, 3, b"2", b"\x00none"),
    ]
    await store.write(*rows)
    sql = "SELECT user_id, organization_id, length(row) FROM learner_rows ORDER BY user_id"
    assert await store.rows(sql) == [(1, 5, 4_001), (2, None, 5)]
    sql = "SELECT user_id, skill_id, organization_id, row FROM skill_rows"
    assert await store.rows(sql) == [(1, "algebra", 5, b"\x00skill")]
    await store.write(Rec(learner, 0, 4, b"1", None), Rec(skill, 0, 1, b"1|algebra", None))
    assert await store.rows("SELECT user_id FROM learner_rows") == [(2,)]
    assert await store.rows("SELECT 1 FROM skill_rows") == []


async def test_a_skill_that_comes_before_its_learner_learns_its_tenant(store: Store) -> None:
    await store.write(Rec(NAMES.skill_rows, 0, 0, b"1|algebra", b"x"))
    await store.write(Rec(NAMES.learner_rows, 0, 0, b"1", b"\x05"))
    assert await store.rows("SELECT organization_id FROM skill_rows") == [(5,)]


async def test_the_catalogue_follows_its_topics(store: Store) -> None:
    content, organizations = NAMES.topic(Kind.CONTENT), NAMES.topic(Kind.ORGANIZATION)
    lesson = {"content_id": "a", "organization_id": 7, "skills": ["x"], "odd": "\u0000"}
    await store.write(
        Rec(content, 0, 0, b"a", json.dumps(lesson).encode()),
        Rec(content, 0, 1, b"b", json.dumps({"content_id": "b", "skills": []}).encode()),
        Rec(organizations, 0, 0, b"7", json.dumps({"organization_id": 7, "timezone": "UTC"}).encode()),
        Rec(organizations, 0, 1, b"8", json.dumps({"organization_id": 8}).encode()),
    )
    sql = "SELECT content_id, organization_id, document->'skills' FROM contents ORDER BY 1"
    assert await store.rows(sql) == [("a", 7, '["x"]'), ("b", None, "[]")]
    await store.write(Rec(content, 0, 2, b"b", None), Rec(organizations, 0, 2, b"8", b"not JSON"))
    assert await store.rows("SELECT content_id FROM contents") == [("a",)]
    assert await store.rows("SELECT organization_id FROM organizations") == [(7,)]


async def test_a_stolen_partition_is_refused_and_nothing_is_stored(store: Store) -> None:
    place = Place(NAMES.prediction("timing"), 0)
    async with store.connection.transaction():
        mine = await claim(store.connection, {place: 0})
    async with store.connection.transaction():
        theirs = await claim(store.connection, {place: 0})
    assert theirs[place].claim == mine[place].claim + 1
    batch = store.writer.prepare([prediction("timing", timing(1), 0)])
    with pytest.raises(Stolen, match=r"another sink has taken over lyo\.predictions\.timing-0"):
        await store.writer.store(store.connection, batch, mine, {place: 1})
    assert await store.rows("SELECT 1 FROM user_timing_profiles") == []
    assert await store.writer.store(store.connection, batch, theirs, {place: 1})


async def test_a_commit_whose_answer_was_lost_is_not_repeated(store: Store) -> None:
    place = Place(NAMES.prediction("timing"), 0)
    async with store.connection.transaction():
        positions = await claim(store.connection, {place: 0})
    batch = store.writer.prepare([prediction("timing", timing(1), 0)])
    assert await store.writer.store(store.connection, batch, positions, {place: 1})
    assert positions == {place: Position(0, 1)}
    assert not await store.writer.store(store.connection, batch, positions, {place: 1})

"""Answers from Postgres: the worker's at its moments, ageing by themselves, and none of another tenant."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.events.decode import EventError, Kind
from lyo.models.state.layout import LAYOUT, LayoutError
from lyo.predictive.answers import answers, reading
from lyo.predictive.answers.reading import LAG_MS, LearnerQuery, LearnerSnapshot
from lyo.storage.times import instant
from tests.support.learners.building import START, Sent, completion, iso, ms, outcome, preferences, session
from tests.support.learners.sampled import CONTENTS, ORGANIZATIONS, lives
from tests.support.learners.stored_learners import World, world_in
from tests.support.sink.running import until

pytestmark = pytest.mark.integration

FORGETTING = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0)
SKIPPED = {"prediction_id", "version", "catalogue_revision", "stale", "episodes", "request_id"}


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with world_in(database_url) as made:
        yield made


def shared(answer: dict[str, Any], record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that both have, apart from numbers of rows."""
    names = (answer.keys() & record.keys()) - SKIPPED
    assert len(names) > 8
    return {name: answer[name] for name in names}, {name: record[name] for name in names}


def forgotten(user: int, skill: str) -> list[Sent]:
    """Eight days of a skill that was mastered, then failed at: some days later it counts as lost."""
    return [completion(user, START + day * DAY, skill, score=score) for day, score in enumerate(FORGETTING)]


async def asked(world: World, function: Any, user: int = 1, **more: Any) -> Any:
    async with world.session() as db:
        return await function(db, **({"user_id": user, "organization": None} | more))


async def test_at_the_moment_of_the_workers_records_the_answers_are_those_records(world: World) -> None:
    await world.catalogue(*CONTENTS, organizations=ORGANIZATIONS)
    compared = set()
    for seed in range(6):
        mine = [
            e._replace(body=e.body | {"user_id": e.body["user_id"] + 10 * seed}) for e in lives(seed, 200)
        ]
        for event in mine:
            event.body.pop("organization_id", None)
        await world.feed(mine)
    await world.sweep(int(world.stream.engine.state.learners.rows["newest"].max()) + 3 * DAY)
    for (kind, key), record in world.current().items():
        about, user, at = kind, record["user_id"], ms(record["as_of"])
        if kind in ("dropout-risk", "timing"):
            one = {"dropout-risk": answers.dropout_risk, "timing": answers.timing_profile}[kind]
            answer = await asked(world, one, user, at=at)
            left, right = shared(answer, record)
            assert left == right, (kind, key)
        elif kind in ("plateaus", "regressions"):
            many = {"plateaus": answers.plateaus, "regressions": answers.regressions}[kind]
            found = await asked(world, many, user, at=at, active_only=False)
            mine_now = [each for each in found if each["skill_id"] == record["skill_id"]]
            newest = max(mine_now, key=lambda each: each["detected_at"])
            assert len(mine_now) == len(record["episodes"])
            left, right = shared(newest, record)
            left["user_reviewed"] = right["user_reviewed"] = None  # the answer counts outcomes, too
            assert left == right, (kind, key)
            number = {"plateaus": "plateau_id", "regressions": "regression_id"}[kind]
            assert all(each[number] is not None for each in mine_now)
        compared.add(about)
    assert compared >= {"dropout-risk", "timing", "plateaus", "regressions"}


async def test_silence_raises_the_risk_of_an_answer_without_any_event(world: World) -> None:
    await world.feed([session(1, START + day * DAY) for day in range(20)])
    last = START + 19 * DAY
    (stored,) = await world.rows("SELECT risk_score FROM dropout_risk_scores")
    first = await asked(world, answers.dropout_risk, at=last)
    later = await asked(world, answers.dropout_risk, at=last + 30 * DAY, now=last)
    assert first["risk_score"] == stored[0] < later["risk_score"]
    assert (later["as_of"], later["calculated_at"]) == (iso(last + 30 * DAY), iso(last + 30 * DAY))
    assert later["valid_until"] == iso(last + 31 * DAY + HOUR)
    assert later["current_streak"] == 0
    assert sum(f["contribution"] for f in later["factors"]) == pytest.approx(later["risk_score"] - 0.5)
    before = await asked(world, answers.dropout_risk, at=last - 5 * DAY)
    assert before["as_of"] == iso(last), "never before the newest event"


async def test_outcomes_stand_beside_the_risk(world: World) -> None:
    events = [session(1, START + day * DAY) for day in range(20)]
    await world.feed(events)
    nothing = await asked(world, answers.dropout_risk, at=START + 30 * DAY)
    assert (nothing["strategy_executed"], nothing["returned_at"]) == (False, None)
    at = START + 25 * DAY
    await world.feed([outcome(1, at, "strategy_executed"), outcome(1, at + HOUR, "returned")])
    told = await asked(world, answers.dropout_risk, at=START + 30 * DAY)
    assert (told["strategy_executed"], told["strategy_executed_at"]) == (True, iso(at))
    assert (told["user_returned"], told["returned_at"]) == (True, iso(at + HOUR))


async def test_a_skill_that_has_faded_by_now_is_told_before_the_table_knows(world: World) -> None:
    await world.feed(forgotten(1, "algebra"))
    assert await asked(world, answers.regressions, at=START + 8 * DAY) == []
    later = {"at": START + 200 * DAY, "now": START + 8 * DAY}
    (found,) = await asked(world, answers.regressions, **later)
    assert found["regression_id"] is None
    assert (found["skill_id"], found["is_active"], found["reminder_sent"]) == ("algebra", True, False)
    await world.sweep(START + 110 * DAY)
    (stored,) = await asked(world, answers.regressions, **later)
    ((number,),) = await world.rows("SELECT id FROM skill_regressions")
    assert stored == found | {"regression_id": number}
    await world.feed([outcome(1, START + 111 * DAY, "reminder_sent", skill_id="algebra")])
    (reminded,) = await asked(world, answers.regressions, at=START + 200 * DAY)
    assert (reminded["reminder_sent"], reminded["reminder_sent_at"]) == (True, iso(START + 111 * DAY))


STUCK = [
    completion(2, START + day * DAY + 18 * HOUR, "calc", score=0.6 - day % 2 * 0.2, topic="Calculus")
    for day in range(12)
]


async def test_plateaus_have_the_number_of_their_row_and_their_outcome(world: World) -> None:
    await world.feed(STUCK)
    at = START + 12 * DAY
    (plateau,) = await asked(world, answers.plateaus, 2, at=at)
    ((number, detected),) = await world.rows("SELECT id, detected_at FROM learning_plateaus")
    assert plateau["plateau_id"] == number
    assert plateau["detected_at"] == iso(round(detected.timestamp() * 1000))
    assert (plateau["topic"], plateau["skill_id"], plateau["is_active"]) == ("Calculus", "calc", True)
    assert not plateau["intervention_taken"]
    await world.feed([outcome(2, at, "intervention_taken", skill_id="calc")])
    (plateau,) = await asked(world, answers.plateaus, 2, at=at)
    assert plateau["intervention_taken"]
    assert await asked(world, answers.plateaus, 2, at=at + 60 * DAY) == []
    (left,) = await asked(world, answers.plateaus, 2, at=at + 60 * DAY, active_only=False)
    assert (left["is_active"], left["ended_because"]) == (False, "practice_moved_on")


async def test_a_plateau_names_the_weak_prerequisite_of_the_catalogue(world: World) -> None:
    await world.catalogue(
        {"content_id": "c", "skills": ["calc"], "prerequisites": ["limits"]},
        {"content_id": "l", "skills": ["limits"], "skill_names": {"limits": "Limits of functions"}},
    )
    weak = [completion(2, START + day * DAY, "limits", score=0.1) for day in range(4)]
    await world.feed([*STUCK, *weak])
    (plateau,) = await asked(world, answers.plateaus, 2, at=START + 12 * DAY)
    assert plateau["intervention_suggested"] == "Review Limits of functions first: this topic builds on it"


EVENINGS = [session(3, START + day * DAY + 19 * HOUR) for day in range(40)]
TODAY = START + 40 * DAY


async def test_is_now_a_good_time(world: World) -> None:
    await world.catalogue(organizations=[{"organization_id": 7, "timezone": "Europe/Berlin"}])
    await world.feed([*EVENINGS, preferences(3, START, timezone="UTC")])
    good = await asked(world, answers.timing_check, 3, at=TODAY + 19 * HOUR)
    assert (good["is_good_time"], good["alternative_time"]) == (True, None)
    assert good["reasoning"] == "This aligns with your peak learning hours on a usual study day"
    bad = await asked(world, answers.timing_check, 3, at=TODAY + 9 * HOUR)
    assert not bad["is_good_time"]
    assert TODAY + 9 * HOUR < ms(bad["alternative_time"]) <= TODAY + 19 * HOUR
    assert sum(f["contribution"] for f in bad["factors"]) == pytest.approx(bad["score"] - 0.5)
    await world.feed([preferences(3, TODAY, quiet_hours={"from": "18:00", "to": "20:00"})])
    quiet = await asked(world, answers.timing_check, 3, at=TODAY + 19 * HOUR)
    assert (quiet["is_good_time"], quiet["reasoning"]) == (False, "These are your quiet hours")


async def test_insights_are_all_of_it_with_the_most_urgent_first(world: World) -> None:
    stuck = [event._replace(body=event.body | {"user_id": 1}) for event in STUCK]
    await world.feed(
        [*forgotten(1, "algebra"), *stuck, *(session(1, START + day * DAY + 18 * HOUR) for day in range(12))]
    )
    at = START + 100 * DAY
    told = await asked(world, answers.insights, 1, at=at)
    assert told["dropout_risk"] == await asked(world, answers.dropout_risk, 1, at=at)
    assert told["skill_regressions"] == await asked(world, answers.regressions, 1, at=at) != []
    assert told["timing_profile"] == await asked(world, answers.timing_profile, 1, at=at)
    assert told["active_plateaus"] == []
    check = await asked(world, answers.timing_check, 1, at=at)
    assert told["is_good_time_now"] == check["is_good_time"]
    assert told["dropout_risk"]["risk_level"] in ("high", "critical")
    assert told["total_insights"] == 1 + len(told["skill_regressions"]) + 1
    urgent = told["priority_actions"]
    assert urgent[0]["type"] == "dropout_risk"
    assert [action["priority"] for action in urgent] == sorted((a["priority"] for a in urgent), reverse=True)
    early = await asked(world, answers.insights, 1, at=START + 12 * DAY)
    assert early["active_plateaus"] == await asked(world, answers.plateaus, 1, at=START + 12 * DAY)
    (action,) = [a for a in early["priority_actions"] if a["type"] == "learning_plateau"]
    assert action["message"].startswith("User stuck on Calculus for ")
    assert action["action"] == "Suggest alternative learning approach"


async def test_of_an_unknown_learner_everything_is_neutral_and_says_why(world: World) -> None:
    told = await asked(world, answers.insights, 99, organization=7, at=START)
    risk, timing = told["dropout_risk"], told["timing_profile"]
    assert (risk["risk_score"], risk["confidence"]) == (0.5, 0)
    assert risk["reason"].startswith("not enough data")
    assert (timing["confidence"], timing["sessions_analyzed"]) == (0, 0)
    assert told["total_insights"] == 0
    assert told["priority_actions"] == []
    assert not told["stale"]
    await asked(world, answers.timing_check, 99, at=START)


async def test_the_answers_follow_the_catalogue(world: World) -> None:
    await world.feed([session(1, START + day * DAY + 20 * HOUR, organization_id=7) for day in range(15)])
    at = START + 15 * DAY

    async def follows(name: str) -> None:
        async def is_so() -> bool:
            return (await asked(world, answers.dropout_risk, at=at))["timezone"] == name

        await until(is_so)  # where a look at the catalogue is costly, not every answer takes one

    await follows("UTC")
    for name in ("Asia/Tokyo", "America/New_York"):
        await world.catalogue(organizations=[{"organization_id": 7, "timezone": name}])
        await follows(name)
    await world.catalogue(organizations=[{"organization_id": 8, "timezone": "Asia/Kolkata"}])
    await follows("America/New_York")
    await world.publish(Kind.ORGANIZATION, "7", None)
    await follows("UTC")
    ((content,),) = await world.rows("SELECT count(*) FROM contents")
    assert content == 0


async def test_the_catalogue_in_postgres_has_the_revision_of_the_workers(world: World) -> None:
    await world.catalogue(*CONTENTS, organizations=ORGANIZATIONS)
    await world.catalogue({"content_id": "n", "skills": ["b", "a"], "skill_names": {"b": "B", "aa": "A"}})
    async with world.session() as db:
        found: LearnerSnapshot = await reading.one(db, LearnerQuery(1, None, START, START), None)
    assert found.catalogue.contents == world.stream.engine.state.catalogue.contents
    assert found.catalogue.revision == world.stream.engine.state.catalogue.revision != 0


# -- tenants -----------------------------------------------------------------------------------------------

READING = (answers.dropout_risk, answers.timing_profile, answers.timing_check, answers.insights)


async def test_another_tenants_learner_is_as_unknown(world: World) -> None:
    theirs = [event._replace(body=event.body | {"organization_id": 8}) for event in STUCK]
    await world.feed([*theirs, *forgotten(2, "old")])
    at = START + 120 * DAY
    for function in READING:
        assert await asked(world, function, 2, organization=7, at=at) == _renamed(
            await asked(world, function, 99, organization=7, at=at)
        )
        assert await asked(world, function, 2, organization=8, at=at) == await asked(
            world, function, 2, organization=None, at=at
        )
    for many in (answers.plateaus, answers.regressions):
        own = await asked(world, many, 2, organization=8, at=at, active_only=False)
        assert own
        assert await asked(world, many, 2, organization=7, at=at, active_only=False) == []
    async with world.session() as db:
        wanted = [LearnerQuery(user, whose, at, at) for user, whose in ((2, 7), (2, 8), (2, None), (99, 7))]
        seen = await reading.many(db, wanted, None)
    assert [each.foreign for each in seen] == [True, False, False, False]
    assert [each.owned for each in seen] == [False, True, True, False]


def _renamed(answer: Any) -> Any:
    return json.loads(json.dumps(answer).replace('"user_id": 99', '"user_id": 2'))


async def test_a_learner_who_named_no_organization_belongs_to_no_tenant(world: World) -> None:
    await world.feed([session(1, START + day * DAY) for day in range(20)])
    restricted = await asked(world, answers.dropout_risk, organization=7, at=START + 20 * DAY)
    assert restricted["confidence"] == 0
    free = await asked(world, answers.dropout_risk, at=START + 20 * DAY)
    assert free["confidence"] > 0


# -- what is behind, what cannot be read -------------------------------------------------------------------


async def test_an_answer_says_whether_the_rows_lag_behind_the_moment_asked_about(world: World) -> None:
    await world.feed([session(1, START + day * DAY) for day in range(20)])
    until = START + 20 * DAY

    async def told(at: int, now: int, user: int = 1) -> tuple[bool | None, str]:
        risk = await asked(world, answers.dropout_risk, user, at=at, now=now)
        return risk["stale"], risk["as_of"]

    assert await told(until, until) == (None, iso(until)), "no sink has said"
    statement = "INSERT INTO watermarks VALUES ($1, $2)"
    await world.connection.execute(statement, world.home(1), instant(until))
    await world.connection.execute(statement, world.home(1) + 1, instant(until - DAY))
    soon, late = until + LAG_MS, until + LAG_MS + 1
    assert await told(soon, soon) == (False, iso(soon))
    assert await told(late, late) == (True, iso(until))
    assert await told(until, late) == (False, iso(until)), "a moment that the rows know all about"
    assert await told(until + 9 * DAY, soon) == (False, iso(until + 9 * DAY)), "the future, from fresh rows"
    assert await told(until + 9 * DAY, late) == (True, iso(until)), "and from old ones"
    assert await told(soon, soon, user=99) == (True, iso(until - DAY)), "unknown: any number may hold them"


async def test_a_row_of_a_newer_layout_is_a_clear_error(world: World) -> None:
    await world.feed([session(1, START)])
    await world.connection.execute("UPDATE learner_rows SET row = set_byte(row, 0, $1)", LAYOUT + 1)
    with pytest.raises(LayoutError, match=f"layout {LAYOUT + 1}"):
        await asked(world, answers.dropout_risk, at=START)


async def test_bad_input_names_its_field(world: World) -> None:
    for metadata, field in (
        ({"content_id": "c", "difficulty_rating": 1.5}, "content_metadata.difficulty_rating"),
        ({"content_id": "c\0"}, "content_metadata.content_id"),
        ({"content_id": "c", "prerequisites": "algebra"}, "content_metadata.prerequisites"),
    ):
        with pytest.raises(EventError) as refused:
            await asked(world, answers.predict_struggle, content_metadata=metadata, at=START)
        assert refused.value.field == field
    assert await world.rows("SELECT 1 FROM outbox UNION ALL SELECT 1 FROM struggle_predictions") == []
    with pytest.raises(ValueError, match="at or now"):
        await asked(world, answers.dropout_risk)

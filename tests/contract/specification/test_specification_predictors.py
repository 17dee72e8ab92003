"""The specification's key methods, as `lyo.predictive.predictors` has them."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from lyo import predictive
from lyo.models.arrays.zones import DAY
from tests.support.contract.specification_python import (
    NOW,
    StandingStill,
    User,
    defined,
)
from tests.support.contract.specification_world import FADING, LOST, NOBODY, STEADY, STUCK
from tests.support.learners.building import START
from tests.support.learners.stored_learners import World

pytestmark = pytest.mark.integration


# -- "Key Methods" -----------------------------------------------------------------------------------------


async def test_key_methods_of_the_struggle_predictor(world: World, db: AsyncSession) -> None:
    metadata = {"type": "lesson", "prerequisites": ["skill_1"]}
    seen = await defined("Struggle Predictor: Key Methods", db=db, metadata=metadata)["example"]()
    assert 0 <= seen["struggle_prob"] <= 1
    assert 0 <= seen["confidence"] <= 1
    assert set(seen["features"]) >= {"prereq_mastery", "content_difficulty", "sentiment"}
    assert (seen["should_offer"], seen["message"]) == (False, None)
    assert await world.rows("SELECT user_id, content_id FROM struggle_predictions") == [(123, "lesson_42")]
    assert [body.get("kind") for _, body in await world.relay()] == [None, "struggled"]
    assert await world.rows("SELECT actual_struggled FROM struggle_predictions") == [(True,)]


async def test_key_methods_of_the_dropout_predictor(db: AsyncSession) -> None:
    seen = await defined("Dropout Prevention: Key Methods", db=db)["example"]()
    assert (seen["risk_score"], seen["risk_level"], seen["factors"]) == (0.5, "low", [])
    assert seen["metrics"]["confidence"] == 0
    assert {"session_frequency_trend", "avg_days_between_sessions"} <= seen["metrics"].keys()
    assert seen["strategy"]["urgency"] == "critical"
    (step,) = seen["strategy"]["interventions"]
    assert set(step) == {"type", "title", "message", "action"}


async def test_key_methods_of_the_timing_optimizer(db: AsyncSession) -> None:
    seen = await defined("Optimal Timing: Key Methods", db=db)["example"]()
    assert set(seen["profile"]) >= {
        "peak_hours",
        "optimal_study_time",
        "best_days",
        "avg_session_duration",
        "preferred_session_length",
        "performance_by_hour",
        "sessions_analyzed",
        "confidence",
    }
    assert seen["is_good_time"] in (True, False)
    assert seen["recommended_time"].utcoffset().total_seconds() == 0


async def test_a_known_profile_has_the_shapes_of_the_specification(db: AsyncSession) -> None:
    profile = await predictive.timing_optimizer.analyze_user_timing(user_id=STEADY, db=db)
    assert profile["optimal_study_time"] == time(19, 0)
    assert 19 in profile["peak_hours"]
    assert profile["performance_by_hour"].keys() >= {19}
    assert all(isinstance(hour, int) for hour in profile["performance_by_hour"])
    assert (profile["sessions_analyzed"], profile["confidence"]) == (60, 0.9)
    assert (profile["avg_session_duration"], profile["preferred_session_length"]) == (30, 30)
    found = await predictive.timing_optimizer.get_recommended_intervention_time(STEADY, db)
    assert (found.hour, found.minute, found.tzinfo) == (19, 0, UTC)
    assert found.timestamp() * 1000 > NOW - DAY


async def test_naive_times_are_read_as_utc_and_aware_ones_as_they_are(db: AsyncSession) -> None:
    ask = predictive.timing_optimizer.should_send_intervention_now
    good = StandingStill.utcnow()
    assert good.tzinfo is None
    assert await ask(STEADY, good, db)
    assert await ask(user_id=STEADY, current_time=datetime.fromisoformat("2026-05-01T21:00:00+02:00"), db=db)
    assert not await ask(STEADY, datetime.fromisoformat("2026-05-01T09:00:00+02:00"), db)


# -- "Unit Tests", "Background Jobs", "Query Optimization" ---------------------------------------------------


async def test_many_risks_take_one_query_and_are_those_of_each_alone(db: AsyncSession) -> None:
    users = [User(user) for user in (LOST, STEADY, STUCK, FADING, NOBODY)]
    seen = await defined("Query Optimization", db=db, users=users)["example"]()
    for user in users:
        alone = await predictive.dropout_predictor.calculate_dropout_risk(user.id, db)
        assert seen["risk_scores"][user.id] == alone
    statements: list[str] = []
    engine = db.sync_session.get_bind().engine
    event.listen(engine, "before_cursor_execute", lambda _c, _k, sql, *_: statements.append(sql))
    many = await predictive.dropout_predictor.batch_calculate_risks(range(1, 1001), db)
    assert len(many) == 1000
    assert len(statements) == 1
    assert await predictive.dropout_predictor.batch_calculate_risks([], db) == {}


async def test_a_strategy_of_nonsense_is_refused_by_name(db: AsyncSession) -> None:
    make = predictive.dropout_predictor.generate_reengagement_strategy
    with pytest.raises(ValueError, match=r"risk_score: 1\.2"):
        await make(1, 1.2, [], db)
    with pytest.raises(ValueError, match="risk_factors: 'bad_weather' unknown"):
        await make(1, 0.5, ["bad_weather"], db)


async def test_plateaus_and_regressions_have_the_apis_fields_as_attributes(db: AsyncSession) -> None:
    (plateau,) = await predictive.get_active_plateaus(user_id=STUCK, db=db)
    assert isinstance(plateau.plateau_id, int)
    assert (plateau.skill_id, plateau.is_active, plateau.days_on_topic) == ("calc", True, 12)
    assert plateau.detected_at.tzinfo is not None
    (regression,) = await predictive.get_skill_regressions(FADING, db)
    assert isinstance(regression.regression_id, int)
    assert regression.urgency in ("high", "critical")
    assert regression.last_practiced_at == datetime.fromtimestamp((START + 5 * DAY) / 1000, UTC)
    assert await predictive.get_active_plateaus(NOBODY, db) == []

"""The specification's own Python runs against the predictors and the API; docs/specification-code.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.arrays.zones import DAY, HOUR
from tests.support.api.client import ISSUER, api_settings, serving
from tests.support.contract.specification_python import (
    BLOCKS,
    EDITS,
    IN_A_FUNCTION,
    NOW,
    Called,
    StandingStill,
    User,
    defined,
)
from tests.support.contract.specification_world import FADING, LOST, NOBODY, RUSTY, STEADY, STUCK
from tests.support.learners.building import START, completion, iso, session
from tests.support.learners.stored_learners import World

pytestmark = pytest.mark.integration


SHOWING = ("show_alert", "show_plateau_card", "show_review_reminder", "show_timing_suggestions")


def test_every_block_that_was_copied_is_run() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    assert len(BLOCKS) == 11
    run = re.findall(r'defined\(\s*"([^"]+)"', source)
    assert sorted(run) == sorted(BLOCKS)
    assert EDITS.keys() | IN_A_FUNCTION <= BLOCKS.keys()


# -- "How It Works" ----------------------------------------------------------------------------------------


@dataclass
class UserState:
    """What Phase 1 knows of a user."""

    user_id: int
    studied_today: bool = False


async def triggered(db: AsyncSession, user: int, *, studied: bool = False) -> list[Any]:
    check: Callable[..., Any] = defined(
        "How It Works",
        UserState=UserState,
        List=list,
        Intervention=str,
        create_reengagement_intervention=lambda: "reengagement",
        create_plateau_intervention=lambda plateau: f"plateau {plateau.topic} {plateau.days_on_topic}",
        create_refresh_intervention=lambda regression: f"refresh {regression.skill_name}",
        create_timing_nudge=lambda: "nudge",
    )["_check_behavioral_triggers"]
    found: list[Any] = await check(None, UserState(user, studied), db)
    return found


async def test_behavioural_triggers(db: AsyncSession) -> None:
    assert "reengagement" in await triggered(db, LOST)
    assert await triggered(db, STEADY) == ["nudge"]
    assert await triggered(db, STEADY, studied=True) == []
    assert "plateau Calculus 12" in await triggered(db, STUCK, studied=True)
    assert "refresh algebra" in await triggered(db, FADING, studied=True)
    assert [each for each in await triggered(db, NOBODY) if each != "nudge"] == []


# -- "Usage Examples" --------------------------------------------------------------------------------------


async def before_a_lesson(world: World, db: AsyncSession, score: float) -> dict[str, Any]:
    names = ("calc_basic_derivatives", "calc_integrals", "calc_adv_lesson_3", "calc_adv_lesson_4")
    await world.feed(
        completion(7, NOW - (9 - day) * DAY, name, score=score) for name in names for day in range(8)
    )
    example = defined("Example 1: Before Starting a Lesson", db=db, current_user=User(7))["example"]
    found: dict[str, Any] = await example()
    return found


async def test_example_1_offers_help_to_who_has_not_mastered_what_the_lesson_builds_on(
    world: World, db: AsyncSession
) -> None:
    found = await before_a_lesson(world, db, 0.1)
    assert set(found) == {"status", "message", "probability", "actions"}
    assert found["status"] == "help_offered"
    assert found["probability"] >= 0.6
    assert found["message"].endswith("?")
    rows = await world.rows("SELECT user_id, content_id, struggle_probability FROM struggle_predictions")
    assert rows == [(7, "calc_adv_lesson_5", found["probability"])]


async def test_example_1_lets_everyone_else_begin(world: World, db: AsyncSession) -> None:
    found = await before_a_lesson(world, db, 0.98)
    assert "status" not in found
    assert found["should_offer"] is False
    assert found["struggle_prob"] < 0.5


async def test_example_2_queues_for_who_is_at_risk_and_tells_the_educator_when_critical(
    db: AsyncSession,
) -> None:
    everyone = [User(user) for user in (LOST, STEADY, NOBODY)]

    async def get_active_users(_: AsyncSession) -> list[User]:
        return everyone

    queued, told = Called(), Called()
    space = defined(
        "Example 2: Daily Dropout Risk Check",
        db=db,
        get_active_users=get_active_users,
        queue_intervention=queued,
        notify_educator=told,
    )
    await space["check_dropout_risks"]()
    ((user, strategy),) = queued.calls
    assert (user, strategy["urgency"]) == (LOST, "critical")
    assert strategy["interventions"]
    ((user, score, factors),) = told.calls
    assert user == User(LOST)
    assert score > 0.7
    assert "infrequent_sessions" in factors


async def test_example_3_sends_in_the_peak_hour_and_plans_for_it_otherwise(
    db: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, planned = Called(), Called()
    space = defined(
        "Example 3: Optimal Timing for Push Notifications",
        db=db,
        send_push_notification=sent,
        schedule_for_later=planned,
    )
    await space["schedule_push_notification"](STEADY, "Time to study")
    assert (sent.calls, planned.calls) == ([(STEADY, "Time to study")], [])
    monkeypatch.setitem(space, "datetime", InTheMorning)
    await space["schedule_push_notification"](STEADY, "Time to study")
    ((user, message, at),) = planned.calls
    assert (user, message, at.hour) == (STEADY, "Time to study", 19)


class InTheMorning(StandingStill):
    """Ten hours earlier."""

    @classmethod
    def utcnow(cls) -> datetime:
        return datetime.fromtimestamp((NOW - 10 * HOUR) / 1000, UTC).replace(tzinfo=None)


@dataclass
class ApiClient:
    """The example's client: signed in as one learner, with the answer's fields as attributes."""

    client: httpx.AsyncClient
    user: int

    async def get(self, address: str) -> Any:
        response = await self.client.get(address, headers=ISSUER.learner(self.user))
        assert response.status_code == 200, response.text
        return json.loads(response.text, object_hook=lambda fields: SimpleNamespace(**fields))


async def test_example_4_shows_what_the_endpoint_says(
    world: World, database_url: str, tmp_path: Path
) -> None:
    await world.feed(
        completion(RUSTY, START + day * DAY, "algebra", score=0.8 * (day < 29)) for day in range(25, 31)
    )
    shown: list[tuple[Any, ...]] = []
    helpers = {name: partial(lambda *said: shown.append(said), name) for name in SHOWING}

    async def dashboard(user: int) -> dict[str, tuple[Any, ...]]:
        shown.clear()
        given = {"api_client": ApiClient(client, user)} | helpers
        await defined("Example 4: Comprehensive Dashboard", **given)["get_student_dashboard"](user)
        return {name: tuple(said) for name, *said in shown}

    async with serving(api_settings(database_url, tmp_path / "jwks.json", clock=iso(NOW))) as client:
        text, strategy = (await dashboard(LOST))["show_alert"]
        assert (text, strategy.urgency) == ("At risk of dropping out", "critical")
        assert strategy.interventions[0].title == "We miss you!"
        topic, suggested = (await dashboard(STUCK))["show_plateau_card"]
        assert topic == "Calculus"
        assert suggested
        assert (await dashboard(RUSTY))["show_review_reminder"] == ("algebra", 30)
        hours, days = (await dashboard(STEADY))["show_timing_suggestions"]
        assert hours == [19]
        assert len(days) == 3
        assert await dashboard(STEADY) == {"show_timing_suggestions": (hours, days)}


# -- "Unit Tests", "Background Jobs", "Query Optimization" ---------------------------------------------------


async def test_the_specifications_own_unit_tests(world: World, db: AsyncSession) -> None:
    numbers = iter(range(100, 200))

    async def create_test_user(_: AsyncSession) -> User:
        return User(next(numbers))

    async def set_mastery_levels(user: int, skills: list[str], level: float, _: AsyncSession) -> None:
        await world.feed(
            completion(user, NOW - (12 - turn) * HOUR, *skills, score=level * 1.05) for turn in range(12)
        )

    async def create_session_history(user: int, *, sessions_per_week: list[int], db: AsyncSession) -> None:
        await world.feed(
            session(user, NOW - (len(sessions_per_week) - week) * 7 * DAY + number * 7 * DAY // count)
            for week, count in enumerate(sessions_per_week)
            for number in range(count)
        )

    space = defined(
        "Unit Tests",
        create_test_user=create_test_user,
        set_mastery_levels=set_mastery_levels,
        create_session_history=create_session_history,
    )
    await space["test_predict_struggle_high_prereq_mastery"](db)
    await space["test_dropout_risk_declining_engagement"](db)


async def test_the_background_jobs_run(world: World) -> None:
    async def get_active_users(_: AsyncSession) -> list[User]:
        return [User(LOST), User(STEADY)]

    space = defined("Background Jobs", AsyncSessionLocal=world.session, get_active_users=get_active_users)
    await space["daily_dropout_check"]()
    await space["weekly_timing_update"]()

"""A model file of one's own: topics, Postgres and API say what it computes, and what the next one does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from lyo.models.arrays.coefficients import Hazard
from lyo.models.events.decode import milliseconds
from lyo.models.predictions.records import IDENTITY_FREE
from lyo.ops.doctor.examine import examine
from lyo.predictive.answers import answers, catalogue_cache
from lyo.streams import topics
from lyo.streams.settings import Settings
from tests.support.faults.agreement import newest
from tests.support.faults.deployment import QUICK, Deployment, deployed
from tests.support.faults.oracle import expect, settled
from tests.support.learners.fitted_hazards import model_file
from tests.support.learners.published import newest as newest_event
from tests.support.learners.published import simulated

pytestmark = pytest.mark.integration


async def risks(settings: Settings) -> dict[int, dict[str, Any]]:
    """The newest dropout risk of each learner on the topic."""
    found = await newest(settings, topics.names(settings).prediction("dropout-risk"))
    return {int(key): json.loads(value) for key, value in found.items()}


async def agrees(deployment: Deployment, events: Path, hazard: Hazard | None) -> None:
    """Topics and tables are those of a replay by these coefficients, and name them in every dropout risk."""
    expected = await asyncio.to_thread(expect, [events], newest_event([events]), hazard=hazard)
    report = await settled(expected, deployment.settings)
    assert report.clean, f"{report}"
    if hazard is not None:
        assert {one["model"] for one in (await risks(deployment.settings)).values()} == {hazard.model}


async def api_answers(settings: Settings) -> int:
    """Compare the API's answers as of the same moments with the topic; gives how many fields were alike."""
    engine = create_async_engine(settings.database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    compared = 0
    try:
        for user, record in (await risks(settings)).items():
            at = milliseconds(datetime.fromisoformat(record["as_of"]))
            async with AsyncSession(engine) as db:
                answer = await answers.dropout_risk(db, user_id=user, organization=None, at=at)
            same = (answer.keys() & record.keys()) - IDENTITY_FREE
            assert {name: answer[name] for name in same} == {name: record[name] for name in same}
            compared += len(same)
    finally:
        await engine.dispose()
    return compared


async def said_by_doctor(settings: Settings) -> tuple[str, str]:
    (found,) = [one for one in await examine(settings) if one.check == "predictions.model"]
    return found.status, found.found


async def test_a_fitted_model_is_served_everywhere_and_another_one_after_it(
    settings: Settings,
    environment: Callable[[Settings], dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = simulated(tmp_path / "events.jsonl", learners=20, days=30, seed=14)
    path = tmp_path / "model.json"
    first = model_file(path, 1.5)
    async with deployed(settings.model_copy(update=QUICK), environment, tmp_path) as deployment:
        fleet, settings = deployment.fleet, deployment.settings
        worker = fleet.add("worker-first", LYO_DROPOUT_MODEL=str(path))
        fleet.add("sink-only")
        await deployment.give(events)
        await deployment.quiet()
        await agrees(deployment, events, first)
        before = await risks(settings)

        monkeypatch.setenv("LYO_DROPOUT_MODEL", str(path))
        catalogue_cache.fitted.cache_clear()
        try:
            assert await api_answers(settings) > 300
            assert await said_by_doctor(settings.model_copy(update={"dropout_model": str(path)})) == (
                "ok",
                f"by {first.model}",
            )
            status, found = await said_by_doctor(settings)
            assert status == "warning"
            assert first.model in found
        finally:
            monkeypatch.delenv("LYO_DROPOUT_MODEL")
            catalogue_cache.fitted.cache_clear()

        await worker.stop()
        second = model_file(path, -1.5)
        worker = fleet.add("worker-second", LYO_DROPOUT_MODEL=str(path))
        await agrees(deployment, events, second)
        after = await risks(settings)
        known = [user for user, one in before.items() if one["probability_14d"] is not None]
        assert len(known) > 10
        assert all(after[user]["probability_14d"] < before[user]["probability_14d"] for user in known)

        await worker.stop()
        fleet.add("worker-third")
        await agrees(deployment, events, None)
        assert {one["model"] for one in (await risks(settings)).values()} == {"dropout-hazard-2"}
        await fleet.stop()

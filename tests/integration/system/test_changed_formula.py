"""A release with other formulas: topics, Postgres and API say afterwards what they compute."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from lyo.models.events.decode import milliseconds
from lyo.models.predictions.records import IDENTITY_FREE
from lyo.predictive.answers import answers
from lyo.streams import topics
from lyo.streams.settings import Settings
from tests.support.faults.agreement import newest
from tests.support.faults.deployment import QUICK, deployed
from tests.support.faults.oracle import expect, settled
from tests.support.learners.changed_formulas import changed
from tests.support.learners.published import newest as newest_event
from tests.support.learners.published import simulated
from tests.support.processes import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]
PROGRAM = "tests.support.learners.changed_formulas"


async def differing(settings: Settings) -> tuple[list[str], int]:
    """What the API answers otherwise than the topics as of the same moment, and how much was compared."""
    engine = create_async_engine(settings.database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    said: list[str] = []
    compared = 0
    try:
        for kind, function in (("dropout-risk", answers.dropout_risk), ("timing", answers.timing_profile)):
            topic = topics.names(settings).prediction(kind)
            for key, value in (await newest(settings, topic)).items():
                record: dict[str, Any] = json.loads(value)
                at = milliseconds(datetime.fromisoformat(record["as_of"]))
                async with AsyncSession(engine) as db:
                    answer = await function(db, user_id=int(key), organization=None, at=at)
                same = (answer.keys() & record.keys()) - IDENTITY_FREE
                said += [f"{kind} {key.decode()}: {name}" for name in same if answer[name] != record[name]]
                compared += len(same)
    finally:
        await engine.dispose()
    return said, compared


async def test_topics_postgres_and_api_say_what_the_changed_formulas_compute(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    events = simulated(tmp_path / "events.jsonl", learners=30, days=40, seed=14)
    async with deployed(settings.model_copy(update=QUICK), environment, tmp_path) as deployment:
        fleet, settings = deployment.fleet, deployment.settings
        worker, sink = fleet.add("worker-old"), fleet.add("sink-old")
        await deployment.give(events)
        report = await deployment.verdict()
        assert report.clean, f"before: {report}"
        with changed():
            expected = await asyncio.to_thread(expect, [events], newest_event([events]))
            report = await settled(expected, settings, seconds=0)
            assert report.predictions, "the changes change nothing: the test says nothing"
            wrong, _ = await differing(settings)
            assert wrong, "the API computes with the formulas of this process"
        await worker.stop()
        fleet.add("worker-new", program=PROGRAM, PYTHONPATH=str(ROOT))
        with changed():
            report = await settled(expected, settings, seconds=60)
            assert report.clean, f"changed: {report}"
            wrong, compared = await differing(settings)
            assert wrong == []
            assert compared > 500
        assert sink.alive, sink.tail()
        await fleet.stop()

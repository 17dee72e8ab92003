"""What `lyo demo` shows, read from real Postgres."""

from __future__ import annotations

import asyncpg
import pytest

from lyo.storage.database import plain_url
from lyo.storage.reads import queries
from lyo.storage.schema.migrate import upgrade
from lyo.storage.sink.offsets import Place, claim
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from tests.support.sink.records import (
    NAMES,
    Rec,
    dropout,
    plateau,
    prediction,
    regression,
    struggle,
    timing,
)

pytestmark = pytest.mark.integration


@pytest.fixture
async def filled(database_url: str) -> str:
    """A database with three learners; the second is worst off in everything."""
    upgrade(database_url)
    records: list[Rec] = []
    for user, score in ((1, 0.2), (2, 0.9), (3, 0.5)):
        resting = plateau(user)
        resting["episodes"][0]["is_active"] = user == 2
        fading = regression(user)
        fading["episodes"][0]["regression_amount"] = score
        for kind, record in (
            ("dropout-risk", dropout(user, risk_score=score)),
            ("timing", timing(user, confidence=score)),
            ("plateaus", resting),
            ("regressions", fading),
            ("struggle", struggle(user, struggle_probability=score)),
        ):
            records.append(prediction(kind, record, user))
    connection = await asyncpg.connect(plain_url(database_url))
    writer = Writer(NAMES, tenant_of)
    target = {Place(record.topic, 0): 9 for record in records}
    positions = await claim(connection, dict.fromkeys(target, 0))
    await writer.store(connection, writer.prepare(records), positions, target)
    await connection.close()
    return database_url


async def test_the_worst_off_come_first(filled: str) -> None:
    async with queries.reading(filled) as connection:
        risks = await queries.highest_risks(connection, 2)
        assert [row["user_id"] for row in risks] == [2, 3]
        assert risks[0]["factors"] == [{"name": "declining_engagement", "contribution": 0.12}]
        assert [row["user_id"] for row in await queries.timing_profiles(connection)] == [2, 3, 1]
        assert [row["user_id"] for row in await queries.active_plateaus(connection)] == [2]
        assert [row["user_id"] for row in await queries.regressions(connection)] == [2, 3, 1]
        assert [row["user_id"] for row in await queries.likely_struggles(connection, 1)] == [2]


async def test_the_tables_are_counted(filled: str) -> None:
    async with queries.reading(filled) as connection:
        assert await queries.counts(connection) == {
            "struggle_predictions": 3,
            "dropout_risk_scores": 3,
            "user_timing_profiles": 3,
            "learning_plateaus": 3,
            "skill_regressions": 3,
            "learner_rows": 0,
            "skill_rows": 0,
        }

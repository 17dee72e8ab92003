"""A few rows of each kind of prediction, and how many there are, for people to look at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import Select, exists, func, literal, select, union_all

from lyo.storage import database
from lyo.storage.schema.tables import (
    PREDICTION_TABLES,
    dropout_risk_scores,
    learner_rows,
    learning_plateaus,
    skill_regressions,
    skill_rows,
    struggle_predictions,
    user_timing_profiles,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Row: TypeAlias = dict[str, Any]

COUNTED: Final = (*PREDICTION_TABLES, learner_rows, skill_rows)


@asynccontextmanager
async def reading(database_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection for the functions below, closed afterwards.

    Raises:
        OSError, sqlalchemy.exc.SQLAlchemyError: Postgres cannot be reached, or refuses.
    """
    engine = database.engine(database_url)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def counts(connection: AsyncConnection) -> dict[str, int]:
    """The number of rows of each prediction table and of the tables of learners and skills, by table."""
    result = await connection.execute(
        union_all(*(select(literal(table.name), func.count()).select_from(table) for table in COUNTED))
    )
    by_name = {row[0]: row[1] for row in result}
    return {table.name: by_name[table.name] for table in COUNTED}


async def highest_risks(connection: AsyncConnection, limit: int = 5) -> list[Row]:
    """Learners most likely to drop out, with factors; among equals the higher confidence comes first."""
    table = dropout_risk_scores.c
    order = (table.risk_score.desc(), table.confidence.desc(), table.user_id)
    return await _rows(connection, select(dropout_risk_scores).order_by(*order).limit(limit))


async def timing_profiles(connection: AsyncConnection, limit: int = 5) -> list[Row]:
    """The timing profiles with the most data: by confidence, then by sessions."""
    table = user_timing_profiles.c
    order = (table.confidence.desc(), table.sessions_analyzed.desc(), table.user_id)
    return await _rows(connection, select(user_timing_profiles).order_by(*order).limit(limit))


async def active_plateaus(connection: AsyncConnection, limit: int = 5) -> list[Row]:
    """Active plateaus, the newest first."""
    table = learning_plateaus.c
    order = (table.detected_at.desc(), table.user_id, table.skill_id)
    wanted = select(learning_plateaus).where(table.is_active).order_by(*order)
    return await _rows(connection, wanted.limit(limit))


async def regressions(connection: AsyncConnection, limit: int = 5) -> list[Row]:
    """Active skill regressions, the largest loss first."""
    table = skill_regressions.c
    order = (table.regression_amount.desc(), table.user_id, table.skill_id)
    wanted = select(skill_regressions).where(table.is_active).order_by(*order)
    return await _rows(connection, wanted.limit(limit))


async def likely_struggles(connection: AsyncConnection, limit: int = 5) -> list[Row]:
    """Contents that learners asked about and are most likely to struggle with."""
    table = struggle_predictions.c
    order = (table.struggle_probability.desc(), table.confidence.desc(), table.user_id, table.content_id)
    later = struggle_predictions.alias()
    asked_again = exists().where(
        later.c.user_id == table.user_id,
        later.c.content_id == table.content_id,
        later.c.requested_at > table.requested_at,
    )
    wanted = select(struggle_predictions).where(~asked_again).order_by(*order)
    return await _rows(connection, wanted.limit(limit))


async def _rows(connection: AsyncConnection, wanted: Select[Any]) -> list[Row]:
    return [dict(row) for row in (await connection.execute(wanted)).mappings()]

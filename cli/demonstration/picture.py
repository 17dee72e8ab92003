"""What Postgres holds, as far as the demo shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import queries
from storage.queries import Row
from storage.tables import dropout_risk_scores, learning_plateaus, skill_regressions


@dataclass(frozen=True, slots=True)
class Picture:
    """A few rows of each kind of prediction, and how many there are."""

    counts: dict[str, int]
    levels: dict[str, int]  # learners by dropout risk level
    active_plateaus: int
    active_regressions: int
    risks: list[Row]
    timing: list[Row]
    plateaus: list[Row]
    regressions: list[Row]
    struggles: list[Row]


async def take(database_url: str) -> Picture:
    """Read it all. Raises OSError or SQLAlchemyError when Postgres is away."""
    async with queries.reading(database_url) as connection:
        risk = dropout_risk_scores.c.risk_level
        levels = await connection.execute(select(risk, func.count()).group_by(risk))
        return Picture(
            counts=await queries.counts(connection),
            levels={row[0]: row[1] for row in levels},
            active_plateaus=await _active(connection, learning_plateaus),
            active_regressions=await _active(connection, skill_regressions),
            risks=await queries.highest_risks(connection, 5),
            timing=await queries.timing_profiles(connection, 5),
            plateaus=await queries.active_plateaus(connection, 5),
            regressions=await queries.regressions(connection, 5),
            struggles=await queries.likely_struggles(connection, 5),
        )


async def newest_prediction(database_url: str) -> datetime | None:
    """The newest `as_of` of a dropout risk."""
    async with queries.reading(database_url) as connection:
        newest: datetime | None = await connection.scalar(select(func.max(dropout_risk_scores.c.as_of)))
        return newest


async def _active(connection: AsyncConnection, table: Table) -> int:
    wanted = select(func.count()).select_from(table).where(table.c.is_active)
    return await connection.scalar(wanted) or 0

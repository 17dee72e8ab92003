"""Reads from Postgres what the demo shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lyo.storage.reads import queries
from lyo.storage.reads.queries import Row
from lyo.storage.schema.tables import dropout_risk_scores, learning_plateaus, skill_regressions

ROWS = 5
HIGHEST = 3
PROFILES = 500  # read, to find some whose next time lies ahead


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


async def take(database_url: str, now: datetime) -> Picture:
    """Read it, as of `now`. Raises OSError or SQLAlchemyError if Postgres does not answer."""
    async with queries.reading(database_url) as connection:
        risk = dropout_risk_scores.c.risk_level
        levels = await connection.execute(select(risk, func.count()).group_by(risk))
        profiles = await queries.timing_profiles(connection, PROFILES)
        return Picture(
            counts=await queries.counts(connection),
            levels={row[0]: row[1] for row in levels},
            active_plateaus=await _active(connection, learning_plateaus),
            active_regressions=await _active(connection, skill_regressions),
            risks=await _risks(connection),
            timing=sorted(profiles, key=lambda row: _surest(row, now))[:ROWS],
            plateaus=await queries.active_plateaus(connection, ROWS)
            or await _newest(connection, learning_plateaus),
            regressions=await queries.regressions(connection, ROWS)
            or await _newest(connection, skill_regressions),
            struggles=await queries.likely_struggles(connection, ROWS),
        )


async def _risks(connection: AsyncConnection) -> list[Row]:
    """The highest risks, and of each other level the risk with the highest confidence."""
    rows = await queries.highest_risks(connection, HIGHEST)
    table = dropout_risk_scores.c
    for level in ("critical", "high", "medium", "low"):
        if level not in {row["risk_level"] for row in rows}:
            query = select(dropout_risk_scores).where(table.risk_level == level)
            result = await connection.execute(query.order_by(table.confidence.desc(), table.user_id).limit(1))
            rows += [dict(row) for row in result.mappings()]
    return rows


def _surest(row: Row, now: datetime) -> tuple[float, bool]:
    """Sort key: the highest confidence first, then those whose next time lies ahead."""
    at = row["recommended_time"]
    return -row["confidence"], at is None or at < now


async def newest_prediction(database_url: str) -> datetime | None:
    """The newest `as_of` of a dropout risk."""
    async with queries.reading(database_url) as connection:
        newest: datetime | None = await connection.scalar(select(func.max(dropout_risk_scores.c.as_of)))
        return newest


async def _active(connection: AsyncConnection, table: Table) -> int:
    query = select(func.count()).select_from(table).where(table.c.is_active)
    return await connection.scalar(query) or 0


async def _newest(connection: AsyncConnection, table: Table) -> list[Row]:
    """The newest episodes; used where none is active."""
    order = (table.c.detected_at.desc(), table.c.user_id, table.c.skill_id)
    result = await connection.execute(select(table).order_by(*order).limit(ROWS))
    return [dict(row) for row in result.mappings()]

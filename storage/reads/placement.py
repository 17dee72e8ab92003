"""Rows in Postgres that were written from another partition than their learner's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from lyo.models.events.identity import partitions
from lyo.storage.schema import tables
from lyo.storage.sink.merges import INTERVENTIONS, PLANS

__all__ = ["DERIVED", "LEARNERS", "astray"]

LEARNERS: Final = str(tables.learner_rows.name)
DERIVED: Final = (
    LEARNERS,
    *(str(table.name) for table in (tables.skill_rows, *(plan.table for plan in PLANS.values()))),
    str(INTERVENTIONS.table.name),
)
"""The tables of what workers compute."""
AT_ONCE: Final = 20_000


async def astray(connection: Any, count: int, names: Iterable[str] = DERIVED) -> dict[str, list[int]]:
    """The learners with such rows, by table; ``count``: the number of partitions.

    Raises:
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: Postgres is away, or refuses.
    """
    found: dict[str, list[int]] = {}
    async with connection.transaction(readonly=True):
        for name in names:
            sql = f"SELECT DISTINCT user_id, log_partition FROM {name} WHERE log_partition IS NOT NULL"
            cursor = await connection.cursor(sql)
            while rows := await cursor.fetch(AT_ONCE):
                right = partitions([b"%d" % row["user_id"] for row in rows], count).tolist()
                wrong = {
                    row["user_id"]
                    for row, home in zip(rows, right, strict=True)
                    if row["log_partition"] != home
                }
                if wrong:
                    found[name] = sorted({*found.get(name, ()), *wrong})
    return found

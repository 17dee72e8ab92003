"""What the sink's statements about erased learners do, for the database in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from lyo.storage.sink import (
    erasures,
)
from lyo.storage.sink.merges import Plan
from tests.support.simulation.database import Handler, Row, Session


async def _known(tx: Session, users: list[int]) -> list[Row]:
    found = ((user, tx.get("erasure_fences", (user,))) for user in users)
    return [{"user_id": user, **row} for user, row in found if row is not None]


async def _marker(
    tx: Session, users: list[int], tenants: list[int | None], erased: list[Any], epochs: list[Any]
) -> None:
    for user, tenant, erased_at, epoch in zip(users, tenants, erased, epochs, strict=True):
        await tx.lock("erasure_fences", (user,))
        old = tx.get("erasure_fences", (user,))
        row: Row = old or {"erased_at": erased_at, "epoch": epoch, "removed": {}, "topics": None}
        if old is not None and erased_at > old["erased_at"] and (epoch is None or epoch <= erased_at):
            row = {**row, "removed": {}, "topics": None}
        said = {
            "organization_id": row.get("organization_id") if tenant is None else tenant,
            "erased_at": max(row["erased_at"], erased_at),
            "epoch": max((one for one in (row["epoch"], epoch) if one is not None), default=None),
        }
        await tx.put("erasure_fences", (user,), {**row, **said})


async def _counted(tx: Session, users: list[int], names: list[str], counts: list[int]) -> None:
    for user, name, count in zip(users, names, counts, strict=True):
        await tx.lock("erasure_fences", (user,))
        row = tx.get("erasure_fences", (user,))
        if row is not None:
            removed = {**row["removed"], name: row["removed"].get(name, 0) + count}
            await tx.put("erasure_fences", (user,), {**row, "removed": removed})


async def _mark(
    tx: Session, users: list[int], erased: list[Any], done: list[Any], removed: list[str]
) -> None:
    for user, erased_at, _done_at, said in zip(users, erased, done, removed, strict=True):
        await tx.lock("erasure_fences", (user,))
        row = tx.get("erasure_fences", (user,))
        if row is not None and erased_at >= row["erased_at"] and row["topics"] is None:
            await tx.put("erasure_fences", (user,), {**row, "topics": said})


def _erase(table: str) -> Handler:
    async def erase(tx: Session, users: list[int], *_: Any) -> list[Row]:
        """Each row goes; one that another transaction is writing is waited for."""
        gone: Counter[int] = Counter()
        for key in [key for key in tx.rows(table) if key[0] in users]:
            await tx.lock(table, key)
            if tx.get(table, key) is not None:
                await tx.put(table, key, None)
                gone[key[0]] += 1
        return [{"user_id": user, "rows": count} for user, count in gone.items()]

    return erase


def erasure_statements(plans: Iterable[Plan]) -> dict[str, Handler]:
    """Every statement about erased learners, those about the tables of predictions by their plans."""
    found: dict[str, Handler] = {
        erasures._KNOWN_SQL: _known,
        erasures._PUT_SQL: _marker,
        erasures._COUNT_SQL: _counted,
        erasures._MARK_SQL: _mark,
    }
    found |= {erasures._plain_sql(table): _erase(table) for table in erasures.PLAIN}
    return found | {erasures._told_sql(plan): _erase(plan.table.name) for plan in plans}

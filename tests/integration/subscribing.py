"""A subscriber for tests: what it was told, and whether that is what the tables say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import asyncpg
import orjson

from storage.changes import Change
from storage.database import plain_url
from storage.sources import sources
from storage.subscription import Subscription

Told = dict[str, Any]
"""A change as its JSON object."""
View = dict[tuple[str, int], Any]


def told(change: Change) -> Told:
    """The change as `lyo subscribe` prints it."""
    return dict(orjson.loads(change.json()))


async def take(changes: Subscription, count: int) -> list[Told]:
    """The next changes."""
    return [told(await anext(changes)) for _ in range(count)]


async def all_stored(url: str, after: str | None = None, **more: Any) -> list[Told]:
    """Everything that is stored after a cursor."""
    async with Subscription(url, after, once=True, **more) as changes:
        return [told(change) async for change in changes]


def view(changes: Iterable[Told]) -> View:
    """The rows that a subscriber holds who does what it is told."""
    rows: View = {}
    for change in changes:
        match change["operation"]:
            case "reset":
                rows.clear()
            case "removed":
                rows.pop((change["kind"], change["key"]["id"]), None)
            case _:
                rows[change["kind"], change["key"]["id"]] = change["row"]
    return rows


DERIVED = {
    "actual_struggled",
    "actual_outcome_at",
    "intervention_offered",
    "intervention_accepted",
    "strategy_executed",
    "strategy_executed_at",
    "user_returned",
    "returned_at",
    "intervention_taken",
    "reminder_sent",
    "reminder_sent_at",
    "user_reviewed",
    "reviewed_at",
}
"""Outcome columns: what changes them is an outcome, not the kind's own topic."""


def without_outcomes(rows: View) -> View:
    return {
        key: {name: value for name, value in row.items() if name not in DERIVED} for key, row in rows.items()
    }


async def in_tables(url: str) -> View:
    """The rows that there are."""
    connection = await asyncpg.connect(plain_url(url), server_settings={"timezone": "UTC"})
    try:
        return {
            (source.kind, row["id"]): orjson.loads(row["body"])
            for source in sources().values()
            for row in await connection.fetch(
                f"SELECT id, row_to_json(t)::text AS body FROM {source.table.name} t "
                "WHERE log_partition IS NOT NULL"
            )
        }
    finally:
        await connection.close()


def in_order(changes: Iterable[Told]) -> bool:
    """Whether each partition of each kind came in order, and nothing twice."""
    last: dict[tuple[str, int], tuple[int, bool, int]] = {}
    for change in changes:
        if change["operation"] == "reset":
            last.clear()
            continue
        place = (change["kind"], change["log_partition"])
        # Removals are numbered on their own.
        number = 0 if change["operation"] == "removed" else change["key"]["id"]
        here = (change["log_offset"], change["operation"] == "changed", number)
        if place in last and not (here > last[place] or (here == last[place] and number == 0)):
            return False
        last[place] = here
    return True

"""Retention: deletes old sent rows of the outbox, and old records of removed rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

_SENT_SQL: Final = "DELETE FROM outbox WHERE sent_at < now() - $1::interval"

# One hour later than the newest deleted record: a removal has the time at which its transaction began, but
# becomes visible at its end. Older cursors get a reset.
_REMOVED_SQL: Final = """
WITH gone AS (DELETE FROM removed_rows WHERE removed_at < now() - $1::interval RETURNING removed_at),
     newest AS (SELECT max(removed_at) + interval '1 hour' AS at FROM gone)
UPDATE stream_epoch SET forgotten_before = greatest(forgotten_before, newest.at)
FROM newest WHERE newest.at IS NOT NULL
"""


async def forget(connection: Any, *, outbox_days: int, removed_days: int) -> None:
    """Delete rows that are older than so many days."""
    await connection.execute(_SENT_SQL, timedelta(days=outbox_days))
    await connection.execute(_REMOVED_SQL, timedelta(days=removed_days))

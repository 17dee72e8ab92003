"""Retention: deletes old sent rows of the outbox, removed rows' records, and old struggle predictions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from lyo.storage.sink.offsets import lock

_SENT_SQL: Final = "DELETE FROM outbox WHERE sent_at < now() - $1::interval"

# One hour later than the newest deleted record: a removal has the time at which its transaction began, but
# becomes visible at its end. Older cursors get a reset.
_REMOVED_SQL: Final = """
WITH gone AS (DELETE FROM removed_rows WHERE removed_at < now() - $1::interval RETURNING removed_at),
     newest AS (SELECT max(removed_at) + interval '1 hour' AS at FROM gone)
UPDATE stream_epoch SET forgotten_before = greatest(forgotten_before, newest.at)
FROM newest WHERE newest.at IS NOT NULL
"""

# The newest question about a content stays: it is the topic's current value.
_OLD_SQL: Final = """
SELECT t.id, t.log_partition FROM struggle_predictions t
WHERE t.predicted_at < now() - $1::interval AND EXISTS (
    SELECT 1 FROM struggle_predictions n WHERE n.user_id = t.user_id AND n.content_id = t.content_id
        AND (n.requested_at, n.request_id) > (t.requested_at, t.request_id))
ORDER BY t.predicted_at LIMIT $2
"""
# A removal gets the offset of the topic's next record, which no cursor has passed yet.
_OLD_GONE_SQL: Final = """
WITH gone AS (DELETE FROM struggle_predictions t WHERE t.id = ANY($1::int8[]) RETURNING *)
INSERT INTO removed_rows (topic, user_id, organization_id, key, log_partition, log_offset)
SELECT $2::text, g.user_id, g.organization_id,
    jsonb_build_object('user_id', g.user_id, 'content_id', g.content_id, 'request_id', g.request_id,
                       'id', g.id),
    g.log_partition, coalesce(s.next_offset, 0)
FROM gone g LEFT JOIN sink_offsets s ON s.topic = $2::text AND s.partition = g.log_partition
WHERE g.log_partition IS NOT NULL ORDER BY g.log_partition, g.id
"""
# An outcome stays as long as the question that it settles.
_OUTCOMES_SQL: Final = """
DELETE FROM content_outcomes o WHERE o.occurred_at < now() - $1::interval AND NOT EXISTS (
    SELECT 1 FROM struggle_predictions t WHERE t.user_id = o.user_id AND t.content_id = o.content_id
        AND (t.requested_at IS NULL OR t.requested_at <= o.occurred_at))
"""
_PIECE: Final = 10_000


async def forget(connection: Any, *, outbox_days: int, removed_days: int) -> None:
    """Delete rows that are older than so many days."""
    await connection.execute(_SENT_SQL, timedelta(days=outbox_days))
    await connection.execute(_REMOVED_SQL, timedelta(days=removed_days))


async def forget_struggles(connection: Any, *, days: int, topic: str, piece: int = _PIECE) -> int:
    """Delete answers older than so many days, with their outcomes; gives how many answers.

    The answer to the newest question about a content stays. Subscribers of ``topic`` are told. No transaction
    deletes more than ``piece`` answers, since the sink waits for it.
    """
    older, count = timedelta(days=days), 0
    while rows := await connection.fetch(_OLD_SQL, older, piece):
        numbers = {row["log_partition"] for row in rows if row["log_partition"] is not None}
        async with connection.transaction():
            await lock(connection, numbers)
            await connection.execute(_OLD_GONE_SQL, [row["id"] for row in rows], topic)
        count += len(rows)
    await connection.execute(_OUTCOMES_SQL, older)
    return count

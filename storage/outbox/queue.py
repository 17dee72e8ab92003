"""The outbox: events to be sent to the topics, written in the same transaction as the rows they belong to.

The sink process sends them (`lyo.storage.outbox.relay`), so the writer needs only Postgres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ARRAY, BigInteger, LargeBinary, String, bindparam, text

from lyo.storage.reads.queries import Row
from lyo.storage.schema.tables import outbox
from lyo.storage.sink.erasures import CLOSED

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

__all__ = ["CHANNEL", "INTO", "Outgoing", "add", "newest"]

CHANNEL: Final = "lyo_outbox"
"""The channel that the table's trigger notifies at the commit."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event: its full topic name, its learner, and its UTF-8 JSON."""

    topic: str
    user_id: int
    value: bytes
    organization_id: int | None = None


INTO: Final = f"INSERT INTO {outbox.name} (organization_id, topic, key, partition_key, value)"

_ADD: Final = text(
    f"""
{INTO}
SELECT organization_id, topic, user_id::text, user_id::text, value
FROM unnest(:organizations, :topics, :users, :events)
    WITH ORDINALITY AS n(organization_id, topic, user_id, value, place)
-- Events of an erased learner are not stored anywhere, not even here.
WHERE n.topic LIKE '%erasures' OR NOT EXISTS (
    SELECT 1 FROM erasure_fences f WHERE f.user_id = n.user_id AND {CLOSED})
ORDER BY place
RETURNING id
"""
).bindparams(
    bindparam("organizations", type_=ARRAY(BigInteger)),
    bindparam("topics", type_=ARRAY(String)),
    bindparam("users", type_=ARRAY(BigInteger)),
    bindparam("events", type_=ARRAY(LargeBinary)),
)

_NEWEST: Final = text(
    f"""
SELECT value, created_at, sent_at FROM {outbox.name}
WHERE topic = :topic AND key = :key
  AND (CAST(:organization AS int8) IS NULL OR organization_id = :organization)
ORDER BY id DESC LIMIT 1
"""
)


async def add(db: AsyncConnection | AsyncSession, rows: Sequence[Outgoing]) -> int:
    """Write events in order, in the caller's transaction; gives how many, without those of the erased."""
    if not rows:
        return 0
    values: Mapping[str, Any] = {
        "organizations": [row.organization_id for row in rows],
        "topics": [row.topic for row in rows],
        "users": [row.user_id for row in rows],
        "events": [row.value for row in rows],
    }
    return len((await db.execute(_ADD, values)).all())


async def newest(
    db: AsyncConnection | AsyncSession, topic: str, user_id: int, organization: int | None
) -> Row | None:
    """The newest event of a learner for a topic: value, created_at, sent_at; of one organization if given."""
    wanted = {"topic": topic, "key": str(user_id), "organization": organization}
    row = (await db.execute(_NEWEST, wanted)).mappings().first()
    return None if row is None else dict(row)

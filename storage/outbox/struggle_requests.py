"""Struggle predictions that the API makes: stored at once, before the question has gone through the log.

The question goes into the outbox by the same statement, so neither is ever there without the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, LargeBinary, String, bindparam, select, text

from lyo.storage.outbox.queue import INTO, Outgoing
from lyo.storage.reads.queries import Row
from lyo.storage.schema.tables import struggle_predictions
from lyo.storage.sink import erasures
from lyo.storage.sink.merges import PLANS, fields_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

__all__ = ["Written", "spare_id", "stored", "write"]

_PLAN: Final = PLANS["struggle"]
_FROM_LOG: Final = {"log_partition": "NULL", "log_offset": "NULL"}
_VALUES: Final = {name: _PLAN.computed.get(name, f"n.{name}") for name in _PLAN.written} | _FROM_LOG

# Nothing is stored of an erased learner.
_KNOWN: Final = (
    f"NOT EXISTS (SELECT 1 FROM erasure_fences f WHERE f.user_id = n.user_id AND {erasures.CLOSED})"
)

# If the learner is known to be of this organization, a row of another one is a remnant.
_THEIRS: Final = (
    "EXISTS (SELECT 1 FROM learner_rows l "
    "WHERE l.user_id = n.user_id AND l.organization_id = n.organization_id)"
)

_WRITE: Final = text(
    f"""
WITH n AS (SELECT * FROM json_to_recordset(CAST(:records AS json)) AS n({fields_of(_PLAN)})),
known AS (
    SELECT max(t.id) FILTER (WHERE t.request_id = n.request_id
                             AND coalesce(t.organization_id = n.organization_id, true)) AS again,
        coalesce(bool_or(t.organization_id <> n.organization_id), false) AND NOT {_THEIRS} AS foreign
    FROM n LEFT JOIN struggle_predictions t ON t.user_id = n.user_id AND t.content_id = n.content_id
    GROUP BY n.user_id, n.organization_id
),
dropped AS (
    DELETE FROM struggle_predictions t USING n
    WHERE t.user_id = n.user_id AND t.content_id = n.content_id AND t.organization_id <> n.organization_id
        AND {_THEIRS}
),
made AS (
    INSERT INTO struggle_predictions ({", ".join(_VALUES)})
    SELECT {", ".join(_VALUES.values())} FROM n, known k WHERE k.again IS NULL AND NOT k.foreign AND {_KNOWN}
    ON CONFLICT (user_id, content_id, request_id) DO NOTHING
    RETURNING id
),
asked AS (
    {INTO}
    SELECT :organization, :topic, n.user_id::text, n.user_id::text, :question FROM n
    WHERE EXISTS (SELECT 1 FROM made)
)
SELECT coalesce(k.again, m.id) AS id, k.again IS NOT NULL AS again, k.foreign, NOT ({_KNOWN}) AS erased
FROM n CROSS JOIN known k LEFT JOIN made m ON true
"""
).bindparams(
    bindparam("organization", type_=BigInteger),
    bindparam("topic", type_=String),
    bindparam("question", type_=LargeBinary),
)
_SPARE: Final = text("SELECT nextval(pg_get_serial_sequence('struggle_predictions', 'id'))")
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Written:
    """The result of writing a prediction.

    Attributes:
        id: of the row of this question; a spare id if nothing may be written or shown.
        again: the question has been answered before, so nothing was written.
        foreign: another organization has asked about this learner and content, and the learner is not known
            to be of this one, so nothing was written.
        erased: the learner is erased, so nothing was written.
    """

    id: int
    again: bool = False
    foreign: bool = False
    erased: bool = False


async def write(db: AsyncSession, record: bytes, question: Outgoing) -> Written:
    """Store a struggle record as on its topic, and put the request that it answers into the outbox.

    If the record is not written, the request is not sent.
    """
    values = {
        "records": f"[{record.decode()}]",
        "organization": question.organization_id,
        "topic": question.topic,
        "question": question.value,
    }
    for _ in range(_ATTEMPTS):
        row = (await db.execute(_WRITE, values)).mappings().one()
        if row["erased"]:
            return Written(await spare_id(db), erased=True)
        if row["foreign"]:
            return Written(await spare_id(db), foreign=True)
        if row["id"] is not None:
            return Written(row["id"], row["again"])
        # Another transaction has just inserted the row, or this one has dropped it: the next attempt sees it.
    raise RuntimeError("a struggle prediction's row appears and disappears")


async def stored(db: AsyncSession, number: int) -> Row:
    """The stored prediction of this id."""
    result = await db.execute(select(struggle_predictions).where(struggle_predictions.c.id == number))
    return dict(result.mappings().one())


async def spare_id(db: AsyncSession) -> int:
    """An id that no row will ever have, for answers whose row may not be written or shown."""
    number: int = (await db.execute(_SPARE)).scalar_one()
    return number

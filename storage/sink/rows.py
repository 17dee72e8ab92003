"""Stores the changelogs and the catalogue in Postgres, so that the API computes without Kafka."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from lyo.models.events.decode import Content, EventError, Organization, decode_content, decode_organization
from lyo.models.state.layout import LAYOUTS, LayoutError, decode_learners
from lyo.storage.sink.records import Item, newest
from lyo.storage.times import instant

if TYPE_CHECKING:
    from lyo.storage.sink.records import Record

_STALE: Final = "(t.log_partition IS DISTINCT FROM {0}.log_partition OR t.log_offset < {0}.log_offset)"
_NEWER: Final = _STALE.format("excluded")

LEARNERS_SQL: Final = f"""
INSERT INTO learner_rows AS t (user_id, organization_id, row, log_partition, log_offset,
    total_sessions, avg_duration, last_session)
SELECT * FROM unnest($1::int8[], $2::int8[], $3::bytea[], $4::int4[], $5::int8[],
    $6::int8[], $7::float8[], $8::timestamptz[])
ON CONFLICT (user_id) DO UPDATE SET organization_id = excluded.organization_id, row = excluded.row,
    log_partition = excluded.log_partition, log_offset = excluded.log_offset,
    total_sessions = excluded.total_sessions, avg_duration = excluded.avg_duration,
    last_session = excluded.last_session
WHERE {_NEWER}
"""

# A skill's row does not name the learner's organization; the learner's row does.
SKILLS_SQL: Final = f"""
INSERT INTO skill_rows AS t (user_id, skill_id, organization_id, row, log_partition, log_offset)
SELECT n.user_id, n.skill_id, l.organization_id, n.row, n.log_partition, n.log_offset
FROM unnest($1::int8[], $2::text[], $3::bytea[], $4::int4[], $5::int8[])
    AS n(user_id, skill_id, row, log_partition, log_offset)
LEFT JOIN learner_rows l ON l.user_id = n.user_id
ON CONFLICT (user_id, skill_id) DO UPDATE SET organization_id = excluded.organization_id,
    row = excluded.row, log_partition = excluded.log_partition, log_offset = excluded.log_offset
WHERE {_NEWER}
"""

MOVED_SQL: Final = """
SELECT n.user_id FROM unnest($1::int8[], $2::int8[]) AS n(user_id, organization_id)
LEFT JOIN learner_rows l ON l.user_id = n.user_id
WHERE l.organization_id IS DISTINCT FROM n.organization_id
"""
SKILLS_TENANT_SQL: Final = """
UPDATE skill_rows s SET organization_id = l.organization_id FROM learner_rows l
WHERE s.user_id = ANY($1::int8[]) AND l.user_id = s.user_id
  AND s.organization_id IS DISTINCT FROM l.organization_id
"""

DELETE_LEARNERS_SQL: Final = f"""
DELETE FROM learner_rows t USING unnest($1::int8[], $2::int4[], $3::int8[])
    AS k(user_id, log_partition, log_offset)
WHERE t.user_id = k.user_id AND {_STALE.format("k")}
"""
DELETE_SKILLS_SQL: Final = f"""
DELETE FROM skill_rows t USING unnest($1::int8[], $2::text[], $3::int4[], $4::int8[])
    AS k(user_id, skill_id, log_partition, log_offset)
WHERE t.user_id = k.user_id AND t.skill_id = k.skill_id AND {_STALE.format("k")}
"""

CONTENTS_SQL: Final = f"""
INSERT INTO contents AS t (content_id, organization_id, document, log_partition, log_offset)
SELECT * FROM unnest($1::text[], $2::int8[], $3::jsonb[], $4::int4[], $5::int8[])
ON CONFLICT (content_id) DO UPDATE SET organization_id = excluded.organization_id,
    document = excluded.document, log_partition = excluded.log_partition, log_offset = excluded.log_offset
WHERE {_NEWER}
"""
ORGANIZATIONS_SQL: Final = f"""
INSERT INTO organizations AS t (organization_id, document, log_partition, log_offset)
SELECT * FROM unnest($1::int8[], $2::jsonb[], $3::int4[], $4::int8[])
ON CONFLICT (organization_id) DO UPDATE SET document = excluded.document,
    log_partition = excluded.log_partition, log_offset = excluded.log_offset
WHERE {_NEWER}
"""
DELETE_CONTENTS_SQL: Final = "DELETE FROM contents WHERE content_id = ANY($1::text[])"
DELETE_ORGANIZATIONS_SQL: Final = "DELETE FROM organizations WHERE organization_id::text = ANY($1::text[])"

_TENANT: Final = slice(9, 17)  # in every layout, see `models.state.learner.LEARNER`

TenantOf = Callable[[bytes], int | None]
"""Gives the organization in the bytes of a learner's row; None: none."""


def _places(items: Sequence[Item]) -> tuple[list[int], list[int]]:
    return [i.record.partition for i in items], [i.record.offset for i in items]


async def write_learners(connection: Any, items: Sequence[Item], tenant_of: TenantOf) -> None:
    """Store learners' rows; a tombstone deletes."""
    kept = [item for item in items if item.record.value is not None]
    gone = [item for item in items if item.record.value is None]
    if gone:
        await connection.execute(DELETE_LEARNERS_SQL, [item.user for item in gone], *_places(gone))
    if not kept:
        return
    users = [item.user for item in kept]
    rows = [item.record.value or b"" for item in kept]
    tenants = [tenant_of(row) for row in rows]
    moved = [row["user_id"] for row in await connection.fetch(MOVED_SQL, users, tenants)]
    await connection.execute(LEARNERS_SQL, users, tenants, rows, *_places(kept), *session_stats(rows))
    if moved:
        await connection.execute(SKILLS_TENANT_SQL, moved)


async def write_skills(connection: Any, items: Sequence[Item]) -> None:
    """Store skills' rows; a tombstone deletes."""
    kept = [item for item in items if item.record.value is not None]
    gone = [item for item in items if item.record.value is None]
    for statement, chosen, values in (
        (DELETE_SKILLS_SQL, gone, []),
        (SKILLS_SQL, kept, [[item.record.value for item in kept]]),
    ):
        if chosen:
            users, skills = [item.user for item in chosen], [item.subject for item in chosen]
            await connection.execute(statement, users, skills, *values, *_places(chosen))


def screen_contents(records: Sequence[Record]) -> tuple[list[tuple[Record, Content]], list[Record]]:
    """The newest record of each content, and the records whose keys are to be deleted."""
    return _screen(records, decode_content)


def screen_organizations(records: Sequence[Record]) -> tuple[list[tuple[Record, Organization]], list[Record]]:
    """The newest record of each organization, and the records whose keys are to be deleted."""
    return _screen(records, decode_organization)


def _screen(
    records: Sequence[Record], decode: Callable[[bytes | None, bytes], Any]
) -> tuple[list[tuple[Record, Any]], list[Record]]:
    kept: list[tuple[Record, Any]] = []
    gone: list[Record] = []
    for record in newest(records):
        try:
            if record.value is None:
                gone.append(record)
            else:
                kept.append((record, decode(record.key, record.value)))
        except EventError:
            # Compaction removes the record before it, so only a deletion gives the same after a rebuild.
            gone.append(record)
    return kept, gone


def _keys(records: Sequence[Record]) -> list[str]:
    return [(record.key or b"").decode(errors="replace") for record in records]


def document(content: Content | Organization) -> str:
    """The fields of the contract, as JSON; other fields stay in the log only."""
    return msgspec.json.encode(content).decode()


async def write_contents(connection: Any, records: Sequence[Record]) -> None:
    """Store contents of the catalogue; a tombstone or an unusable record deletes."""
    kept, gone = screen_contents(records)
    if gone:
        await connection.execute(DELETE_CONTENTS_SQL, _keys(gone))
    if kept:
        await connection.execute(
            CONTENTS_SQL,
            [content.content_id for _, content in kept],
            [content.organization_id for _, content in kept],
            [document(content) for _, content in kept],
            [record.partition for record, _ in kept],
            [record.offset for record, _ in kept],
        )


async def write_organizations(connection: Any, records: Sequence[Record]) -> None:
    """Store organizations; a tombstone or an unusable record deletes."""
    kept, gone = screen_organizations(records)
    if gone:
        await connection.execute(DELETE_ORGANIZATIONS_SQL, _keys(gone))
    if kept:
        await connection.execute(
            ORGANIZATIONS_SQL,
            [organization.organization_id for _, organization in kept],
            [document(organization) for _, organization in kept],
            [record.partition for record, _ in kept],
            [record.offset for record, _ in kept],
        )


def tenant_of(row: bytes) -> int | None:
    """The organization in the bytes of a learner's row; None for a layout that this version cannot read.

    Such bytes are stored nevertheless: a newer version reads them.
    """
    if len(row) < _TENANT.stop or row[0] not in LAYOUTS:
        return None
    return int.from_bytes(row[_TENANT], "little", signed=True) or None


def session_stats(
    values: list[bytes],
) -> tuple[list[int | None], list[float | None], list[datetime | None]]:
    """Of learners' rows the sessions, their mean minutes over the kept 90 days, and the end of the last one.

    None where there is no session, and for rows that this version cannot read.
    """
    try:
        rows = decode_learners(values)
    except LayoutError:
        if len(values) == 1:
            return [None], [None], [None]
        each = [session_stats([value]) for value in values]
        return (
            [total for (total,), _, _ in each],
            [mean for _, (mean,), _ in each],
            [last for _, _, (last,) in each],
        )
    started = rows["started"].sum(axis=1, dtype=np.int64)
    minutes = rows["minutes"].sum(axis=1, dtype=np.int64)
    means = minutes / np.maximum(started, 1)
    return (
        rows["sessions"].tolist(),
        [mean if count else None for mean, count in zip(means.tolist(), started.tolist(), strict=True)],
        [instant(last) if last >= 0 else None for last in rows["last_session"].tolist()],
    )

"""What answers about learners are computed from: a query for each table, for one learner or for many."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    String,
    bindparam,
    func,
    literal,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

from lyo.storage.reads.queries import Row
from lyo.storage.schema.tables import STREAM_TABLES, contents, erasure_fences, metadata, organizations, outbox
from lyo.storage.times import instant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

__all__ = [
    "Wanted",
    "catalogue",
    "erasure_marker",
    "learners",
    "remaining",
]

# Columns of the stored episodes that a learner's lookup includes.
_PLATEAU: Final = ("id", "skill_id", "detected_at", "intervention_taken")
_REGRESSION: Final = (
    "id",
    "skill_id",
    "detected_at",
    "reminder_sent",
    "reminder_sent_at",
    "user_reviewed",
    "reviewed_at",
)


def _rows(columns: Sequence[str]) -> str:
    return f"array_agg(ROW({', '.join(f'e.{column}' for column in columns)}))"


# If no learner is known the result is one row of nulls with the stamp. For a learner of another organization
# only `foreign` is set.
_LEARNERS: Final = text(
    f"""
SELECT s.stamp, s.complete_until AS all_complete_until, l.complete_until,
    l.place, l.user_id, l.mine, l.foreign, CASE WHEN l.mine THEN l.row END AS row,
    CASE WHEN l.mine THEN l.organization_id END AS organization_id,
    d.strategy_executed, d.strategy_executed_at, d.user_returned, d.returned_at,
    EXISTS (SELECT 1 FROM struggle_predictions q WHERE q.user_id = l.user_id AND q.log_partition IS NULL
        AND q.requested_at BETWEEN l.now - interval '24 hours' AND l.now - interval '1 minute'
        -- Of a content the stream answers the newest question only.
        AND NOT EXISTS (SELECT 1 FROM struggle_predictions a WHERE a.user_id = q.user_id
            AND a.content_id = q.content_id AND a.requested_at > q.requested_at)) AS unanswered,
    k.names AS skill_names, k.rows AS skill_rows, p.episodes AS plateaus, g.episodes AS regressions
FROM (
    SELECT string_agg(concat_ws(' ', topic, next_offset, epoch), ' ' ORDER BY topic) AS stamp,
        (SELECT min(complete_until) FROM watermarks) AS complete_until
    FROM sink_offsets WHERE topic = ANY(:topics)
) s
LEFT JOIN (
    SELECT a.place - 1 AS place, a.now, a.with_skills, r.user_id, r.organization_id, r.row,
        w.complete_until,
        a.organization IS NULL OR r.organization_id IS NOT DISTINCT FROM a.organization
            OR a.own AND r.organization_id IS NULL AS mine,
        coalesce(r.organization_id <> a.organization, false) AS foreign
    FROM unnest(:users, :organizations, :moments, :skills, :own)
        WITH ORDINALITY AS a (user_id, organization, now, with_skills, own, place)
    JOIN learner_rows r ON r.user_id = a.user_id
    LEFT JOIN watermarks w ON w.partition = r.log_partition
) l ON true
LEFT JOIN dropout_risk_scores d ON d.user_id = l.user_id AND l.mine
LEFT JOIN LATERAL (
    SELECT array_agg(r.skill_id) AS names, array_agg(r.row) AS rows
    FROM skill_rows r WHERE r.user_id = l.user_id AND l.mine AND l.with_skills
) k ON true
LEFT JOIN LATERAL (
    SELECT {_rows(_PLATEAU)} AS episodes
    FROM learning_plateaus e WHERE e.user_id = l.user_id AND l.mine AND l.with_skills
) p ON true
LEFT JOIN LATERAL (
    SELECT {_rows(_REGRESSION)} AS episodes
    FROM skill_regressions e WHERE e.user_id = l.user_id AND l.mine AND l.with_skills
) g ON true
"""
).bindparams(
    bindparam("topics", type_=ARRAY(String)),
    bindparam("users", type_=ARRAY(BigInteger)),
    bindparam("organizations", type_=ARRAY(BigInteger)),
    bindparam("moments", type_=ARRAY(TIMESTAMP(timezone=True))),
    bindparam("skills", type_=ARRAY(Boolean)),
    bindparam("own", type_=ARRAY(Boolean)),
)

_CATALOGUE: Final = text(
    f"""
SELECT 'content' AS kind, content_id AS key, document::text AS document FROM {contents.name}
WHERE CAST(:contents_from AS int8) IS NULL OR log_offset >= :contents_from OR log_offset IS NULL
UNION ALL
SELECT 'organization', organization_id::text, document::text FROM {organizations.name}
WHERE CAST(:organizations_from AS int8) IS NULL OR log_offset >= :organizations_from OR log_offset IS NULL
UNION ALL
SELECT '', 'counts',
    (SELECT count(*) FROM {contents.name}) || ' ' || (SELECT count(*) FROM {organizations.name})
"""
)


class Wanted(NamedTuple):
    """A learner to look up: for which tenant (None: any), at what time (ms), with skills or not.

    Attributes:
        own: the caller is the learner, who may also see a row without an organization; a tenant may not.
    """

    user_id: int
    organization: int | None
    now: int
    skills: bool = False
    own: bool = False


class Found(NamedTuple):
    """The result of a lookup.

    Attributes:
        stamp: changes with every change of the catalogue's topics.
        complete_until: everything published up to then is in the tables; None: unknown.
        rows: of the learners.
    """

    stamp: str
    complete_until: datetime | None
    rows: list[Row]


async def learners(db: AsyncSession, wanted: Sequence[Wanted], topics: Sequence[str]) -> Found:
    """Learners' rows, the outcomes of their dropout risks, and up to when the rows are complete.

    `place` is the index of the wanted learner; unknown learners have no row. A learner of another
    organization has `foreign` true and `mine` false, a learner of no organization has `mine` false; nothing
    else of these rows may be used. `unanswered`: a request between a minute and a day before `now` has not
    come back through Kafka. With skills, a row has `skill_names` and `skill_rows` of the same length (None if
    there are none), and ids and outcomes of its stored `plateaus` and `regressions`.
    """
    result = await db.execute(
        _LEARNERS,
        {
            "topics": list(topics),
            "users": [learner.user_id for learner in wanted],
            "organizations": [learner.organization for learner in wanted],
            "moments": [instant(learner.now) for learner in wanted],
            "skills": [learner.skills for learner in wanted],
            "own": [learner.own for learner in wanted],
        },
    )
    rows = [dict(row) for row in result.mappings()]
    for row in rows:
        for name, columns in (("plateaus", _PLATEAU), ("regressions", _REGRESSION)):
            row[name] = [dict(zip(columns, episode, strict=True)) for episode in row[name] or ()]
    of_all = rows[0]
    known = [row for row in rows if row["user_id"] is not None]
    return Found(of_all["stamp"] or "", of_all["all_complete_until"], known)


async def catalogue(
    db: AsyncSession, contents_from: int | None, organizations_from: int | None
) -> tuple[list[tuple[str, str, bytes]], tuple[int, int]]:
    """Contents and organizations from these offsets of their topics on, or all if None.

    Gives kind, key and JSON of each, and the total numbers of contents and organizations.
    """
    positions = {"contents_from": contents_from, "organizations_from": organizations_from}
    rows = (await db.execute(_CATALOGUE, positions)).all()
    counts = next(document for kind, _, document in rows if not kind).split()
    records = [(kind, key, document.encode()) for kind, key, document in rows if kind]
    return records, (int(counts[0]), int(counts[1]))


_MARKER: Final = text(
    """
SELECT erased_at, epoch, stored_at, removed, topics_at, topics FROM erasure_fences
WHERE user_id = :user AND (CAST(:organization AS int8) IS NULL OR organization_id = :organization)
"""
)


async def erasure_marker(db: AsyncSession, user_id: int, organization: int | None) -> Row | None:
    """An erased learner's marker, with what was removed and when."""
    result = await db.execute(_MARKER, {"user": user_id, "organization": organization})
    row = result.mappings().first()
    return None if row is None else dict(row)


async def remaining(db: AsyncSession, user_id: int, aside: str) -> dict[str, int]:
    """How many rows each table still holds of a learner.

    Not counted are outbox rows of the topic `aside`, the keys that tell subscribers what to delete, and the
    erasure marker.
    """
    queries = []
    for table in metadata.sorted_tables:
        if table in (*STREAM_TABLES, erasure_fences):
            continue
        owner = table.c.get("user_id")
        wanted = select(literal(table.name), func.count())
        if owner is not None:
            wanted = wanted.where(owner == user_id)
        elif table is outbox:
            wanted = wanted.where(table.c.key == str(user_id), table.c.topic != aside)
        else:
            continue
        queries.append(wanted)
    counts: dict[str, Any] = {name: count for name, count in await db.execute(union_all(*queries)) if count}
    return counts

"""Reads for the learner's page besides ``/insights``: a learner's rows, organization and skill names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import ARRAY, BigInteger, String, Text, bindparam, cast, select, text

from lyo.storage.schema.tables import contents, learner_rows, organizations, skill_rows

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

__all__ = ["StoredLearner", "learner", "skill_names", "skills"]

_l, _o, _s = learner_rows.c, organizations.c, skill_rows.c

# A caller without a tenant sees all learners; a caller with a tenant sees that tenant's learners.
_MINE: Final = text(
    "(CAST(:organization AS int8) IS NULL OR learner_rows.organization_id IS NOT DISTINCT FROM :organization)"
).bindparams(bindparam("organization", type_=BigInteger))

_LEARNER: Final = (
    select(_l.row, _l.organization_id, cast(_o.document, Text))
    .select_from(learner_rows.outerjoin(organizations, _o.organization_id == _l.organization_id))
    .where(_l.user_id == bindparam("user_id"), _MINE)
)
_SKILLS: Final = (
    select(_s.skill_id, _s.row)
    .join(learner_rows, _l.user_id == _s.user_id)
    .where(_s.user_id == bindparam("user_id"), _MINE)
    .order_by(_s.skill_id)
)
# As in `models.state.catalogue`: of all contents that teach a skill, the one with the smallest id gives its
# name, and only to callers who may see the content.
_NAMES: Final = text(
    f"""
SELECT skill, name FROM (
    SELECT DISTINCT ON (skill) skill, c.organization_id, c.document->'skill_names'->>skill AS name
    FROM {contents.name} c, jsonb_array_elements_text(c.document->'skills') AS skill
    WHERE skill = ANY(:skills)
    ORDER BY skill, c.content_id COLLATE "C"
) speaking
WHERE name <> '' AND (organization_id IS NULL OR organization_id = :organization)
"""
).bindparams(bindparam("skills", type_=ARRAY(String)), bindparam("organization", type_=BigInteger))


class StoredLearner(NamedTuple):
    """A LEARNER row as stored, the learner's organization, and the organization's record as JSON."""

    row: bytes
    organization: int | None
    organization_record: str | None


async def learner(db: AsyncSession, user_id: int, organization: int | None) -> StoredLearner | None:
    """The learner's row; None if nothing is stored, or if the learner is of another organization."""
    row = (await db.execute(_LEARNER, {"user_id": user_id, "organization": organization})).first()
    return None if row is None else StoredLearner(*row)


async def skills(db: AsyncSession, user_id: int, organization: int | None) -> tuple[tuple[str, bytes], ...]:
    """Skill ids and SKILL rows as stored, by id; none for a learner of another organization."""
    rows = await db.execute(_SKILLS, {"user_id": user_id, "organization": organization})
    return tuple((skill, row) for skill, row in rows)


async def skill_names(db: AsyncSession, ids: Sequence[str], organization: int | None) -> dict[str, str]:
    """Names of skills in the catalogue, for learners of an organization; those without one are left out."""
    if not ids:
        return {}
    rows = await db.execute(_NAMES, {"skills": list(ids), "organization": organization})
    return {row.skill: row.name for row in rows}

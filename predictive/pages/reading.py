"""Everything for one page, from Postgres alone: three queries besides those of ``/insights``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import UTC
from models.layout import decode_learners
from models.zones import known
from predictive.pages.view import PageData, ZoneSource
from storage import pages

__all__ = ["read_page"]


async def read_page(
    db: AsyncSession, user_id: int, organization: int | None, at: int, said: Mapping[str, Any]
) -> PageData:
    """What a learner's page is made of, as of an instant in ms.

    Args:
        db: a session.
        user_id: the learner.
        organization: the tenant that the reader is restricted to; None for one who may see all.
        at: the moment to show.
        said: what ``/insights`` answers.

    Raises:
        models.layout.LayoutError: a stored row that this version cannot read.
        sqlalchemy.exc.SQLAlchemyError, OSError: Postgres refuses, or cannot be reached.
    """
    learner = await pages.learner(db, user_id, organization)
    if learner is None:
        return PageData(user_id, at, said)
    skills = await pages.skills(db, user_id, organization)
    names = await pages.skill_names(db, [skill for skill, _ in skills], learner.organization)
    name, source = _zone(learner)
    return PageData(user_id, at, said, learner.row, skills, names, name, source)


def _zone(learner: pages.StoredLearner) -> tuple[str, ZoneSource]:
    """The learner's own zone, else the organization's, else UTC, as predictions are made with."""
    own = bytes(decode_learners([learner.row])["zone"][0]).decode()
    for name, source in ((own, "learner"), (learner.organization_zone, "organization")):
        if name and known(name):
            return name, source
    return UTC, "default"

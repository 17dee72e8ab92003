"""Reads from Postgres what a page needs beyond the answer of ``/insights``, in three queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.arrays.zones import known
from lyo.models.events.decode import Kind
from lyo.models.predictions.compute import quiet_hours_of
from lyo.models.state.catalogue import UTC, Catalogue
from lyo.models.state.layout import decode_learners
from lyo.predictive.page.view import PageData, ZoneSource
from lyo.storage.reads import learner_page

__all__ = ["read_page"]


async def read_page(
    db: AsyncSession, user_id: int, organization: int | None, at: int, insights: Mapping[str, Any]
) -> PageData:
    """What a learner's page is made of, as of an instant in ms.

    Args:
        db: a session.
        user_id: the learner.
        organization: the tenant that the reader is restricted to; None for one who may see all.
        at: the moment to show.
        insights: the answer of ``/insights``.

    Raises:
        lyo.models.state.layout.LayoutError: a stored row that this version cannot read.
        sqlalchemy.exc.SQLAlchemyError, OSError: Postgres refuses, or cannot be reached.
    """
    learner = await learner_page.learner(db, user_id, organization)
    if learner is None:
        return PageData(user_id, at, insights)
    skills = await learner_page.skills(db, user_id, organization)
    names = await learner_page.skill_names(db, [skill for skill, _ in skills], learner.organization)
    row, catalogue = decode_learners([learner.row]), _catalogue(learner)
    name, source = _zone(row, catalogue)
    [start], [end] = (minutes.tolist() for minutes in quiet_hours_of(row, catalogue))
    return PageData(user_id, at, insights, learner.row, skills, names, name, source, (start, end))


def _catalogue(learner: learner_page.StoredLearner) -> Catalogue:
    """The part of the catalogue that the page needs: the learner's organization."""
    catalogue = Catalogue()
    if learner.organization_record is not None:
        key, record = str(learner.organization).encode(), learner.organization_record.encode()
        catalogue.put(Kind.ORGANIZATION, key, record)
    return catalogue


def _zone(row: NDArray[np.void], catalogue: Catalogue) -> tuple[str, ZoneSource]:
    """The zone that predictions use, and whose it is: the learner's, else the organization's, else UTC."""
    own = bytes(row["zone"][0]).decode()
    if own and known(own):
        return own, "learner"
    organization = catalogue.organizations.get(int(row["organization"][0]))
    if organization is None or organization.timezone is None:
        return UTC, "default"
    return organization.timezone, "organization"

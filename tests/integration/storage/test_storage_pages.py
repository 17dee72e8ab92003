"""What the page reads of real Postgres: one learner of one tenant, the zone, and names of skills."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.pool import NullPool

from lyo.models.events.decode import Kind
from lyo.predictive.page.reading import read_page
from lyo.storage import database
from lyo.storage.database import plain_url
from lyo.storage.reads import learner_page
from lyo.storage.schema.migrate import upgrade
from lyo.storage.sink.offsets import Place, claim
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from tests.support.learners.building import START, Sent, catalogue, completion, preferences, run, stored
from tests.support.sink.records import NAMES, Rec

pytestmark = pytest.mark.integration

CONTENTS: tuple[dict[str, Any], ...] = (
    {"content_id": "b", "skills": ["algebra"], "skill_names": {"algebra": "Later algebra"}},
    {"content_id": "a", "skills": ["algebra", "roots"], "skill_names": {"algebra": "Algebra"}},
    {"content_id": "c", "skills": ["secret"], "skill_names": {"secret": "Of seven"}, "organization_id": 7},
    {"content_id": "D", "skills": ["case"], "skill_names": {"case": "Capital"}},
    {"content_id": "d", "skills": ["case"], "skill_names": {"case": "Small"}},
)
MORNING, EVENING = {"from": "06:00", "to": "09:00"}, {"from": "20:30", "to": "07:00"}


def practised(user: int, organization: int | None, *skills: str) -> Sent:
    return completion(user, START, *skills, organization_id=organization)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[AsyncSession]:
    """Learner 1 of tenant 7 with zone and quiet hours of their own, 2 of tenant 8, 3 of 7, 4 of none."""
    upgrade(database_url)
    made = run(
        [
            preferences(1, START, timezone="Asia/Tokyo", quiet_hours=MORNING, organization_id=7),
            practised(1, 7, "algebra", "secret"),
            practised(2, 8, "algebra", "secret"),
            practised(3, 7, "algebra"),
            practised(4, None, "algebra", "secret"),
        ]
    )
    learners, skills = stored(made.engine)
    pairs = [(NAMES.learner_rows, key, value) for key, value in learners.items()]
    pairs += [(NAMES.skill_rows, key, value) for key, value in skills.items()]
    for one in CONTENTS:
        pairs.append((NAMES.topic(Kind.CONTENT), one["content_id"].encode(), json.dumps(one).encode()))
    seven = {"organization_id": 7, "timezone": "Europe/Berlin", "quiet_hours": EVENING}
    pairs.append((NAMES.topic(Kind.ORGANIZATION), b"7", json.dumps(seven).encode()))
    records = [Rec(topic, 0, offset, key, value) for offset, (topic, key, value) in enumerate(pairs)]
    connection = await asyncpg.connect(plain_url(database_url))
    writer = Writer(NAMES, tenant_of)
    target = {Place(record.topic, 0): len(records) for record in records}
    positions = await claim(connection, dict.fromkeys(target, 0))
    await writer.store(connection, writer.prepare(records), positions, target)
    await connection.close()
    engine = database.engine(database_url, poolclass=NullPool)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


@pytest.mark.parametrize(
    ("user", "organization", "seen"),
    [
        (1, 7, True),
        (1, None, True),
        (1, 8, False),
        (2, 7, False),
        (4, 7, False),
        (4, None, True),
        (99, 7, False),
    ],
)
async def test_a_tenant_sees_its_own_learners_alone(
    db: AsyncSession, user: int, organization: int | None, seen: bool
) -> None:
    assert (await learner_page.learner(db, user, organization) is not None) == seen
    assert (len(await learner_page.skills(db, user, organization)) > 0) == seen
    page = await read_page(db, user, organization, START, {})
    assert (page.learner_row is not None, len(page.skill_rows) > 0) == (seen, seen)
    if not seen:
        assert (page.names, page.zone) == ({}, "UTC")


async def test_the_zone_and_the_quiet_hours_are_the_learners_else_the_organizations(
    db: AsyncSession,
) -> None:
    found = [await read_page(db, user, None, START, {}) for user in (1, 3, 2, 99)]
    assert [(page.zone, page.zone_source) for page in found] == [
        ("Asia/Tokyo", "learner"),
        ("Europe/Berlin", "organization"),
        ("UTC", "default"),
        ("UTC", "default"),
    ]
    evening, morning = (20 * 60 + 30, 7 * 60), (6 * 60, 9 * 60)
    assert [page.quiet_hours for page in found] == [morning, evening, (-1, -1), (-1, -1)]


async def test_names_are_those_of_the_catalogue_and_of_no_other_tenant(db: AsyncSession) -> None:
    asked = ["algebra", "roots", "secret", "unheard", "case"]
    own = await learner_page.skill_names(db, asked, 7)
    known = catalogue(*CONTENTS)
    for tenant in (7, 8, None):
        named = {skill: known.skill_name(skill, tenant or 0) for skill in asked}
        wanted = {skill: name for skill, name in named.items() if name != skill}
        assert await learner_page.skill_names(db, asked, tenant) == wanted
    # The smallest content id speaks for a skill; capitals come first, as in `lyo.models.state.catalogue`.
    assert own == {"algebra": "Algebra", "secret": "Of seven", "case": "Capital"}
    assert "secret" not in await learner_page.skill_names(db, asked, 8)
    assert "secret" not in await learner_page.skill_names(db, asked, None)
    assert await learner_page.skill_names(db, [], 7) == {}


async def test_a_page_takes_three_queries(db: AsyncSession) -> None:
    counted: list[str] = []
    engine = db.get_bind()
    event.listen(engine, "before_cursor_execute", lambda *given: counted.append(given[2]))
    await read_page(db, 1, 7, START, {})
    assert len(counted) == 3

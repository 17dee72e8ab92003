"""An answer of ``/insights`` made from stored rows with the models alone, for tests of the page.

`predictive.answers.insights` gives the same with ids, outcomes and wording; the page needs neither.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models import dropout, timing, triggers
from models.catalogue import Catalogue
from models.episodes import Skills, plateau_contents, regression_contents
from models.events import Kind
from models.history import history
from models.layout import decode_learners, decode_skills
from models.learner import empty_learners
from models.records import dropout_contents, texts, timing_contents
from models.zones import Zones
from storage import pages
from storage.tables import contents, organizations

Answer = dict[str, Any]


async def insights(db: AsyncSession, *, user_id: int, organization: int | None, at: int) -> Answer:
    """The answer for a learner as of an instant in ms."""
    known = await _catalogue(db)
    stored = await pages.learner(db, user_id, organization)
    rows = empty_learners(np.array([user_id])) if stored is None else decode_learners([stored.row])
    zones = Zones([rows["zone"][0].decode() or known.timezone(int(rows["organization"][0]))])
    as_of = np.array([at], np.int64)
    past = history(rows, as_of, zones)
    risk = json.loads(dropout_contents(rows, dropout.predict(past), zones.names)[0])
    profile = json.loads(timing_contents(rows, timing.predict(past, rows, as_of, zones), zones.names)[0])
    skills = await pages.skills(db, user_id, organization)
    plateaus, regressions = _episodes(skills, rows, known, at)
    return {
        "user_id": user_id,
        "dropout_risk": risk | {"as_of": texts(rows["newest"])[0]},
        "active_plateaus": plateaus,
        "skill_regressions": regressions,
        "timing_profile": profile,
        "is_good_time_now": False,
        "total_insights": len(plateaus) + len(regressions),
        "priority_actions": _actions(risk, plateaus, regressions),
        "generated_at": texts(as_of)[0],
    }


async def _catalogue(db: AsyncSession) -> Catalogue:
    known = Catalogue()
    for kind, table in ((Kind.CONTENT, contents), (Kind.ORGANIZATION, organizations)):
        for key, document in await db.execute(select(table.c[0], table.c.document)):
            assert known.put(kind, str(key).encode(), json.dumps(document).encode()) is None
    return known


def _episodes(
    stored: tuple[tuple[str, bytes], ...], rows: Any, known: Catalogue, at: int
) -> tuple[list[Answer], list[Answer]]:
    if not stored:
        return [], []
    decoded, topics = decode_skills([row for _, row in stored])
    many = len(stored)
    found = Skills(
        states=decoded["now"],
        users=decoded["user"],
        organizations=np.repeat(rows["organization"], many),
        names=[skill for skill, _ in stored],
        topics=topics,
        as_of=np.full(many, at),
        weak=[None] * many,
    )
    plateaus = _active(plateau_contents(found, known))
    regressions = _active(regression_contents(found, known))
    plateaus.sort(key=lambda one: -one["days_on_topic"])
    regressions.sort(key=lambda one: -one["urgency_score"])
    return plateaus, regressions


def _active(made: list[bytes | None]) -> list[Answer]:
    found = [json.loads(one) for one in made if one is not None]
    return [one for one in found if one["is_active"]]


def _actions(risk: Answer, plateaus: list[Answer], regressions: list[Answer]) -> list[Answer]:
    wanted: list[tuple[int, Answer]] = []

    def add(trigger: triggers.Trigger | None, kind: str, message: str) -> None:
        if trigger is not None:
            wanted.append((trigger[1], {"type": kind, "message": message, "action": trigger[0].value}))

    if risk["confidence"] > 0:
        add(triggers.of_dropout(risk["risk_level"]), "dropout_risk", "User at risk of dropping out")
    for one in plateaus:
        message = f"User stuck on {one['topic']} for {one['days_on_topic']} days"
        add(triggers.of_plateau(one["days_on_topic"]), "learning_plateau", message)
    for one in regressions:
        add(triggers.of_regression(one["urgency"]), "skill_regression", f"{one['skill_name']} is fading")
    wanted.sort(key=lambda one: -one[0])
    return [action for _, action in wanted]

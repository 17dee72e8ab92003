"""Requests to erase a learner, and their progress. The stream processor erases."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.events.decode import Kind
from lyo.predictive.answers import reading, recording
from lyo.predictive.answers.reading import LearnerQuery, LearnerSnapshot
from lyo.predictive.answers.responses import Answer
from lyo.storage.outbox import queue
from lyo.storage.reads import lookups
from lyo.streams.topics import Names

__all__ = ["erasure_progress", "request_erasure"]


async def request_erasure(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    at: int | None = None,
    now: int | None = None,
    names: Names | None = None,
    commit: bool = True,
    learner: LearnerSnapshot | None = None,
) -> Answer:
    """Ask that a learner be forgotten; the answer is that of `erasure_progress`.

    A request that is under way is not written again. A tenant's request is written only if the learner's
    stored row names the tenant. `learner`: the learner, if read already.
    """
    at, now = reading.moments(at, now)
    known = names or reading.default_names()
    learner = learner or await reading.one(db, LearnerQuery(user_id, organization, at, now), known)

    async def progress() -> Answer:
        return await erasure_progress(
            db, user_id=user_id, organization=organization, names=known, learner=learner
        )

    so_far = await progress()
    if learner.owned and so_far["status"] not in ("requested", "sent"):
        await recording.record(db, Kind.ERASURE, learner, {}, names=known, commit=commit)
        so_far = await progress()
    return so_far


async def erasure_progress(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    names: Names | None = None,
    learner: LearnerSnapshot | None = None,
) -> Answer:
    """The progress of an erasure; a tenant sees requests and learners that name it.

    user_id, status (not_requested, requested, sent, done), requested_at, sent_at, event_id, remaining
    {table: rows}, message; removed {table: rows}, removed_at, topics_removed {topic: keys},
    topics_removed_at, compacted_by, tombstones_until, fence_at, consented_at, kept. All but user_id, status,
    message and the counts may be null. `learner`: the learner, if read already.
    """
    known = names or reading.default_names()
    topic = known.topic(Kind.ERASURE)
    if learner is None and organization is not None:
        learner = await reading.one(db, LearnerQuery(user_id, organization, 0, 0), known)
    event = await queue.newest(db, topic, user_id, organization)
    if learner is not None and learner.foreign:
        return recording.progress(user_id, event, {})
    owned = learner is None or learner.owned
    remaining = await lookups.remaining(db, user_id, aside=topic) if owned else {}
    marker = await lookups.erasure_marker(db, user_id, organization)
    return recording.progress(user_id, event, remaining, marker)

"""Asking that a learner be forgotten, and how far that has come. The erasing itself is the stream's."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from models.events import Kind
from predictive import reading, recording
from predictive.reading import Asked, Seen
from predictive.shapes import Answer
from storage import lookups, outbox
from streams.topics import Names

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
    seen: Seen | None = None,
) -> Answer:
    """Ask that a learner be forgotten; the answer is that of `erasure_progress`.

    A request that is still waiting to be sent is not written twice. `seen`: the learner, if read already.
    """
    at, now = reading.moments(at, now)
    waiting = await erasure_progress(db, user_id=user_id, organization=organization, names=names)
    if waiting["status"] != "requested":
        known = names or reading.default_names()
        seen = seen or await reading.one(db, Asked(user_id, organization, at, now), known)
        await recording.record(db, Kind.ERASURE, seen, {}, names=known, commit=commit)
        waiting = await erasure_progress(db, user_id=user_id, organization=organization, names=names)
    return waiting


async def erasure_progress(
    db: AsyncSession, *, user_id: int, organization: int | None, names: Names | None = None
) -> Answer:
    """How far an erasure has come.

    user_id, status (not_requested, requested, sent, done), requested_at, sent_at, event_id, remaining
    {table: rows}, message; removed {table: rows}, removed_at, topics_removed {topic: keys},
    topics_removed_at, compacted_by, tombstones_until, fence_at, consented_at, kept. All but user_id, status,
    message and what is counted may be null.
    """
    topic = (names or reading.default_names()).topic(Kind.ERASURE)
    event = await outbox.newest(db, topic, user_id, organization)
    if await reading.is_foreign(db, user_id=user_id, organization=organization):
        return recording.progress(user_id, event, {})
    remaining = await lookups.remaining(db, user_id, organization, aside=topic)
    fence = await lookups.fence(db, user_id, organization)
    return recording.progress(user_id, event, remaining, fence)

"""Asking that a learner be forgotten, and how far that has come. The erasing itself is the stream's."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.events.decode import Kind
from lyo.predictive.answers import reading, recording
from lyo.predictive.answers.reading import Asked, Seen
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
    seen: Seen | None = None,
) -> Answer:
    """Ask that a learner be forgotten; the answer is that of `erasure_progress`.

    A request that is under way is not written twice, and a tenant's about a learner whose stored row does
    not name the tenant not at all. `seen`: the learner, if read already.
    """
    at, now = reading.moments(at, now)
    known = names or reading.default_names()
    seen = seen or await reading.one(db, Asked(user_id, organization, at, now), known)

    async def progress() -> Answer:
        return await erasure_progress(db, user_id=user_id, organization=organization, names=known, seen=seen)

    waiting = await progress()
    if seen.owned and waiting["status"] not in ("requested", "sent"):
        await recording.record(db, Kind.ERASURE, seen, {}, names=known, commit=commit)
        waiting = await progress()
    return waiting


async def erasure_progress(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    names: Names | None = None,
    seen: Seen | None = None,
) -> Answer:
    """How far an erasure has come; to a tenant, of what names it and of a learner whose row does.

    user_id, status (not_requested, requested, sent, done), requested_at, sent_at, event_id, remaining
    {table: rows}, message; removed {table: rows}, removed_at, topics_removed {topic: keys},
    topics_removed_at, compacted_by, tombstones_until, fence_at, consented_at, kept. All but user_id, status,
    message and what is counted may be null. `seen`: the learner, if read already.
    """
    known = names or reading.default_names()
    topic = known.topic(Kind.ERASURE)
    if seen is None and organization is not None:
        seen = await reading.one(db, Asked(user_id, organization, 0, 0), known)
    event = await queue.newest(db, topic, user_id, organization)
    if seen is not None and seen.foreign:
        return recording.progress(user_id, event, {})
    owned = seen is None or seen.owned
    remaining = await lookups.remaining(db, user_id, aside=topic) if owned else {}
    marker = await lookups.erasure_marker(db, user_id, organization)
    return recording.progress(user_id, event, remaining, marker)

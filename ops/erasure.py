"""Requests an erasure, waits for it, and looks for what is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.events.decode import partition
from lyo.predictive.answers.erasure import erasure_progress
from lyo.predictive.client import Publisher
from lyo.storage.database import engine
from lyo.streams import topics
from lyo.streams.dead_letters.misplaced import by_topic
from lyo.streams.runtime.tombstones import output_partitions, stored_keys
from lyo.streams.settings import Settings

POLL_SECONDS: Final = 0.3


@dataclass(slots=True)
class Receipt:
    """What was removed, and what is still there.

    Attributes:
        progress: of the erasure in Postgres and in the topics, as the API gives it.
        current: keys that still have a value, by topic.
        misplaced: those of them in another partition than the learner's, by topic.
        uncompacted: replaced records that compaction has not removed yet, by topic.
    """

    progress: Mapping[str, Any]
    current: dict[str, int] = field(default_factory=dict)
    uncompacted: dict[str, int] = field(default_factory=dict)
    misplaced: dict[str, int] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the erasure is complete and nothing current is left."""
        is_clear = not self.misplaced and (not self.current or self._known_again)
        return self.progress["status"] == "done" and is_clear

    @property
    def _known_again(self) -> bool:
        return self.progress["consented_at"] is not None

    def as_json(self) -> dict[str, Any]:
        """The receipt as JSON types."""
        return {
            **self.progress,
            "done": self.done,
            "topics_remaining": self.current,
            "misplaced": self.misplaced,
            "to_be_compacted": self.uncompacted,
        }

    def lines(self) -> Iterator[str]:
        """The receipt in lines for people."""
        progress = self.progress
        yield f"learner {progress['user_id']}: {'erased' if self.done else progress['status']}"
        if progress["consented_at"] is not None:
            yield f"consent: events from {progress['consented_at']} on count again"
        removed_at = progress["removed_at"] or "not yet"
        yield f"removed from Postgres ({removed_at}): {_listed(progress['removed'], 'rows')}"
        topics_at = progress["topics_removed_at"] or "not yet: is a `lyo worker` running?"
        yield f"removed from the topics ({topics_at}): {_listed(progress['topics_removed'], 'keys')}"
        if progress["remaining"] or self.current:
            left = _listed({**progress["remaining"], **self.current}, "rows or keys")
            yield f"{'of the new learner' if self._known_again else 'still there'}: {left}"
        if self.misplaced:
            yield f"in partitions of other learners: {_listed(self.misplaced, 'keys')}; see `lyo misplaced`"
        yield f"on Kafka's disks until compaction: {_listed(self.uncompacted, 'records')}"
        if self.uncompacted and progress["compacted_by"] is not None:
            yield (
                f"  compacted by {progress['compacted_by']}, once more is written to the same partition; "
                f"tombstones go after {progress['tombstones_until']}; `lyo erase --check` looks again"
            )
        for kept in progress["kept"]:
            yield f"kept: {kept}"


def _listed(counts: Mapping[str, int], unit: str) -> str:
    """Counts by name, as people read them."""
    if not counts:
        return "nothing"
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) + f" ({unit})"


async def erase_learner(
    settings: Settings,
    user: int,
    organization: int | None,
    consent: datetime | None,
    seconds: float,
) -> Receipt:
    """Publish an erasure, or a consent, and wait at most so many seconds until it is carried out.

    Raises:
        lyo.predictive.client.DeliveryError: Kafka did not accept it.
        aiokafka.errors.KafkaError, sqlalchemy.exc.SQLAlchemyError, OSError: Kafka or Postgres is away.
    """
    requested_at = datetime.now(UTC)
    async with Publisher(settings=settings) as events:
        await events.erasure(
            user_id=user, organization_id=organization, requested_at=requested_at, consented_at=consent
        )
    until = time.monotonic() + seconds
    while True:
        progress = await _progress(settings, user)
        if progress["status"] == "not_requested":
            progress = {**progress, "status": "sent", "requested_at": requested_at.isoformat()}
        if _covers(progress, requested_at, consent) or time.monotonic() > until:
            return await _looked(settings, user, progress)
        await asyncio.sleep(POLL_SECONDS)


def _covers(progress: Mapping[str, Any], requested_at: datetime, consent: datetime | None) -> bool:
    """Whether this request is carried out, not only an earlier one."""
    if progress["status"] != "done":
        return False
    name, wanted = ("requested_at", requested_at) if consent is None else ("consented_at", consent)
    carried_out = progress["fence_at"] if name == "requested_at" else progress[name]
    return carried_out is not None and datetime.fromisoformat(carried_out) >= wanted.replace(
        microsecond=wanted.microsecond // 1000 * 1000
    )


async def check(settings: Settings, user: int) -> Receipt:
    """Look at what is there now; requests nothing."""
    return await _looked(settings, user, await _progress(settings, user))


async def _progress(settings: Settings, user: int) -> Mapping[str, Any]:
    database = engine(settings.database_url)
    try:
        async with AsyncSession(database) as session:
            return await erasure_progress(
                session, user_id=user, organization=None, names=topics.names(settings)
            )
    finally:
        await database.dispose()


async def _looked(settings: Settings, user: int, progress: Mapping[str, Any]) -> Receipt:
    """Read every partition of every topic that may hold records of the learner."""
    names, many = topics.names(settings), settings.partitions
    home = partition(user, many)
    everywhere = {tp for number in range(many) for tp in output_partitions(names, number, many)}
    stored = await stored_keys(settings, names, everywhere, {user})
    current = stored.removed(user)
    old = {topic: count - current.get(topic, 0) for (_, topic), count in stored.records.items()}
    astray = {
        tp: keys
        for tp, keys in stored.keys.items()
        if keys and tp.partition != home and tp.topic != names.dead_letters
    }
    return Receipt(
        progress,
        current,
        {topic: count for topic, count in old.items() if count > 0},
        dict(by_topic(astray)),
    )

"""Asking for an erasure, waiting for it, and looking for what is left."""

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
from lyo.streams.runtime.tombstones import output_partitions, stored_keys
from lyo.streams.settings import Settings

POLL_SECONDS: Final = 0.3


@dataclass(slots=True)
class Receipt:
    """What was removed where, and what is still there.

    Attributes:
        progress: as the API tells it: what Postgres and the worker say.
        current: keys with a value that the topics still hold, by topic.
        uncompacted: records with values that lie in the logs, though they are no longer current, by topic.
    """

    progress: Mapping[str, Any]
    current: dict[str, int] = field(default_factory=dict)
    uncompacted: dict[str, int] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether nothing current is left."""
        return self.progress["status"] == "done" and (not self.current or self._known_again)

    @property
    def _known_again(self) -> bool:
        return self.progress["consented_at"] is not None

    def told(self) -> dict[str, Any]:
        """The receipt as plain objects."""
        return {
            **self.progress,
            "done": self.done,
            "topics_remaining": self.current,
            "to_be_compacted": self.uncompacted,
        }

    def lines(self) -> Iterator[str]:
        """The receipt for people."""
        said = self.progress
        yield f"learner {said['user_id']}: {'erased' if self.done else said['status']}"
        if said["consented_at"] is not None:
            yield f"consent: what happens from {said['consented_at']} on counts again"
        yield f"removed from Postgres ({said['removed_at'] or 'not yet'}): {_listed(said['removed'], 'rows')}"
        topics_at = said["topics_removed_at"] or "not yet: is a `lyo worker` running?"
        yield f"removed from the topics ({topics_at}): {_listed(said['topics_removed'], 'keys')}"
        if said["remaining"] or self.current:
            left = _listed({**said["remaining"], **self.current}, "rows or keys")
            yield f"{'of the new learner' if self._known_again else 'still there'}: {left}"
        yield f"on Kafka's disks until compaction: {_listed(self.uncompacted, 'records')}"
        if self.uncompacted and said["compacted_by"] is not None:
            yield (
                f"  compacted by {said['compacted_by']}, once more is written to the same partition; "
                f"tombstones go after {said['tombstones_until']}; `lyo erase --check` looks again"
            )
        for kept in said["kept"]:
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
    """Publish the erasure (or the consent) and wait at most so long until it is carried out.

    Raises:
        lyo.predictive.client.DeliveryError: Kafka did not take it.
        aiokafka.errors.KafkaError, sqlalchemy.exc.SQLAlchemyError, OSError: see there.
    """
    asked = datetime.now(UTC)
    async with Publisher(settings=settings) as events:
        await events.erasure(
            user_id=user, organization_id=organization, requested_at=asked, consented_at=consent
        )
    until = time.monotonic() + seconds
    while True:
        progress = await _progress(settings, user)
        if progress["status"] == "not_requested":
            progress = {**progress, "status": "sent", "requested_at": asked.isoformat()}
        if _covers(progress, asked, consent) or time.monotonic() > until:
            return await _looked(settings, user, progress)
        await asyncio.sleep(POLL_SECONDS)


def _covers(progress: Mapping[str, Any], asked: datetime, consent: datetime | None) -> bool:
    """Whether this very request has been carried out, not an earlier one."""
    if progress["status"] != "done":
        return False
    name, wanted = ("requested_at", asked) if consent is None else ("consented_at", consent)
    told = progress["fence_at"] if name == "requested_at" else progress[name]
    return told is not None and datetime.fromisoformat(told) >= wanted.replace(
        microsecond=wanted.microsecond // 1000 * 1000
    )


async def check(settings: Settings, user: int) -> Receipt:
    """What is there now; asks for nothing."""
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
    """Read the learner's partition of every topic that may hold something."""
    names = topics.names(settings)
    where = output_partitions(names, partition(user, settings.partitions), settings.partitions)
    found = await stored_keys(settings, names, where, {user})
    current = found.removed(user)
    old = {topic: count - current.get(topic, 0) for (_, topic), count in found.records.items()}
    return Receipt(progress, current, {topic: count for topic, count in old.items() if count > 0})

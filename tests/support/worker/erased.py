"""What test_erasure.py and test_erasure_rebuilt.py share."""

from __future__ import annotations

from typing import Any

from lyo.models.events.decode import Kind
from lyo.streams import topics
from lyo.streams.runtime import tombstones
from lyo.streams.settings import Settings
from tests.support.learners.building import Sent, iso
from tests.support.worker.erasing import send

GONE = 7


HOUR, DAY = 3_600_000, 86_400_000


async def forget(settings: Settings, user: int, at: int, consent: int | None = None) -> None:
    body: dict[str, Any] = {"event_id": f"x{at}", "user_id": user, "requested_at": iso(at)}
    if consent is not None:
        body["consented_at"] = iso(consent)
    await send(settings, [Sent(Kind.ERASURE, body)])


async def on_topics(settings: Settings, user: int) -> dict[str, int]:
    """Keys with a value that the outputs, rows and dead letters hold of a learner."""
    names = topics.names(settings)
    places = {
        tp
        for number in range(settings.partitions)
        for tp in tombstones.output_partitions(names, number, settings.partitions)
    }
    return (await tombstones.stored_keys(settings, names, places, {user})).removed(user)

"""Publishing for tests of erasures, and settings under which they end soon."""

from __future__ import annotations

import json

from lyo.models.events.decode import partition
from lyo.streams import topics
from lyo.streams.settings import Settings
from tests.support.learners.building import Sent, iso
from tests.support.learners.lives import life
from tests.support.worker.running import publisher


def quick(settings: Settings, at: int) -> Settings:
    return settings.model_copy(
        update={"clock": iso(at), "session_timeout_ms": 3_000, "transaction_timeout_ms": 6_000}
    )


def shifted(user: int, days: range, to: int) -> list[Sent]:
    """Events of every kind on some days, of which day 0 begins at ``to`` (ms)."""
    made = []
    for event in life(user, days):
        body = dict(event.body)
        for name, value in event.body.items():
            if name.endswith("_at") and value is not None:
                body[name] = iso(agreement_ms(value) - START_OF_LIVES + to)
        made.append(Sent(event.kind, body))
    return made


def agreement_ms(text: str) -> int:
    from tests.support.learners.building import ms

    return ms(text)


START_OF_LIVES = agreement_ms("2026-03-02T00:00:00Z")


async def send(settings: Settings, events: list[Sent]) -> None:
    names = topics.names(settings)
    async with publisher(settings) as producer:
        for event in events:
            user = event.body["user_id"]
            await producer.send(
                names.topic(event.kind),
                json.dumps(event.body).encode(),
                b"%d" % user,
                partition=partition(user, settings.partitions),
            )
        await producer.flush()

"""How a subscriber waits: what wakes it, and that a wait that is broken off costs it nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from lyo.storage.subscription.follow import Subscription
from tests.support.servers.proxy import proxied
from tests.support.sink.records import NAMES, timing
from tests.support.sink.running import until
from tests.support.sink.subscribing import Store, opened, take, told

pytestmark = pytest.mark.integration

NEVER = 100_000.0
LONGEST = 30.0


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with opened(database_url) as store:
        yield store


async def unheard(store: Store, user: int) -> None:
    """A learner's profile as a new record says it, without the notification."""
    async with store.connection.transaction():
        offset = store.place()
        where = "topic = $1 AND partition = 0"
        await store.connection.execute(
            f"UPDATE sink_offsets SET next_offset = $2 WHERE {where}",
            *(NAMES.prediction("timing"), offset + 1),
        )
        await store.connection.execute(
            "UPDATE user_timing_profiles SET log_offset = $2 WHERE user_id = $1", user, offset
        )


async def test_a_wait_that_is_broken_off_while_connecting_is_taken_up_by_the_next(store: Store) -> None:
    parts = urlsplit(store.url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with proxied(parts.hostname, parts.port) as proxy:
        url = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")).geturl()
        await store.predict("timing", timing(1))
        async with Subscription(url, poll_seconds=NEVER) as changes:
            await take(changes, 1)
            assert changes.caught_up
            waiting = asyncio.ensure_future(anext(changes))
            proxy.swallow()
            proxy.reset()

            async def connecting() -> bool:
                return proxy.connections == 2

            await until(connecting)
            waiting.cancel()
            await asyncio.wait([waiting])
            proxy.flow()
            await store.predict("timing", timing(2))
            (change,) = await asyncio.wait_for(take(changes, 1), LONGEST)
            assert change["user_id"] == 2


async def test_a_change_without_a_notification_is_found_by_looking_now_and_then(store: Store) -> None:
    await store.predict("timing", timing(1))
    async with Subscription(store.url, poll_seconds=0.05) as changes:
        await take(changes, 1)
        for _ in range(3):
            assert changes.caught_up
            await unheard(store, 1)
            (change,) = await asyncio.wait_for(take(changes, 1), LONGEST)
            assert (change["operation"], change["user_id"]) == ("changed", 1)


async def test_waits_shorter_than_a_poll_come_to_one_together(store: Store) -> None:
    await store.predict("timing", timing(1))
    async with Subscription(store.url, poll_seconds=1.0) as changes:
        await take(changes, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(changes), 0.4)
        await unheard(store, 1)
        found = []
        for _ in range(20):
            try:
                found.append(told(await asyncio.wait_for(anext(changes), 0.4)))
                break
            except TimeoutError:
                continue
        assert [change["user_id"] for change in found] == [1]

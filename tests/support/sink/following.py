"""Subscribers at work in the background."""

from __future__ import annotations

import asyncio
from typing import Any

from lyo.storage.subscription.follow import Subscription
from lyo.streams.settings import Settings
from tests.support.sink.records import dropout
from tests.support.sink.running import Sent, sent, until
from tests.support.sink.subscribing import (
    Told,
    in_tables,
    told,
    view,
    without_outcomes,
)

NEVER = 100_000.0
"""A poll so slow that only a notification can have woken the subscriber."""


class Following:
    """A subscriber at work in the background; `changes` is what it was told."""

    def __init__(self, url: str, **more: Any) -> None:
        self.subscription = Subscription(url, poll_seconds=NEVER, **more)
        self.changes: list[Told] = []
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async with self.subscription as changes:
            async for change in changes:
                self.changes.append(told(change))

    async def knows(self, url: str) -> None:
        """Wait until it holds the rows that there are."""
        expected = without_outcomes(await in_tables(url))

        async def same() -> bool:
            return without_outcomes(view(self.changes)) == expected

        try:
            await until(same, self.task)
        finally:
            self.task.cancel()
            await asyncio.wait([self.task])


def different(settings: Settings, count: int, first: int = 1) -> list[Sent]:
    """A risk of each of so many learners: no two are of one row."""
    return [sent(settings, "dropout-risk", dropout(user)) for user in range(first, first + count)]

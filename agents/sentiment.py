"""Sentiment: how a learner felt, from the app's own analysis."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Final

from lyo.models.events.decode import Kind
from lyo.streams.runtime.transport import Poll
from lyo.streams.runtime.worker import Deliver

KIND: Final = Kind.SENTIMENT


def agent(deliver: Deliver) -> Callable[[AsyncIterable[Poll]], Awaitable[None]]:
    """An agent that hands each poll of this topic to ``deliver``."""

    async def sentiment(polls: AsyncIterable[Poll]) -> None:
        async for poll in polls:
            deliver(poll)

    return sentiment

"""Faust agents, thin: each hands the polls of its topic to the task of their partition number."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable

from lyo.models.events.types import INPUTS
from lyo.streams.runtime.transport import BatchApp, Poll, input_topics
from lyo.streams.runtime.worker import Deliver
from lyo.streams.topics import INPUT_KINDS, names

__all__ = ["agent", "register"]


def register(app: BatchApp, deliver: Deliver) -> None:
    """Give the app one agent for each kind of event; each hands its polls to ``deliver``."""
    found = input_topics(app)
    topic_of = names(app.settings).topic
    for kind in INPUT_KINDS:
        name = INPUTS[kind].topic.replace("-", "_")
        app.agent(found[topic_of(kind)], name=name)(agent(deliver))


def agent(deliver: Deliver) -> Callable[[AsyncIterable[Poll]], Awaitable[None]]:
    """An agent that hands each poll of its topic to ``deliver``."""

    async def hand_over(polls: AsyncIterable[Poll]) -> None:
        async for poll in polls:
            deliver(poll)

    return hand_over

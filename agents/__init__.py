"""Faust agents: each hands the polls of its topic to the task of their partition number."""

from __future__ import annotations

from typing import Final

from lyo.agents import completions, outcomes, preferences, sentiment, sessions, struggle_requests
from lyo.streams.runtime.transport import BatchApp, input_topics
from lyo.streams.runtime.worker import Deliver
from lyo.streams.topics import names

AGENTS: Final = (completions, sessions, sentiment, outcomes, preferences, struggle_requests)


def register(app: BatchApp, deliver: Deliver) -> None:
    """Give the app one agent for each kind of event; each hands its polls to ``deliver``."""
    topics_by_name = input_topics(app)
    topic_of = names(app.settings).topic
    for module in AGENTS:
        name = module.__name__.rpartition(".")[2]
        app.agent(topics_by_name[topic_of(module.KIND)], name=name)(module.agent(deliver))

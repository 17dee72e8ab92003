"""What an assignment of the group means: partition numbers, each with all of its input topics."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from typing import Any

from aiokafka.errors import KafkaError

from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.streams.topics import TopicError


def partition_numbers(settings: Settings, inputs: Collection[str], assigned: Iterable[Any]) -> set[int]:
    """The partition numbers of an assignment.

    Raises:
        TopicError: an input topic of a number is missing: its learners would be split between workers. Most
            often partitions were added to the others.
    """
    topics_of: dict[int, set[str]] = {}
    for tp in assigned:
        if tp.topic in inputs:
            topics_of.setdefault(tp.partition, set()).add(tp.topic)
    for number, there in sorted(topics_of.items()):
        if missing := sorted(set(inputs) - there):
            raise TopicError(_why_apart(settings, number, there, missing))
    return set(topics_of)


async def hidden_inputs(settings: Settings, inputs: Collection[str]) -> str | None:
    """Why input topics seem to be missing: the user may not describe them; None if that is not why."""
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        async with clients.admin(settings) as admin:
            try:
                await clients.partition_counts(admin, inputs)
            except TopicError as hidden:
                return str(hidden)
    return None


def _why_apart(settings: Settings, number: int, there: Iterable[str], missing: Iterable[str]) -> str:
    if number >= settings.partitions:
        return (
            f"{', '.join(sorted(there))} got more partitions than LYO_PARTITIONS={settings.partitions}: they "
            "were added while this worker ran. Publishers that know of them send learners' events to other "
            "numbers, and Kafka takes no partition away: copy the log to a new set of topics "
            "(docs/runbook.md#changing-the-partition-count)"
        )
    return (
        f"the group assigns partition {number} without {', '.join(missing)}, whose events of the same "
        "learners belong to it: the topic was deleted, or partitions were added to the others"
    )

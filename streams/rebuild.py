"""Rebuild: drops rows and predictions, so that the workers compute them again from the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.structs import TopicPartition

from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings

__all__ = ["RebuildError", "derived", "rebuild", "running"]

DELETED_SECONDS: Final = 60.0
BUSY: Final = (
    CommitFailedError,
    IllegalGenerationError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)


class RebuildError(RuntimeError):
    """Why a rebuild is not possible now, and what to do."""


def derived(settings: Settings) -> list[str]:
    """The topics that are computed from the input topics alone: rows and predictions.

    Interventions stay: they were decided at their time, and people have acted on them.
    """
    names = topics.names(settings)
    return [names.learner_rows, names.skill_rows, *names.predictions.values()]


async def running(settings: Settings, group: str) -> bool:
    """Whether a consumer group has members: then Kafka refuses a commit by any other client.

    A commit is tried because aiokafka cannot read Kafka 4's description of a group.
    """
    tp = TopicPartition(next(iter(topics.names(settings).inputs)), 0)
    reader = clients.consumer(settings, group_id=group)
    await reader.start()
    try:
        reader.assign([tp])
        await reader.commit({tp: await reader.committed(tp) or 0})
    except BUSY:
        return True
    finally:
        await clients.stop(reader)
    return False


async def rebuild(settings: Settings, say: Callable[[str], None]) -> None:
    """Drop rows and predictions, and set the workers' offsets to the beginning of their topics.

    Raises:
        RebuildError: a worker or a sink is running, or Kafka keeps a topic that was deleted.
        aiokafka.errors.KafkaError: Kafka cannot be reached.
    """
    groups = [settings.app_id, f"{settings.app_id}-sink"]
    async with clients.admin(settings) as client:
        busy = [group for group in groups if await running(settings, group)]
        if busy:
            raise RebuildError(
                f"group {busy[0]} has members: stop every worker and sink first (a killed process remains a "
                f"member for another {settings.session_timeout_ms / 1000:g} s)"
            )
        there = await clients.partition_counts(client, derived(settings))
        dropped = [name for name in derived(settings) if name in there]
        if dropped:
            await client.delete_topics(dropped)
            await _until(lambda: _gone(client, dropped), "Kafka still lists topics that were deleted")
    await _until(lambda: _created(settings), "deleted topics are not created again")
    say(f"created {len(dropped)} topics of rows and predictions again")
    say(f"set {await _to_the_beginning(settings)} offsets of group {settings.app_id} to the beginning")


async def _gone(client: AIOKafkaAdminClient, names: list[str]) -> bool:
    return not await clients.partition_counts(client, names)


async def _created(settings: Settings) -> bool:
    try:
        await topic_admin.ensure(settings)
    except (topics.TopicError, KafkaError):
        return False
    return True


async def _until(condition: Callable[[], Awaitable[bool]], failure: str) -> None:
    until = time.monotonic() + DELETED_SECONDS
    while not await condition():
        if time.monotonic() > until:
            raise RebuildError(f"{failure} after {DELETED_SECONDS:g} s: run it again")
        await asyncio.sleep(0.2)


async def _to_the_beginning(settings: Settings) -> int:
    """Commit the first offset of every input partition, and of the global topics with a committed offset.

    The offsets of content, organizations and erasures tell up to where dead letters are written. Where none
    was ever needed there is no offset, and a new one would look like lag to other tools. The group has no
    members.
    """
    names = topics.names(settings)
    partitions = await clients.partitions_of(settings, *names.published)
    reader = clients.consumer(settings, group_id=settings.app_id)
    await reader.start()
    try:
        reader.assign(partitions)
        first: dict[TopicPartition, int] = await reader.beginning_offsets(partitions)
        for tp in partitions:
            if tp.topic not in names.inputs and await reader.committed(tp) is None:
                del first[tp]
        await reader.commit(first)
    finally:
        await clients.stop(reader)
    return len(first)

"""Creates topics at the broker, and reads their configuration."""

from __future__ import annotations

import asyncio
import time

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from lyo.streams import topics
from lyo.streams.kafka.clients import admin, partition_counts
from lyo.streams.settings import Settings


async def ensure(settings: Settings) -> list[str]:
    """Create the topics that are missing, and return their names.

    Raises:
        TopicError: a topic has another number of partitions than the settings say, or Kafka refuses one.
        aiokafka.errors.KafkaError: Kafka cannot be reached.
    """
    async with admin(settings) as client:
        wanted = {spec.name: spec for spec in topics.specs(settings)}
        found = await partition_counts(client, list(wanted))
        topics.check(settings, found)
        missing = [spec for name, spec in wanted.items() if name not in found]
        if missing:
            await _create(client, missing)
            topics.check(settings, await _listed(client, list(wanted), settings.connect_seconds))
    return [spec.name for spec in missing]


async def create(settings: Settings, missing: list[topics.TopicSpec]) -> None:
    """Create these topics without checking the others.

    Raises:
        TopicError: Kafka refuses one; the message names it.
        aiokafka.errors.KafkaError: Kafka cannot be reached.
    """
    async with admin(settings) as client:
        await _create(client, missing)
        await _listed(client, [spec.name for spec in missing], settings.connect_seconds)


async def _listed(client: AIOKafkaAdminClient, wanted: list[str], seconds: float) -> dict[str, int]:
    """The topics' partition counts, once the broker lists them all; after a creation this takes a moment."""
    until = time.monotonic() + seconds
    while len(found := await partition_counts(client, wanted)) < len(wanted):
        if time.monotonic() > until:
            missing = ", ".join(sorted(set(wanted) - set(found)))
            raise topics.TopicError(f"Kafka does not list what it created {seconds:g} s ago: {missing}")
        await asyncio.sleep(0.05)
    return found


async def _create(client: AIOKafkaAdminClient, missing: list[topics.TopicSpec]) -> None:
    answer = await client.create_topics(
        [
            NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=spec.config)
            for spec in missing
        ]
    )
    for name, code, *rest in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise topics.TopicError(
                f"topic {name} was not created: {for_code(code).__name__} {' '.join(map(str, rest))}"
            )


async def configuration(client: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    """A topic's configuration at the broker, by name."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    answers = await client.describe_configs([resource])
    return {
        entry[0]: entry[1] for answer in answers for described in answer.resources for entry in described[4]
    }

"""One look at a Kafka cluster: what `lyo doctor` judges afterwards, without asking again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    IncompatibleBrokerVersion,
    KafkaError,
    NotCoordinatorError,
    for_code,
)
from aiokafka.protocol.transaction import InitProducerIdRequest

from lyo.streams import topics
from lyo.streams.clock import Clock
from lyo.streams.kafka import clients, protocol
from lyo.streams.settings import Settings

COORDINATOR_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.1
COMING: Final = (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)
_TRANSACTION: Final = 1
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the cluster has it.

    `replicas` and `in_sync` are the fewest of any partition; `config` is None where it may not be read.
    """

    name: str
    partitions: int
    replicas: int
    in_sync: int
    leaderless: int
    operations: int
    config: Mapping[str, str] | None = None


@dataclass(slots=True)
class Cluster:
    """What one look found. Times are in ms since the epoch; errors are told in words."""

    brokers: dict[int, str] = field(default_factory=dict)
    level: int | None = None
    operations: int = 0
    settings: dict[int, Mapping[str, str] | None] = field(default_factory=dict)
    topics: dict[str, Topic] = field(default_factory=dict)
    groups: dict[str, int | str] = field(default_factory=dict)  # operations, or why they are not known
    transactions: str | None = None  # why none can be begun
    committed: dict[TopicPartition, int] | str = field(default_factory=dict)
    ranges: dict[TopicPartition, tuple[int, int]] = field(default_factory=dict)
    ahead: dict[TopicPartition, int] = field(default_factory=dict)  # a record stamped later than now


def group_ids(settings: Settings) -> list[str]:
    """The groups of the workers and of the sink."""
    return [settings.app_id, f"{settings.app_id}-sink"]


async def look(settings: Settings, ahead_ms: int) -> Cluster:
    """Ask the cluster everything once; `ahead_ms` says which records count as stamped too late.

    Raises:
        aiokafka.errors.KafkaError, OSError: it cannot be reached, or ended the conversation.
    """
    found = Cluster()
    async with clients.admin(settings) as client:
        await _members(client, found)
        await _configurations(client, found, [spec.name for spec in topics.specs(settings)])
        for group in group_ids(settings):
            found.groups[group] = await _group(client, group)
        found.transactions = await _transactions(client, settings)
        found.committed = await _committed(client, settings)
    await _offsets(settings, found, ahead_ms)
    return found


async def _members(client: AIOKafkaAdminClient, found: Cluster) -> None:
    answer = await client._send_request(protocol.ClusterRequest())  # noqa: SLF001 - the admin client has no verb for it
    found.brokers = {broker[0]: f"{broker[1]}:{broker[2]}" for broker in answer.brokers}
    found.operations = answer.operations
    for entry in answer.to_object()["topics"]:
        found.topics[entry["topic"]] = _topic(entry)
    try:
        versions = await client._send_request(protocol.VersionsRequest())  # noqa: SLF001
    except (IncompatibleBrokerVersion, NotImplementedError):
        return
    found.level = protocol.metadata_level(versions)


def _topic(entry: Mapping[str, Any]) -> Topic:
    parts = entry["partitions"]
    return Topic(
        name=entry["topic"],
        partitions=len(parts),
        replicas=min((len(part["replicas"]) for part in parts), default=0),
        in_sync=min((len(part["isr"]) for part in parts), default=0),
        leaderless=sum(part["leader"] < 0 for part in parts),
        operations=entry["operations"],
    )


async def _configurations(client: AIOKafkaAdminClient, found: Cluster, ours: list[str]) -> None:
    named = [name for name in ours if name in found.topics]
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in named]
    wanted += [ConfigResource(ConfigResourceType.BROKER, str(broker)) for broker in found.brokers]
    for answer in await client.describe_configs(wanted):
        for code, _, kind, name, entries in answer.resources:
            values = None if code else {one[0]: str(one[1]) for one in entries}
            if kind == ConfigResourceType.BROKER:
                found.settings[int(name)] = values
            else:
                found.topics[name] = replace(found.topics[name], config=values)


async def _group(client: AIOKafkaAdminClient, group: str) -> int | str:
    """What may be done with a group, or why that is not known."""

    async def ask() -> int:
        node = await client.find_coordinator(group)
        answer = await client._send_request_to_node(node, protocol.GroupRequest(group))  # noqa: SLF001
        if code := answer.groups[0][0]:
            raise for_code(code)(f"group {group}")
        return int(answer.groups[0][-1])

    try:
        return await _coordinated(ask)
    except KafkaError as problem:
        return clients.explain(problem)


async def _transactions(client: AIOKafkaAdminClient, settings: Settings) -> str | None:
    """Why no transaction can be begun, None when one can; asked with an id that no task has."""
    name = f"{settings.app_id}-doctor"
    request = InitProducerIdRequest(
        transactional_id=name, transaction_timeout_ms=settings.transaction_timeout_ms
    )

    async def ask() -> None:
        node = await client.find_coordinator(name, _TRANSACTION)
        answer = await client._send_request_to_node(node, request)  # noqa: SLF001
        if answer.error_code:
            raise for_code(answer.error_code)(name)

    try:
        await _coordinated(ask)
    except KafkaError as problem:
        return clients.explain(problem)
    return None


async def _coordinated(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a coordinator, again while a cluster that has just begun makes the topic it needs."""
    until = time.monotonic() + COORDINATOR_SECONDS
    while True:
        try:
            return await ask()
        except COMING:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


async def _committed(client: AIOKafkaAdminClient, settings: Settings) -> dict[TopicPartition, int] | str:
    try:
        found = await _coordinated(lambda: client.list_consumer_group_offsets(settings.app_id))
    except KafkaError as problem:
        return clients.explain(problem)
    return {tp: entry.offset for tp, entry in found.items() if entry.offset >= 0}


async def _offsets(settings: Settings, found: Cluster, ahead_ms: int) -> None:
    """Where the topics begin and end, and which inputs hold a record stamped later than the clock says."""
    names = topics.names(settings)
    usable = [
        topic
        for spec in topics.specs(settings)
        if (topic := found.topics.get(spec.name)) is not None and not topic.leaderless
        and protocol.allows(topic.operations, protocol.Operation.READ)
    ]  # fmt: skip
    wanted = [TopicPartition(topic.name, number) for topic in usable for number in range(topic.partitions)]
    if not wanted:
        return
    reader = clients.consumer(settings)
    await reader.start()
    try:
        first, last = await reader.beginning_offsets(wanted), await reader.end_offsets(wanted)
        limit = Clock(settings.clock).now() + ahead_ms
        inputs = [tp for tp in wanted if tp.topic in names.inputs and last[tp] > 0]
        stamped = await reader.offsets_for_times(dict.fromkeys(inputs, limit)) if inputs else {}
    finally:
        await clients.stop(reader)
    found.ranges = {tp: (first[tp], last[tp]) for tp in wanted}
    found.ahead = {tp: one.timestamp for tp, one in stamped.items() if one is not None}

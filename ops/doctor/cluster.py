"""Reads the state of a Kafka cluster once; `lyo doctor` judges it afterwards."""

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
from lyo.streams.kafka import clients, existence, protocol
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
    """A topic of the cluster.

    Attributes:
        replicas: the fewest of any partition.
        in_sync: the fewest replicas in sync of any partition.
        leaderless: the number of partitions without a leader.
        operations: the permitted operations, as bits.
        config: None if it may not be read.
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
    """The state of a cluster. Times are in ms since the epoch; errors are texts."""

    brokers: dict[int, str] = field(default_factory=dict)
    level: int | None = None
    operations: int = 0
    settings: dict[int, Mapping[str, str] | None] = field(default_factory=dict)
    topics: dict[str, Topic] = field(default_factory=dict)
    groups: dict[str, int | str] = field(default_factory=dict)  # permitted operations, or an error
    transactions: str | None = None  # why no transaction can be begun
    idempotence: str | None = None  # why no idempotent producer can be started
    hidden: frozenset[str] = frozenset()  # topics of ours that may not be described
    committed: dict[TopicPartition, int] | str = field(default_factory=dict)
    ranges: dict[TopicPartition, tuple[int, int]] = field(default_factory=dict)
    ahead: dict[TopicPartition, int] = field(default_factory=dict)  # timestamp of a record from the future


def group_ids(settings: Settings) -> list[str]:
    """The groups of the workers and of the sink."""
    return [settings.app_id, f"{settings.app_id}-sink"]


async def look(settings: Settings, ahead_ms: int) -> Cluster:
    """Read the cluster's state once; records stamped more than `ahead_ms` in the future are reported.

    Raises:
        aiokafka.errors.KafkaError, OSError: it cannot be reached, or closed the connection.
    """
    state = Cluster()
    async with clients.admin(settings) as client:
        await _members(client, state)
        unseen = [spec.name for spec in topics.specs(settings) if spec.name not in state.topics]
        asked = await existence.described(client, unseen) if unseen else []
        state.hidden = frozenset(existence.hidden_among(asked or []))
        await _configurations(client, state, [spec.name for spec in topics.specs(settings)])
        for group in group_ids(settings):
            state.groups[group] = await _group(client, group)
        state.transactions = await _transactions(client, settings)
        state.idempotence = await _idempotence(client, settings)
        state.committed = await _committed(client, settings)
    await _offsets(settings, state, ahead_ms)
    return state


async def _members(client: AIOKafkaAdminClient, state: Cluster) -> None:
    answer = await client._send_request(protocol.ClusterRequest())  # noqa: SLF001 - there is no public method
    state.brokers = {broker[0]: f"{broker[1]}:{broker[2]}" for broker in answer.brokers}
    state.operations = answer.operations
    for entry in answer.to_object()["topics"]:
        state.topics[entry["topic"]] = _topic(entry)
    try:
        versions = await client._send_request(protocol.VersionsRequest())  # noqa: SLF001
    except (IncompatibleBrokerVersion, NotImplementedError):
        return
    state.level = protocol.metadata_level(versions)


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


async def _configurations(client: AIOKafkaAdminClient, state: Cluster, topic_names: list[str]) -> None:
    existing = [name for name in topic_names if name in state.topics]
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in existing]
    wanted += [ConfigResource(ConfigResourceType.BROKER, str(broker)) for broker in state.brokers]
    for answer in await client.describe_configs(wanted):
        for code, _, kind, name, entries in answer.resources:
            values = None if code else {entry[0]: str(entry[1]) for entry in entries}
            if kind == ConfigResourceType.BROKER:
                state.settings[int(name)] = values
            else:
                state.topics[name] = replace(state.topics[name], config=values)


async def _group(client: AIOKafkaAdminClient, group: str) -> int | str:
    """The permitted operations on a group, or why they are unknown."""

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
    """Why no transaction can be begun; None if one can. Uses a transactional id that no task has."""
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


async def _idempotence(client: AIOKafkaAdminClient, settings: Settings) -> str | None:
    """Why no idempotent producer without transactions can be started; None if one can."""
    request = InitProducerIdRequest(
        transactional_id=None, transaction_timeout_ms=settings.transaction_timeout_ms
    )
    try:
        answer = await client._send_request(request)  # noqa: SLF001 - there is no public method
        if answer.error_code:
            raise for_code(answer.error_code)("no producer id is given")
    except KafkaError as problem:
        return clients.explain(problem)
    return None


async def _coordinated(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a coordinator; ask again while a new cluster creates the topic that it needs."""
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
        entries = await _coordinated(lambda: client.list_consumer_group_offsets(settings.app_id))
    except KafkaError as problem:
        return clients.explain(problem)
    return {tp: entry.offset for tp, entry in entries.items() if entry.offset >= 0}


async def _offsets(settings: Settings, state: Cluster, ahead_ms: int) -> None:
    """Read the topics' beginning and end offsets, and find input records stamped in the future."""
    names = topics.names(settings)
    usable = [
        topic
        for spec in topics.specs(settings)
        if (topic := state.topics.get(spec.name)) is not None and not topic.leaderless
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
    state.ranges = {tp: (first[tp], last[tp]) for tp in wanted}
    state.ahead = {tp: record.timestamp for tp, record in stamped.items() if record is not None}

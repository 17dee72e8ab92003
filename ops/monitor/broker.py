"""Asks the broker about groups and logs, with clients of the monitor's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import for_code
from aiokafka.structs import OffsetAndMetadata

from lyo.ops.monitor.reading import Ends, LogReader
from lyo.streams.kafka import clients, existence
from lyo.streams.settings import Settings

ANSWER_SECONDS: Final = 5.0
FIRST_GROUP_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member as the broker lists it."""

    name: str
    client: str
    host: str
    partitions: frozenset[TopicPartition]


@dataclass(frozen=True, slots=True)
class Group:
    """A group as the broker describes it, with the broker's name of its state."""

    state: str
    members: tuple[GroupMember, ...]
    committed: Mapping[TopicPartition, OffsetAndMetadata]

    @property
    def owners(self) -> dict[TopicPartition, str]:
        """The member that each partition is assigned to."""
        return {tp: member.name for member in self.members for tp in member.partitions}


@dataclass(frozen=True, slots=True)
class Logs:
    """The partitions with a leader, by topic, their beginning and end offsets, and topics that are hidden."""

    partitions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ends: Ends = field(default_factory=lambda: Ends({}, {}, {}))
    hidden: frozenset[str] = frozenset()


class Broker:
    """One admin client and the readers; replaced by a new one after a failed look."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin = AIOKafkaAdminClient(**clients.connection(settings))
        self.reader = LogReader(settings)

    async def start(self) -> None:
        """Connect.

        Raises:
            aiokafka.errors.KafkaError, OSError, TimeoutError: the broker does not answer.
        """
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._admin.start()
            await self.reader.start()

    async def stop(self) -> None:
        """Close every connection."""
        await clients.close(self._admin)
        await self.reader.stop()

    async def logs(self, topics: Iterable[str]) -> Logs:
        """Partitions of the topics with beginning and end offsets, except those without a leader."""
        wanted = set(topics)
        async with asyncio.timeout(ANSWER_SECONDS):
            described = await existence.described(self._admin, sorted(wanted))
            if described is None:
                seen = sorted(wanted & set(await self._admin.list_topics()))
                described = await self._admin.describe_topics(seen) if seen else []
            hidden = frozenset(existence.hidden_among(described))
            partitions = {
                entry["topic"]: tuple(
                    sorted(part["partition"] for part in entry["partitions"] if part["leader"] >= 0)
                )
                for entry in described
                if not entry["error_code"]
            }
            every = [
                TopicPartition(topic, number) for topic, numbers in partitions.items() for number in numbers
            ]
            ends = await self.reader.ends(every) if every else Ends({}, {}, {})
            return Logs(partitions, ends, hidden)

    async def group(self, name: str) -> Group:
        """A group's members and what it has committed.

        Raises:
            aiokafka.errors.KafkaError, OSError, TimeoutError: the broker does not answer.
        """
        async with asyncio.timeout(ANSWER_SECONDS):
            # The first group of a cluster waits until Kafka has created the offsets topic.
            state, members = await clients.persist(lambda: self._described(name), FIRST_GROUP_SECONDS)
            return Group(state, members, await self._admin.list_consumer_group_offsets(name))

    async def _described(self, name: str) -> tuple[str, tuple[GroupMember, ...]]:
        # One group per request: aiokafka 0.14 misreads an answer with several (it skips no field of v3).
        (answer,) = await self._admin.describe_consumer_groups([name])
        error, _, state, _, _, members = answer.groups[0][:6]
        if error:
            raise for_code(error)(f"group {name}")
        return state, tuple(_member(*member[:5]) for member in members)


def _member(name: str, client: str, host: str, _metadata: bytes, assignment: Any) -> GroupMember:
    """A member; while the group rebalances it has no assignment."""
    owned: frozenset[TopicPartition] = frozenset()
    if assignment:
        decoded = ConsumerProtocolMemberAssignment.decode(assignment)
        owned = frozenset(
            TopicPartition(topic, number) for topic, numbers in decoded.assignment for number in numbers
        )
    return GroupMember(name, client, host.removeprefix("/"), owned)

"""What the broker says of groups and logs, asked with clients of the monitor's own."""

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
from lyo.streams.kafka import clients
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
    """A group as the broker describes it; ``state`` is the broker's word."""

    state: str
    members: tuple[GroupMember, ...]
    committed: Mapping[TopicPartition, OffsetAndMetadata]

    @property
    def owners(self) -> dict[TopicPartition, str]:
        """The member that each partition is assigned to."""
        return {tp: member.name for member in self.members for tp in member.partitions}


@dataclass(frozen=True, slots=True)
class Logs:
    """The partitions that have a leader, by topic, and where they begin and end."""

    partitions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ends: Ends = field(default_factory=lambda: Ends({}, {}, {}))


class Broker:
    """One admin client and the readers; a failed look is best followed by a new one of these."""

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
        """Let go of every connection."""
        await clients.close(self._admin)
        await self.reader.stop()

    async def logs(self, topics: Iterable[str]) -> Logs:
        """Where the topics' partitions begin and end; those without a leader are left out."""
        wanted = set(topics)
        async with asyncio.timeout(ANSWER_SECONDS):
            existing = sorted(wanted & set(await self._admin.list_topics()))
            described = await self._admin.describe_topics(existing) if existing else []
            partitions = {
                entry["topic"]: tuple(
                    sorted(part["partition"] for part in entry["partitions"] if part["leader"] >= 0)
                )
                for entry in described
            }
            every = [TopicPartition(topic, number) for topic, some in partitions.items() for number in some]
            return Logs(partitions, await self.reader.ends(every)) if every else Logs()

    async def group(self, name: str) -> Group:
        """A group's members and what it has committed.

        Raises:
            aiokafka.errors.KafkaError, OSError, TimeoutError: the broker does not say.
        """
        async with asyncio.timeout(ANSWER_SECONDS):
            # A cluster's first group waits until Kafka has made the topic of its offsets.
            state, members = await clients.persist(lambda: self._described(name), FIRST_GROUP_SECONDS)
            return Group(state, members, await self._admin.list_consumer_group_offsets(name))

    async def _described(self, name: str) -> tuple[str, tuple[GroupMember, ...]]:
        # One group for each request: aiokafka 0.14 misreads an answer with several (it skips no field of v3).
        (answer,) = await self._admin.describe_consumer_groups([name])
        error, _, state, _, _, members = answer.groups[0][:6]
        if error:
            raise for_code(error)(f"group {name}")
        return state, tuple(_member(*one[:5]) for one in members)


def _member(name: str, client: str, host: str, _metadata: bytes, assignment: Any) -> GroupMember:
    """A member; while the group rebalances it has no assignment."""
    owned: frozenset[TopicPartition] = frozenset()
    if assignment:
        decoded = ConsumerProtocolMemberAssignment.decode(assignment)
        owned = frozenset(
            TopicPartition(topic, number) for topic, some in decoded.assignment for number in some
        )
    return GroupMember(name, client, host.removeprefix("/"), owned)

"""A consumer group's coordinator: members, generations, session timeouts, the range assignor."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import IllegalGenerationError, UnknownMemberIdError

from tests.support.simulation.network import Network


@dataclass(eq=False)
class Member:
    """A member as the coordinator sees it."""

    topics: list[str]
    seen: float
    joining: asyncio.Future[Any] | None = None


@dataclass(eq=False)
class Group:
    """One group of one subscription, partitions numbered alike in each topic of more than one partition."""

    network: Network
    counts: dict[str, int]
    session: float
    rebalance: float
    members: dict[str, Member] = field(default_factory=dict)
    generation: int = 0
    preparing: bool = False

    def join(self, name: str, topics: list[str]) -> asyncio.Future[Any]:
        """Ask to be a member of the next generation; gives (generation, assignment)."""
        future: asyncio.Future[Any] = self.network.loop.create_future()
        member = self.members.setdefault(name, Member(topics, 0.0))
        if member.joining is not None and not member.joining.done():
            member.joining.cancel()
        member.topics, member.joining = topics, future
        self._seen(name)
        self._prepare()
        self._complete_if_all()
        return future

    def heartbeat(self, name: str, generation: int) -> str:
        """Say that a member lives; gives ok, rebalance or unknown."""
        member = self.members.get(name)
        if member is None:
            return "unknown"
        self._seen(name)
        if self.preparing:
            return "rebalance"
        return "ok" if generation == self.generation else "unknown"

    def check(self, name: str, generation: int) -> None:
        """Refuse a commit of a member that is none, or of another generation.

        While members are awaited for the next generation, those of this one may still commit.
        """
        if name not in self.members:
            raise UnknownMemberIdError
        if generation != self.generation:
            raise IllegalGenerationError
        self._seen(name)

    def leave(self, name: str) -> None:
        """A member goes."""
        if self.members.pop(name, None) is not None:
            self._prepare()
            self._complete_if_all()

    def _seen(self, name: str) -> None:
        member = self.members[name]
        member.seen = self.network.loop.time()
        self.network.later(self.session, self._expire, name, member, member.seen)

    def _expire(self, name: str, member: Member, seen: float) -> None:
        if self.members.get(name) is member and member.seen == seen and member.joining is None:
            self.leave(name)

    def _prepare(self) -> None:
        if not self.preparing:
            self.preparing = True
            self.network.later(self.rebalance, self._complete, self.generation)

    def _complete_if_all(self) -> None:
        if self.members and all(member.joining is not None for member in self.members.values()):
            # Kafka waits a moment for others that are starting, too.
            self.network.later(0.05, self._complete_all, self.generation)

    def _complete_all(self, generation: int) -> None:
        if all(member.joining is not None for member in self.members.values()):
            self._complete(generation)

    def _complete(self, generation: int) -> None:
        if not self.preparing or generation != self.generation:
            return
        self.members = {name: one for name, one in self.members.items() if one.joining is not None}
        self.preparing = False
        self.generation += 1
        names = sorted(self.members)
        for name in names:
            member = self.members[name]
            joining, member.joining = member.joining, None
            assigned = self._share(names, names.index(name), member.topics)
            if joining is not None and not joining.done():
                joining.set_result((self.generation, assigned))
            self._seen(name)

    def _share(self, names: list[str], place: int, topics: list[str]) -> list[TopicPartition]:
        shared: list[TopicPartition] = []
        for topic in topics:
            count = self.counts[topic]
            each, more = divmod(count, len(names))
            start = each * place + min(place, more)
            shared += [
                TopicPartition(topic, number) for number in range(start, start + each + (place < more))
            ]
        return shared

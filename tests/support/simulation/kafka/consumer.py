"""A consumer over the simulated broker, alone or in a group."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from tests.support.simulation.kafka.clients import Client, committed, take
from tests.support.simulation.kafka.log import Stored

if TYPE_CHECKING:
    from tests.support.simulation.kafka.cluster import Cluster

Offsets = dict[TopicPartition, int]


EVICTED = (IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


class Consumer(Client):
    """A read-committed consumer, alone or in a group."""

    def __init__(self, cluster: Cluster, more: Mapping[str, Any]) -> None:
        super().__init__(cluster)
        group = more.get("group_id")
        self._uncommitted = more["isolation_level"] != "read_committed"
        self.group = None if group is None else cluster.groups[group]
        self._group_name = group
        self._generation = -1
        self.name = f"{self.process.name}-{self.process.serial}"
        self._heartbeat = more.get("heartbeat_interval_ms", 1_000) / 1000
        self._assigned: set[TopicPartition] = set()
        self._positions: Offsets = {}
        self._topics: list[str] = []
        self._listener: Any = None
        self._membership: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._ready.set()
        self._closed = False
        self.paused: set[TopicPartition] = set()

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Connect, and join the group if there is one."""
        await self.link.call(lambda: None)
        if self._topics:
            self._ready.clear()
            self._membership = asyncio.get_running_loop().create_task(self._be_member())

    async def stop(self) -> None:
        """Leave the group and close."""
        self._closed = True
        self._ready.set()
        if self._membership is not None:
            self._membership.cancel()
            await asyncio.gather(self._membership, return_exceptions=True)
            group, name = self.group, self.name
            if group is not None:
                take(self.link.send(lambda: group.leave(name)))

    def subscribe(self, topics: Iterable[str], listener: Any = None) -> None:
        """Name the topics that the group shares."""
        self._topics, self._listener = list(topics), listener

    async def _be_member(self) -> None:
        group, belongs, prepared = self.group, False, True
        assert group is not None
        while True:
            try:
                if belongs:
                    await asyncio.sleep(self._heartbeat)
                    belongs = (
                        await self.link.call(partial(group.heartbeat, self.name, self._generation)) == "ok"
                    )
                else:
                    if not prepared:
                        prepared = True
                        self._ready.clear()
                        await self._tell("on_partitions_revoked", set(self._assigned))
                    self._generation, assigned = await asyncio.wait_for(
                        self.link.call(lambda: group.join(self.name, self._topics)), group.rebalance + 5
                    )
                    await self._take_assignment(assigned)
                    belongs, prepared = True, False
            except (KafkaError, TimeoutError):
                await asyncio.sleep(0.1)

    async def _take_assignment(self, assigned: list[TopicPartition]) -> None:
        self._assigned, self._positions = set(assigned), {}
        self.paused.clear()
        self._ready.set()
        await self._tell("on_partitions_assigned", set(assigned))

    async def _tell(self, what: str, partitions: set[TopicPartition]) -> None:
        if self._listener is not None:
            await getattr(self._listener, what)(partitions)

    # ------------------------------------------------------------ partitions

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions, without a group."""
        self._assigned, self._positions = set(partitions), {}

    def assignment(self) -> set[TopicPartition]:
        """What is assigned."""
        return set(self._assigned)

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Read from the beginning."""
        self._positions |= dict.fromkeys(partitions, 0)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read on from an offset."""
        if tp not in self._assigned:
            raise IllegalStateError(f"No current assignment for partition {tp}")
        self._positions[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        """The next offset to be read."""
        if tp not in self._assigned:
            raise IllegalStateError(f"Partition {tp} is not assigned")
        await self._find_positions()
        if tp not in self._positions:
            raise IllegalStateError(f"Partition {tp} is not assigned")
        return self._positions[tp]

    def known(self) -> Offsets:
        """The positions that are known."""
        return dict(self._positions)

    async def _find_positions(self) -> None:
        while unknown := sorted(self._assigned - set(self._positions)):
            group, assigned = self.group, self._assigned
            if group is None:
                found: Offsets = {}
            else:
                found = await self._forever(
                    partial(self.broker.group_offsets, self._group_name or "", unknown)
                )
            if assigned is self._assigned:
                for tp in unknown:
                    self._positions.setdefault(tp, found.get(tp, 0))

    async def _forever(self, effect: Any) -> Any:
        while True:
            try:
                return await self.link.call(effect)
            except EVICTED:
                raise
            except KafkaError:
                await asyncio.sleep(0.1)

    async def commit(self, offsets: Offsets) -> None:
        """Commit offsets as a member of the group; like aiokafka, try until it is done or refused."""
        group, name = self.group, self._group_name
        assert group is not None
        assert name is not None
        if not set(offsets) <= self._assigned:
            raise IllegalStateError("a partition is not assigned")
        generation = self._generation

        def commit() -> None:
            group.check(self.name, generation)
            self.broker.commit_offsets(name, committed(offsets))

        try:
            await self._forever(commit)
        except EVICTED as error:
            raise CommitFailedError from error

    async def topics(self) -> set[str]:
        """Every topic that may be described."""
        found: set[str] = await self.link.call(lambda: set(self.broker.partitions) - self.broker.hidden)
        return found

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> Offsets:
        """Where the partitions end."""
        wanted = list(partitions)
        found: Offsets = await self.link.call(lambda: self.broker.ends(wanted, uncommitted=self._uncommitted))
        return found

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> Offsets:
        """Where they begin."""
        wanted = list(partitions)
        found: Offsets = await self.link.call(lambda: dict.fromkeys(wanted, 0))
        return found

    # ------------------------------------------------------------ reading

    async def getmany(
        self, *, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Stored]]:
        """What is there, or what comes within the time."""
        polls = await self.poll(timeout_ms / 1000, max_records)
        return {tp: records for tp, (_, records, _) in polls.items() if records}

    async def poll(
        self, seconds: float, most: int | None = None
    ) -> dict[TopicPartition, tuple[int, list[Stored], int]]:
        """By partition: where the reader stood, what was read, and where it stands now."""
        if self._closed:
            raise ConsumerStoppedError
        until = asyncio.get_running_loop().time() + seconds
        await self._ready.wait()
        await self._find_positions()
        while not self._closed:
            polls = await self._fetch(most)
            left = until - asyncio.get_running_loop().time()
            if polls or left <= 0:
                return polls
            await _within(self.broker.changed(), left)
        raise ConsumerStoppedError

    def _records(self, tp: TopicPartition, at: int, most: int | None) -> tuple[list[Stored], int]:
        log = self.broker.logs[tp]
        return log.uncommitted(at, most) if self._uncommitted else log.committed(tp, at, most)

    async def _fetch(self, most: int | None) -> dict[TopicPartition, tuple[int, list[Stored], int]]:
        assigned = self._assigned
        wanted = {tp: at for tp, at in sorted(self._positions.items()) if tp not in self.paused}
        few = self.link.random.choice((1, 3, 20, None))
        limit = few if most is None else most if few is None else min(most, few)

        def read() -> dict[TopicPartition, tuple[list[Stored], int]]:
            return {tp: self._records(tp, at, limit) for tp, at in wanted.items()}

        try:
            found = await self.link.call(read)
        except KafkaError:
            return {}
        polls = {}
        for tp, (records, after) in found.items():
            same = assigned is self._assigned and self._positions.get(tp) == wanted[tp]
            if same and after > wanted[tp] and tp not in self.paused and self._ready.is_set():
                polls[tp] = (wanted[tp], records, after)
                self._positions[tp] = after
        return polls


async def _within(waiting: Awaitable[Any], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return

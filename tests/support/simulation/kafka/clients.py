"""Kafka clients over the simulated broker: what the product uses of aiokafka's, with its ways to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)

from lyo.streams.kafka.protocol import TopicIdsRequest
from tests.support.simulation.kafka.broker import Pair
from tests.support.simulation.kafka.log import Committed
from tests.support.simulation.loop import Process, current

if TYPE_CHECKING:
    from tests.support.simulation.kafka.cluster import Cluster


class Client:
    """What all clients have: a connection of the process that made them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.broker = cluster.broker
        self.process: Process = current()
        self.link = cluster.network.link(self.process, self.broker, KafkaConnectionError)

    @property
    def _client(self) -> Client:
        return self

    def get_random_node(self) -> int:
        """The only one."""
        return 0

    async def send(self, _node: int, request: TopicIdsRequest) -> Any:
        """Say the ids of topics, as aiokafka's inner client does."""

        def known() -> dict[str, Any]:
            ids, counts, hidden = self.broker.ids, self.broker.partitions, self.broker.hidden
            return {
                "topics": [
                    {
                        "topic": name,
                        "topic_id": ids[name],
                        "error_code": TopicAuthorizationFailedError.errno if name in hidden else 0,
                        "partitions": [{"leader": 0}] * counts[name],
                    }
                    for name in request.topics
                ]
            }

        said = await self.link.call(known)
        return SimpleNamespace(to_object=lambda: said)


class Batch:
    """A batch to be sent; it is full after so many bytes."""

    LIMIT = 900_000

    def __init__(self) -> None:
        self.records: list[Pair] = []
        self._size = 0

    def append(self, *, timestamp: int | None, key: bytes | None, value: bytes | None) -> Any:
        """Add a record, or give None when there is no room."""
        size = len(key or b"") + len(value or b"") + 20
        if self._size + size > self.LIMIT:
            return None
        self._size += size
        self.records.append((key, value))
        return self

    def record_count(self) -> int:
        """How many it holds."""
        return len(self.records)


class Producer(Client):
    """A producer: transactional if it has an id."""

    def __init__(self, cluster: Cluster, name: str | None) -> None:
        super().__init__(cluster)
        self._name = name
        self._epoch = -1
        self._sent: list[asyncio.Future[Any]] = []
        self._sender = None  # nothing goes on in the background that would have to be ended

    async def start(self) -> None:
        """Connect, and become the owner of the transactional id."""
        if self._name is not None:
            self._epoch = await self.link.call(lambda: self.broker.init(self._name or ""))

    async def stop(self) -> None:
        """Close; what is open is left for the next owner."""
        for future in self._sent:
            take(future)

    async def begin_transaction(self) -> None:
        """Begin; the broker hears of it with the first record."""
        self._sent = []

    @property
    def _txn_manager(self) -> Producer:
        return self

    def wait_for_transaction_end(self) -> asyncio.Future[Any]:
        """What aiokafka keeps an error in that nobody asks for; here each is told to who waits."""
        return asyncio.get_running_loop().create_future()

    def create_batch(self) -> Batch:
        """An empty batch."""
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Send a batch and give the future of its acknowledgement."""
        tp, records, name, epoch = (
            TopicPartition(topic, partition),
            batch.records,
            self._name or "",
            self._epoch,
        )
        future = self.link.send(lambda: self.broker.produce(name, epoch, tp, records))
        self._sent.append(future)
        return future

    async def send_offsets_to_transaction(
        self, offsets: Mapping[TopicPartition, int | tuple[int, str]], group: str
    ) -> None:
        """Add offsets to the transaction, with their metadata."""
        name, epoch = self._name or "", self._epoch
        said = committed(offsets)
        await self.link.call(lambda: self.broker.add_offsets(name, epoch, said, group))

    async def commit_transaction(self) -> None:
        """Wait for what was sent, then commit."""
        await asyncio.gather(*self._sent)
        name, epoch = self._name or "", self._epoch
        await self.link.call(lambda: self.broker.end(name, epoch, commit=True))

    async def abort_transaction(self) -> None:
        """Abort."""
        name, epoch = self._name or "", self._epoch
        await self.link.call(lambda: self.broker.end(name, epoch, commit=False))

    async def send(  # type: ignore[override]
        self, topic: str, value: bytes | None, key: bytes | None, *, partition: int
    ) -> asyncio.Future[Any]:
        """Send a record without a transaction, and give the future of its acknowledgement."""
        tp = TopicPartition(topic, partition)
        return self.link.send(lambda: self.broker.append(tp, [(key, value)]), faulty=False)

    async def send_and_wait(
        self, topic: str, value: bytes | None, key: bytes | None, *, partition: int
    ) -> None:
        """Send a record without a transaction; like aiokafka, try until it is taken."""
        tp = TopicPartition(topic, partition)
        await self.link.call(lambda: self.broker.append(tp, [(key, value)]), faulty=False)


class Admin(Client):
    """What is asked of the admin client."""

    async def start(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Close."""

    async def list_topics(self) -> list[str]:
        """Every topic."""
        found: list[str] = await self.link.call(lambda: list(self.broker.partitions))
        return found

    async def describe_topics(self, topics: list[str]) -> list[dict[str, Any]]:
        """The topics' partitions, each with its leader."""
        return [
            {"topic": name, "error_code": 0, "partitions": [{"leader": 0}] * self.broker.partitions[name]}
            for name in topics
        ]

    async def list_consumer_group_offsets(self, group: str, *, partitions: list[TopicPartition]) -> Any:
        """What the group has committed; of no partition at all if the broker cannot say yet."""
        wanted = list(partitions)
        return await self.link.call(lambda: self.broker.described_offsets(group, wanted))


def committed(offsets: Mapping[TopicPartition, int | tuple[int, str]]) -> dict[TopicPartition, Committed]:
    return {
        tp: Committed(said) if isinstance(said, int) else Committed(*said) for tp, said in offsets.items()
    }


def take(future: asyncio.Future[Any]) -> None:
    future.add_done_callback(lambda done: done.cancelled() or done.exception())

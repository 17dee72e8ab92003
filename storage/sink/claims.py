"""Which partitions a sink stores: given by its consumer group, claimed in Postgres, where the offsets are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from lyo.storage.faults import Retries, one_line
from lyo.storage.session import Session
from lyo.storage.sink.offset_mirror import Mirror
from lyo.storage.sink.offsets import Place, Position, check_range, claim
from lyo.storage.sink.sources import check_prefix
from lyo.streams import metrics
from lyo.streams.kafka import clients
from lyo.streams.kafka.client_ids import client_id, sink_group
from lyo.streams.log import logger
from lyo.streams.settings import Settings

FETCH_BYTES: Final = 524_288
GATHER_MS: Final = 100
GATHER_BYTES: Final = 65_536
# A sink that waits for Postgres must stay in its group.
POLL_INTERVAL_MS: Final = 24 * 3_600_000

log = logger("sink")


class Claims:
    """The partitions of one sink and where it continues in each.

    Attributes:
        positions: the next offset of each claimed partition.
        lock: held while a transaction runs; partitions are given back only between transactions.
        generation: counts the times that partitions were given back.
        is_assigned: whether the group has assigned partitions since the last revocation.
    """

    def __init__(self, session: Session, retries: Retries, stop: asyncio.Event, prefix: str) -> None:
        self.positions: dict[Place, Position] = {}
        self.lock = asyncio.Lock()
        self.generation = 0
        self.is_assigned = False
        self._session = session
        self._retries = retries
        self._stop = stop
        self._prefix = prefix
        self._consumer: Any = None
        self._mirror: Mirror | None = None

    def start(self, consumer: AIOKafkaConsumer) -> None:
        """Work with this consumer of the group."""
        self._consumer = consumer
        self._mirror = Mirror(consumer)

    def mirror(self) -> None:
        """Let the consumer group's offsets follow the positions, and say why nothing can be stored."""
        if self._mirror is not None:
            self._mirror.follow(self.positions, self._session.why)

    async def mirror_last(self) -> None:
        """Commit the positions to the consumer group before partitions are given back."""
        if self._mirror is not None:
            await self._mirror.last(self.positions)

    async def release(self, revoked: Iterable[TopicPartition]) -> None:
        """Give partitions back, after the transaction that may be writing them."""
        async with self.lock:
            self.generation += 1
            await self.mirror_last()
            self.is_assigned = False
            self.positions.clear()
        log.debug("gave back %d partitions", len(list(revoked)))

    def assigned(self) -> None:
        """Record that the group has assigned partitions.

        Between revocation and assignment the client still names the old partitions as its own. A sink that
        claimed them then would take them from their new owner.
        """
        self.is_assigned = True

    async def claim_new(self) -> None:
        """Claim in Postgres what the group has assigned, and read on from the offsets there."""
        for pause in self._retries.pauses():
            async with self.lock:
                if not self.is_assigned:
                    return
                new = sorted(self._consumer.assignment() - {TopicPartition(*p) for p in self.positions})
                if not new or self._stop.is_set():
                    return
                try:
                    await self._claim(new)
                except KafkaError as error:
                    metrics.SINK_RETRIES.inc()
                    log.warning("Kafka does not say where topics begin and end: %s", one_line(error))
                except Exception as error:  # noqa: BLE001 - judged
                    self._retries.passing(error)
                else:
                    return
            await self._retries.wait(pause)

    async def _claim(self, new: Sequence[TopicPartition]) -> None:
        ids = await clients.topic_ids(self._consumer, {tp.topic for tp in new})
        first = await self._consumer.beginning_offsets(new)
        async with self._session.at_work() as connection, connection.transaction():
            await check_prefix(connection, self._prefix)
            claimed = await claim(connection, {Place(*tp): first[tp] for tp in new}, ids)
        # Read after the claim: until then another sink may store, and overtake an end that was read before.
        end = await self._consumer.end_offsets(new)
        for tp in new:
            position = claimed[Place(*tp)]
            check_range(Place(*tp), position.next_offset, first[tp], end[tp])
            self._consumer.seek(tp, position.next_offset)
        self.positions |= claimed
        log.info("claimed %d partitions", len(new))

    async def reached(self) -> dict[Place, int]:
        """The offset up to which the consumer has read each claimed partition, past transaction markers too.

        Only partitions in which it has moved on; none at all if a partition is given away meanwhile.
        """
        assigned = self._consumer.assignment()
        target = {}
        for place, position in list(self.positions.items()):
            if TopicPartition(*place) in assigned:
                try:
                    reached = await self._consumer.position(TopicPartition(*place))
                except IllegalStateError:
                    return {}
                if reached > position.next_offset:
                    target[place] = reached
        return target


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Lets a transaction end before its partitions are given away."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Give the partitions back once the running transaction is over."""
        await self._claims.release(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Let the main loop claim the partitions in Postgres before it reads."""
        self._claims.assigned()


async def subscribed(settings: Settings, names: Sequence[str], claims: Claims) -> AIOKafkaConsumer:
    """A started consumer of the sinks' group; ``claims`` learns of revoked and assigned partitions.

    Raises:
        lyo.streams.kafka.clients.Unreachable: Kafka does not answer.
    """
    consumer = clients.consumer(
        settings,
        client_id=client_id(settings, "sink"),
        group_id=sink_group(settings),
        # One sink gets the same partition numbers of every topic.
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=max(settings.session_timeout_ms // 5, 200),
        rebalance_timeout_ms=settings.rebalance_timeout_ms,
        max_poll_interval_ms=POLL_INTERVAL_MS,
        max_partition_fetch_bytes=min(settings.fetch_bytes, FETCH_BYTES),
        # Without these every commit of every worker would be a fetch and a transaction of its own.
        fetch_max_wait_ms=GATHER_MS,
        fetch_min_bytes=GATHER_BYTES,
    )
    consumer.subscribe(names, listener=_Listener(claims))
    try:
        await clients.reach(settings, consumer.start)
    except BaseException:
        await clients.stop(consumer)
        raise
    return consumer

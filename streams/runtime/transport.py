"""All overrides of Faust: a transport whose messages to an agent are polls, each of one partition.

Faust provides the app, agents, topics, group membership and assignment. Its commits, recovery and
exactly-once mode are not used. A test compares the source code of everything that is overridden here with the
version it was written against, so a change in Faust is noticed.
"""

# The overrides use private names: Faust and aiokafka have no public ones for this.
# ruff: noqa: SLF001

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import faust
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError
from faust.transport.consumer import Consumer as FaustConsumer
from faust.transport.consumer import ConsumerThread, ThreadDelegateConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.kafka.client_ids import client_id
from lyo.streams.settings import Settings

FETCH_WAIT_MS = 500
POLL_SECONDS = 1.0

OVERRIDDEN: tuple[Any, ...] = (
    faust.App._new_transport,
    faust.App._create_directories,
    AIOKafkaConsumerThread._create_worker_consumer,
    AIOKafkaConsumerThread.getmany,
    AIOKafkaConsumerThread._fetch_records,
    Consumer._new_consumer_thread,
    FaustConsumer._drain_messages,
    FaustConsumer.getmany,
    FaustConsumer._wait_next_records,
    FaustConsumer.force_commit,
    ThreadDelegateConsumer._getmany,
    ConsumerThread.getmany,
    faust.Schema.compile,
)
"""Everything that is overridden here or copied in part, for the test that compares sources."""


@dataclass(frozen=True, slots=True)
class Poll:
    """The records of one partition in one poll.

    Offsets may be missing between records (transaction markers), but never between polls, so a task notices
    every gap.

    Attributes:
        tp: the partition.
        start: the reader's position before the poll.
        next: the reader's position after the poll.
        records: empty if only transaction markers were read.
    """

    tp: TopicPartition
    start: int
    next: int
    records: list[ConsumerRecord]


class PollThread(AIOKafkaConsumerThread):
    """Faust's consumer thread; it reads committed records and gives polls."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        """Build the group's consumer from the settings; Faust's own would read uncommitted records."""
        settings = cast("BatchApp", self.app).settings
        # Faust's assignor gives the same partition number of every topic to one worker; round robin does not.
        self._assignor = self.app.assignor
        return clients.consumer(
            settings,
            client_id=client_id(settings, "worker"),
            group_id=settings.app_id,
            partition_assignment_strategy=[self._assignor],
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=max(settings.session_timeout_ms // 4, 250),
            rebalance_timeout_ms=settings.rebalance_timeout_ms,
            # Kafka answers a join when the slowest member has given its partitions back.
            request_timeout_ms=max(settings.request_timeout_ms, settings.rebalance_timeout_ms + 5_000),
            # The watchdog ends a worker without progress; aiokafka would leave the group for good.
            max_poll_interval_ms=2**31 - 1,
            max_poll_records=settings.poll_records,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )

    async def getmany(  # type: ignore[override]
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109
    ) -> list[Poll]:
        """The next polls of the active partitions; empty after ``timeout`` seconds."""
        partitions = set(active_partitions or ())
        polls: list[Poll] = await self.call_thread(
            self._fetch_records, self._ensure_consumer(), partitions, timeout=timeout
        )
        return polls

    async def _fetch_records(  # type: ignore[override]
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109
        max_records: int | None = None,
    ) -> list[Poll]:
        if not self.consumer.flow_active:
            return []
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            polls = await self._take(consumer, active_partitions)
            if not polls and timeout:
                waiter = fetcher._create_fetch_waiter()
                done, _ = await asyncio.wait([waiter], timeout=timeout)
                if not done:
                    waiter.cancel()
                polls = await self._take(consumer, active_partitions)
        return polls

    async def _take(self, consumer: AIOKafkaConsumer, partitions: set[TP]) -> list[Poll]:
        """The fetched records as polls, with the positions before and after."""
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        before = self._positions(consumer, partitions)
        # With timeout 0 this runs without a suspension, so the positions before it are exact.
        drained = await fetcher.fetched_records(partitions, timeout=0, max_records=consumer._max_poll_records)
        after = self._positions(consumer, before)
        return [
            Poll(tp, before[tp], position, drained.get(tp, []))
            for tp, position in after.items()
            if position != before[tp]
        ]

    def _positions(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        assignment = consumer._subscription.subscription and consumer._subscription.subscription.assignment
        positions: dict[TopicPartition, int] = {}
        if not assignment:
            return positions
        for tp in partitions:
            key = TopicPartition(tp.topic, tp.partition)
            state = assignment.state_value(key)
            if state is not None and state.has_valid_position:
                positions[key] = state.position
        return positions

    async def positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The reader's positions, of those partitions that are assigned and have one."""

        async def inside() -> dict[TopicPartition, int]:
            return self._positions(self._ensure_consumer(), partitions)

        known: dict[TopicPartition, int] = await self.call_thread(inside)
        return known

    async def seek_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Continue reading at these offsets; partitions that are no longer assigned are ignored."""

        async def inside() -> None:
            consumer = self._ensure_consumer()
            assigned = consumer.assignment()
            for tp, offset in offsets.items():
                if tp in assigned:
                    consumer.seek(tp, offset)

        await self.call_thread(inside)


class PollConsumer(Consumer):
    """Faust's consumer; it delivers polls and commits nothing."""

    _thread: PollThread

    def _new_consumer_thread(self) -> PollThread:
        return PollThread(self, loop=self.loop, beacon=self.beacon)

    async def positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The reader's positions, of those partitions that are assigned and have one."""
        return await self._thread.positions(partitions)

    async def seek_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Continue reading at these offsets."""
        await self._thread.seek_to(offsets)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver nothing more of these partitions for now."""
        self.pause_partitions(TP(tp.topic, tp.partition) for tp in partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver those of these partitions again that are still assigned."""
        self.resume_partitions({TP(tp.topic, tp.partition) for tp in partitions} & self.assignment())

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit nothing: tasks commit offsets in their transactions. Drop the record of acked messages."""
        self._acked.clear()
        self._acked_index.clear()
        self._gap.clear()
        self._unacked_messages.clear()
        return False

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand polls to the streams until the consumer or the fetcher stops."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                polls, _ = await self._wait_next_records(POLL_SECONDS)
                for poll in cast("list[Poll]", polls or ()):
                    await self._hand_over(poll)
                await asyncio.sleep(0)
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    async def _hand_over(self, poll: Poll) -> None:
        tp = TP(poll.tp.topic, poll.tp.partition)
        if tp not in self.assignment():
            return
        if not self.flow_active:
            # During a rebalance the streams are stopped: read the poll again afterwards.
            await self.seek_to({poll.tp: poll.start})
            return
        message = ConsumerMessage(
            tp.topic,
            tp.partition,
            poll.start,
            timestamp=poll.records[0].timestamp / 1000.0 if poll.records else 0.0,
            timestamp_type=0,
            headers=None,
            key=None,
            value=cast("Any", poll),
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            # Without the current generation the stream drops the message silently.
            generation_id=self.app.consumer_generation_id,
        )
        await self.wait_first(self.callback(message), self.suspend_flow.wait())


class PollTransport(Transport):
    """Faust's aiokafka transport with the consumer above."""

    Consumer: ClassVar[type[PollConsumer]] = PollConsumer


class PollSchema(faust.Schema[Any, Any]):
    """Passes a poll on without decoding it."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Build the function that makes a Faust event of a message."""
        create_event = app.create_event

        async def decode(message: Any, **_: Any) -> Any:
            return create_event(None, message.value, None, message)

        return decode


class WorkerBoot(faust.app.BootStrategy):
    """Starts neither Faust's producer nor its web server, whatever the settings are."""

    enable_kafka_producer = False
    enable_web = False


class BatchApp(faust.App):
    """A Faust app whose messages are polls."""

    BootStrategy = WorkerBoot

    def __init__(self, settings: Settings, **options: Any) -> None:
        self.settings = settings
        super().__init__(settings.app_id, **options)

    def _new_transport(self) -> PollTransport:
        return PollTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Create no directories: nothing is stored on disk."""

    async def wait_until_ended(self) -> None:
        """Return when the app has failed or was stopped."""
        ends = [asyncio.ensure_future(event.wait()) for event in (self._crashed, self._stopped)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()


def create_app(settings: Settings) -> BatchApp:
    """A Faust app for a worker with these settings; connects nothing."""
    # Faust uses this only for its own clients; the product's are made by lyo.streams.kafka.clients.
    brokers = ";".join(f"kafka://{server}" for server in settings.servers)
    return BatchApp(
        settings,
        broker=brokers,
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=False,
        broker_session_timeout=settings.session_timeout_ms / 1000,
        broker_request_timeout=max(settings.request_timeout_ms, settings.session_timeout_ms) / 1000,
        broker_rebalance_timeout=settings.rebalance_timeout_ms / 1000,
        # Faust's commits do nothing here, so they may be rare.
        broker_commit_interval=3600.0,
        worker_redirect_stdouts=False,
    )


def input_topics(app: BatchApp) -> dict[str, Any]:
    """A Faust topic for every input topic, by name. Its messages are polls and are never acked."""
    names = topics.names(app.settings)
    return {name: app.topic(name, schema=PollSchema(), acks=False) for name in names.inputs}

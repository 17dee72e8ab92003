"""The sink: topics into Postgres, each record exactly once, through any crash of either.

The offsets live in Postgres in the transaction of the rows; the consumer group only shares out the
partitions. Postgres away means lag, not loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from lyo.models.erasure import ErasureMarkers
from lyo.models.events.decode import Kind
from lyo.storage.faults import Fault, SinkError, judge, lasting, one_line
from lyo.storage.session import Session
from lyo.storage.sink import erasures
from lyo.storage.sink.offset_mirror import Mirror
from lyo.storage.sink.offsets import Place, Position, check_range, claim
from lyo.storage.sink.records import Record, Refusal
from lyo.storage.sink.refused import RefusedRecords
from lyo.storage.sink.rows import TenantOf, tenant_of
from lyo.storage.sink.sources import check_prefix
from lyo.storage.sink.writer import Batch, Writer
from lyo.streams import metrics, topics
from lyo.streams.failpoints import Failpoints
from lyo.streams.kafka import clients
from lyo.streams.kafka.client_ids import client_id, sink_group
from lyo.streams.log import logger
from lyo.streams.metrics import Sample
from lyo.streams.runtime.global_topics import CatalogueFollower
from lyo.streams.settings import Settings
from lyo.streams.watchdog import Job, Jobs, ends_of, records_job, stalled, unless

BATCH_RECORDS: Final = 5_000
POLL_MS: Final = 300
FETCH_BYTES: Final = 524_288
GATHER_MS: Final = 100
GATHER_BYTES: Final = 65_536
# A sink that waits for Postgres must stay in its group.
POLL_INTERVAL_MS: Final = 24 * 3_600_000
# After SIGTERM, for the running transaction: a slow Postgres is let go of before (`Session.drop_soon`).
LATE_SECONDS: Final = 12.0
PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

log = logger("sink")


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Lets a batch end before its partitions are given away."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Forget where we stand once the running transaction is over."""
        await self._sink.release(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Let the main loop claim in Postgres what was given, before it reads."""
        self._sink.assigned()


class Sink:
    """One sink process."""

    def __init__(
        self,
        settings: Settings,
        *,
        batch_records: int = BATCH_RECORDS,
        tenants: TenantOf = tenant_of,
        failpoints: Failpoints | None = None,
    ) -> None:
        self.settings = settings
        self.names = topics.names(settings)
        self.writer = Writer(self.names, tenants, failpoints)
        self._erasures = self.names.topic(Kind.ERASURE)
        self.stored = 0
        self.positions: dict[Place, Position] = {}
        self._batch_records = batch_records
        self._session = Session(settings.database_url)
        self._consumer: Any = None
        self._mirror: Mirror | None = None
        self._markers = ErasureMarkers()
        self._letters = RefusedRecords(settings, self.names, self._markers)
        self._markers_seen = -1
        self._follower: Any = None
        self._partitions = settings.partitions
        self._lock = asyncio.Lock()
        self._generation = 0
        self._given = False
        self._full = False
        self._looked = 0
        self._stop = asyncio.Event()
        self.started = asyncio.Event()

    @property
    def refused(self) -> int:
        """How many records were put aside."""
        return self._letters.written

    def stop(self) -> None:
        """End after the running transaction, or within seconds without it."""
        self._stop.set()
        self._session.drop_soon()

    async def run(self) -> None:
        """Store what comes until `stop` is called.

        Raises:
            SinkError: the one line that says why it cannot go on.
            lyo.streams.kafka.clients.Unreachable: Kafka did not answer at the start.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._session.close)
            await self._session.first(self.settings.connect_seconds, self._stop)
            await unless(self._stopped_for(0), self._connect(stack))
            if self._stop.is_set():
                return
            self.started.set()
            storing = unless(self._stopped_for(LATE_SECONDS), self._store_all())
            reason = await unless(stalled(self.settings.stalled_seconds, self._jobs), storing)
            if reason is not None:
                raise SinkError(reason)

    async def _connect(self, stack: contextlib.AsyncExitStack) -> None:
        """Start everything; ``stack`` learns how to stop it."""
        self._consumer = await self._subscribe()
        stack.push_async_callback(clients.stop, self._consumer)
        stack.push_async_callback(self._letters.close)
        self._mirror = Mirror(self._consumer)
        stack.push_async_callback(self._say_last)
        self._follower = self._create_follower()
        stack.push_async_callback(self._follower.stop)
        await clients.reach(self.settings, lambda: self._follower.start(self._consumer))

    async def _stopped_for(self, seconds: float) -> None:
        await self._stop.wait()
        await asyncio.sleep(seconds)

    async def _store_all(self) -> None:
        while not self._stop.is_set():
            await self._claim_new()
            await self._step()
            if self._mirror is not None:
                self._mirror.follow(self.positions)

    async def _jobs(self) -> Jobs:
        """What there is to store, by topic-partition; nothing while Postgres is what is waited for."""
        if self._session.working:
            return {}
        drops = self._session.drops
        if not self._given:
            return {"group": Job((self._generation, drops), "a rebalance under way")}
        at = {TopicPartition(*place): position.next_offset for place, position in self.positions.items()}
        unclaimed = self._consumer.assignment() - set(at)
        wanted = [*at, *self._follower.partitions]
        ends = await ends_of(self._consumer, wanted, self.settings.request_timeout_ms / 1000)
        stored, before = sum(at.values()), self._looked
        self._looked = stored
        # What has been fetched of other partitions comes first.
        turn = not self._full or stored == before
        jobs: dict[Hashable, Job] = {}
        for tp, offset in at.items():
            job = records_job((offset, drops), {tp: offset}, ends, f"records of {tp.topic}-{tp.partition}")
            jobs[tp] = job._replace(turn=turn)
        jobs["claims"] = Job((len(at), drops), "partitions to be claimed" if unclaimed else "")
        jobs["erasures"] = self._follower.job(ends)
        return jobs

    def samples(self) -> Iterator[Sample]:
        """What Prometheus is shown: only of the partitions claimed now; from any thread."""
        yield Sample("lyo_sink_records", self.stored)
        yield Sample("lyo_sink_refused", self.refused)
        for topic, count in Counter(place.topic for place in list(self.positions)).items():
            yield Sample("lyo_sink_partitions", count, (topic,))

    # ------------------------------------------------------------ partitions

    async def _subscribe(self) -> AIOKafkaConsumer:
        existing = await clients.reach(self.settings, self._existing)
        for topic in (*self.writer.topics, self._erasures):
            if topic not in existing:
                raise SinkError(f"topic {topic} does not exist: create the topics with `lyo topics`")
        self._partitions = existing[self._erasures]
        consumer = clients.consumer(
            self.settings,
            client_id=client_id(self.settings, "sink"),
            group_id=sink_group(self.settings),
            # The same numbers of every topic to the same sink.
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=self.settings.session_timeout_ms,
            heartbeat_interval_ms=max(self.settings.session_timeout_ms // 5, 200),
            rebalance_timeout_ms=self.settings.rebalance_timeout_ms,
            max_poll_interval_ms=POLL_INTERVAL_MS,
            max_partition_fetch_bytes=min(self.settings.fetch_bytes, FETCH_BYTES),
            # Else every commit of every worker is an answer and a transaction of its own.
            fetch_max_wait_ms=GATHER_MS,
            fetch_min_bytes=GATHER_BYTES,
        )
        consumer.subscribe(self.writer.topics, listener=_Listener(self))
        try:
            await clients.reach(self.settings, consumer.start)
        except BaseException:
            await clients.stop(consumer)
            raise
        return consumer

    async def _existing(self) -> dict[str, int]:
        async with clients.admin(self.settings) as admin:
            return await clients.partition_counts(admin, [*self.writer.topics, self._erasures])

    async def release(self, revoked: Iterable[TopicPartition]) -> None:
        """Give partitions back, after the transaction that may be writing them."""
        async with self._lock:
            self._generation += 1
            await self._say_last()
            self._given = False
            self.positions.clear()
        log.debug("gave back %d partitions", len(list(revoked)))

    async def _say_last(self) -> None:
        if self._mirror is not None:
            await self._mirror.last(self.positions)

    def assigned(self) -> None:
        """Partitions were given: until now the client went on naming those given back as its own.

        A sink that claimed those again took them from their new owner.
        """
        self._given = True

    async def _claim_new(self) -> None:
        """Claim in Postgres what the group has assigned, and read on from the offsets there."""
        for pause in self._pauses():
            async with self._lock:
                if not self._given:
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
                    self._passing(error)
                else:
                    return
            await self._pause(pause)

    async def _claim(self, new: Sequence[TopicPartition]) -> None:
        ids = await clients.topic_ids(self._consumer, {tp.topic for tp in new})
        first = await self._consumer.beginning_offsets(new)
        async with self._session.at_work() as connection, connection.transaction():
            await check_prefix(connection, self.names.prefix)
            claimed = await claim(connection, {Place(*tp): first[tp] for tp in new}, ids)
        # Only now does nobody else store any more: an end read before may be overtaken.
        end = await self._consumer.end_offsets(new)
        for tp in new:
            position = claimed[Place(*tp)]
            check_range(Place(*tp), position.next_offset, first[tp], end[tp])
            self._consumer.seek(tp, position.next_offset)
        self.positions |= claimed
        log.info("claimed %d partitions", len(new))

    # ------------------------------------------------------------ batches

    async def _step(self) -> None:
        """One poll, stored."""
        generation = self._generation
        polled = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=self._batch_records)
        self._full = sum(map(len, polled.values())) >= self._batch_records
        if generation != self._generation:
            return
        records = [
            record
            for tp, some in polled.items()
            if (position := self.positions.get(Place(*tp))) is not None
            for record in some
            if record.offset >= position.next_offset
        ]
        target = await self._reached()
        if target:
            await self._store(records, target, generation)
        elif self._markers_seen != self._markers.revision:
            await self._erase(generation)

    async def _reached(self) -> dict[Place, int]:
        """How far the consumer has read each claimed partition, past transaction markers, too."""
        assigned = self._consumer.assignment()
        target = {}
        for place, position in list(self.positions.items()):
            if TopicPartition(*place) in assigned:
                try:
                    reached = await self._consumer.position(TopicPartition(*place))
                except IllegalStateError:
                    return {}  # given away since we looked
                if reached > position.next_offset:
                    target[place] = reached
        return target

    async def _store(self, records: Sequence[Record], target: Mapping[Place, int], generation: int) -> None:
        """Store records in one transaction, or, where one of them is refused, in several."""
        if not await self._erase(generation):
            return
        batch = self.writer.prepare(records)
        if batch.refused:
            await self._letters.write(batch.refused)
            refused = {id(refusal.record) for refusal in batch.refused}
            records = [record for record in records if id(record) not in refused]
        error = await self._until_stored(batch, target, generation)
        if error is None:
            return
        if len(records) <= 1:
            await self._letters.write([Refusal(record, one_line(error)) for record in records])
            await self._store([], target, generation)
            return
        half = len(records) // 2
        await self._store(records[:half], self._part(records[:half]), generation)
        await self._store(records[half:], target, generation)

    def _part(self, records: Iterable[Record]) -> dict[Place, int]:
        return {Place(record.topic, record.partition): record.offset + 1 for record in records}

    async def _until_stored(
        self, batch: Batch, target: Mapping[Place, int], generation: int
    ) -> Exception | None:
        """Try until it is stored, given away, or we are to stop; gives back what a record is refused with."""
        for pause in self._pauses():
            async with self._lock:
                if generation != self._generation or self._stop.is_set():
                    return None
                try:
                    await self._attempt(batch, target)
                except Exception as error:  # noqa: BLE001 - judged
                    if judge(error) is Fault.DATA:
                        return error
                    self._passing(error)
                else:
                    return None
            await self._pause(pause)
        return None

    async def _attempt(self, batch: Batch, target: Mapping[Place, int]) -> None:
        ahead = {p: offset for p, offset in target.items() if offset > self.positions[p].next_offset}
        async with self._session.at_work() as connection:
            began = time.monotonic()
            stored = await self.writer.store(connection, batch, self.positions, ahead, self._markers)
        if stored:
            self.stored += batch.stored
            metrics.STORE_SECONDS.observe(time.monotonic() - began)
            metrics.STORE_RECORDS.observe(batch.stored)
        for place, offset in ahead.items():
            self.positions[place].next_offset = offset

    def _passing(self, error: Exception) -> None:
        """Note an error that may pass, and let go of the connection.

        Raises:
            SinkError: it will not pass.
        """
        if isinstance(error, SinkError):
            raise error
        if judge(error) is not Fault.PASSING:
            raise lasting(error) from error
        self._session.drop()
        metrics.SINK_RETRIES.inc()
        log.warning("Postgres is away, trying again: %s", one_line(error))

    def _pauses(self) -> Iterable[float]:
        yield from PAUSES
        while not self._stop.is_set():
            yield PAUSES[-1]

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    # ------------------------------------------------------------ erasures

    def _create_follower(self) -> CatalogueFollower:
        # The topic's own number of partitions counts: a sink needs no LYO_PARTITIONS.
        settings = self.settings.model_copy(update={"partitions": self._partitions})
        return CatalogueFollower(settings, self.names, None, self._markers)

    async def _erase(self, generation: int) -> bool:
        """Before anything is stored: read every erasure that was acknowledged, and carry it out.

        Gives whether that is done; if not, the partitions are given away, or we are to stop.
        """
        for pause in self._pauses():
            async with self._lock:
                if generation != self._generation or self._stop.is_set():
                    return False
                try:
                    await self._follower.catch_up()
                    await self._carry_out()
                except (KafkaError, TimeoutError) as error:
                    if self._follower.task.done():
                        raise SinkError(f"following the erasures failed: {one_line(error)}") from None
                    log.warning("Kafka does not say what is erased, trying again: %s", one_line(error))
                except Exception as error:  # noqa: BLE001 - judged
                    self._passing(error)
                else:
                    return True
            await self._pause(pause)
        return False

    async def _carry_out(self) -> None:
        """Delete the rows of learners whose markers are new; at the start, of all who stay forgotten."""
        markers, first = self._markers, self._markers_seen < 0
        if self._markers_seen == markers.revision:
            return
        seen, known = markers.revision, dict(markers.items())
        async with self._session.at_work() as connection:
            wanted = await erasures.changed(connection, known)
            if first:
                # Postgres may be an older copy of itself, which knows the marker and still has the rows.
                wanted |= {user: marker for user, marker in known.items() if not marker.is_open}
            if wanted:
                count = await self.writer.erase(connection, wanted, self._partitions)
                log.info("erased learners=%d rows=%d", len(wanted), count)
        self._markers_seen = seen

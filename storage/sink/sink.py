"""The sink: topics into Postgres, each record exactly once, through any crash of either.

The offsets live in Postgres, in the transaction of the rows. The consumer group only distributes the
partitions among the sinks. While Postgres is away the sink lags and loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from lyo.models.erasure import ErasureMarkers
from lyo.models.events.decode import Kind
from lyo.storage.faults import Fault, Retries, SinkError, judge, one_line
from lyo.storage.session import Session
from lyo.storage.sink import erasures
from lyo.storage.sink.claims import Claims, subscribed
from lyo.storage.sink.offsets import Place, Position
from lyo.storage.sink.records import Record, Refusal, placed
from lyo.storage.sink.refused import RefusedRecords
from lyo.storage.sink.rows import TenantOf, tenant_of
from lyo.storage.sink.writer import Batch, Writer
from lyo.streams import metrics, topics
from lyo.streams.failpoints import Failpoints
from lyo.streams.kafka import clients
from lyo.streams.log import logger
from lyo.streams.metrics import Sample
from lyo.streams.runtime.global_topics import CatalogueFollower
from lyo.streams.settings import Settings
from lyo.streams.watchdog import Job, Jobs, ends_of, records_job, stalled, unless

BATCH_RECORDS: Final = 5_000
POLL_MS: Final = 300
# For the running transaction after SIGTERM; a slow Postgres is dropped earlier (`Session.drop_soon`).
LATE_SECONDS: Final = 12.0

log = logger("sink")


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
        self.started = asyncio.Event()
        self.stored = 0
        self.misplaced = 0
        self._stop = asyncio.Event()
        self._session = Session(settings.database_url)
        self._retries = Retries(self._stop, self._drop)
        self.claims = Claims(self._session, self._retries, self._stop, self.names.prefix)
        self._erasures = self.names.topic(Kind.ERASURE)
        self._batch_records = batch_records
        self._consumer: Any = None
        self._markers = ErasureMarkers()
        self._markers_seen = -1
        self._refused = RefusedRecords(settings, self.names, self._markers)
        self._follower: Any = None
        self._partitions = settings.partitions
        self._is_full = False
        self._stored_before = 0

    @property
    def positions(self) -> dict[Place, Position]:
        """The next offset of each partition that this sink stores."""
        return self.claims.positions

    @property
    def refused(self) -> int:
        """How many records became dead letters."""
        return self._refused.written

    def _drop(self, error: BaseException) -> None:
        """Drop the connection after an error that may pass, and say so where the monitor looks."""
        self._session.drop(error)
        self.claims.mirror()

    def stop(self) -> None:
        """End after the running transaction, or within seconds without it."""
        self._stop.set()
        self._session.drop_soon()

    async def run(self) -> None:
        """Store what arrives until `stop` is called.

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
        stack.push_async_callback(self._refused.close)
        self.claims.start(self._consumer)
        stack.push_async_callback(self.claims.mirror_last)
        self._follower = self._create_follower()
        stack.push_async_callback(self._follower.stop)
        await clients.reach(self.settings, lambda: self._follower.start(self._consumer))

    async def _subscribe(self) -> AIOKafkaConsumer:
        try:
            existing = await clients.reach(self.settings, self._existing)
        except topics.TopicError as hidden:
            raise SinkError(str(hidden)) from None
        for topic in (*self.writer.topics, self._erasures):
            if topic not in existing:
                raise SinkError(f"topic {topic} does not exist: create the topics with `lyo topics`")
        self._partitions = existing[self._erasures]
        return await subscribed(self.settings, self.writer.topics, self.claims)

    async def _existing(self) -> dict[str, int]:
        async with clients.admin(self.settings) as admin:
            return await clients.partition_counts(admin, [*self.writer.topics, self._erasures])

    def _create_follower(self) -> CatalogueFollower:
        # The number of partitions is the topic's own, so a sink needs no LYO_PARTITIONS.
        settings = self.settings.model_copy(update={"partitions": self._partitions})
        return CatalogueFollower(settings, self.names, None, self._markers)

    async def _stopped_for(self, seconds: float) -> None:
        await self._stop.wait()
        await asyncio.sleep(seconds)

    async def _store_all(self) -> None:
        while not self._stop.is_set():
            await self.claims.claim_new()
            await self._step()
            self.claims.mirror()

    # ------------------------------------------------------------ what others see

    async def _jobs(self) -> Jobs:
        """The work by topic-partition, for the watchdog; none while the sink waits for Postgres."""
        if self._session.working:
            return {}
        drops = self._session.drops
        if not self.claims.is_assigned:
            return {"group": Job((self.claims.generation, drops), "a rebalance under way")}
        at = {TopicPartition(*place): position.next_offset for place, position in self.positions.items()}
        unclaimed = self._consumer.assignment() - set(at)
        wanted = [*at, *self._follower.partitions]
        ends = await ends_of(self._consumer, wanted, self.settings.request_timeout_ms / 1000)
        stored, before = sum(at.values()), self._stored_before
        self._stored_before = stored
        # After a full poll the records that were fetched of other partitions come first.
        turn = not self._is_full or stored == before
        jobs: dict[Hashable, Job] = {}
        for tp, offset in at.items():
            job = records_job((offset, drops), {tp: offset}, ends, f"records of {tp.topic}-{tp.partition}")
            jobs[tp] = job._replace(turn=turn)
        jobs["claims"] = Job((len(at), drops), "partitions to be claimed" if unclaimed else "")
        jobs["erasures"] = self._follower.job(ends)
        return jobs

    def samples(self) -> Iterator[Sample]:
        """Samples for Prometheus, only of the partitions claimed now; called from any thread."""
        yield Sample("lyo_sink_records", self.stored)
        yield Sample("lyo_sink_refused", self.refused)
        yield Sample("lyo_sink_misplaced", self.misplaced)
        if state := self._session.state:
            yield Sample("lyo_sink_waits", 1, (state,))
        for topic, count in Counter(place.topic for place in list(self.positions)).items():
            yield Sample("lyo_sink_partitions", count, (topic,))

    # ------------------------------------------------------------ batches

    async def _step(self) -> None:
        """Poll once and store what arrived."""
        generation = self.claims.generation
        polled = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=self._batch_records)
        self._is_full = sum(map(len, polled.values())) >= self._batch_records
        if generation != self.claims.generation:
            return
        records = [
            record
            for tp, of_partition in polled.items()
            if (position := self.positions.get(Place(*tp))) is not None
            for record in of_partition
            if record.offset >= position.next_offset
        ]
        target = await self.claims.reached()
        if target:
            await self._store(self._placed(records), target, generation)
        elif self._markers_seen != self._markers.revision:
            await self._erase(generation)

    def _placed(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records without those that belong to another partition number's learners."""
        kept, others = placed(records, self._partitions, self.names.catalogue)
        # A tombstone is what `lyo misplaced` writes.
        left_out = sum(record.value is not None for record in others)
        if left_out:
            self.misplaced += left_out
            log.warning("left out records=%d of learners of other partitions: see `lyo misplaced`", left_out)
        return kept

    async def _store(self, records: Sequence[Record], target: Mapping[Place, int], generation: int) -> None:
        """Store records in one transaction, or in several where Postgres refuses one of them."""
        if not await self._erase(generation):
            return
        batch = self.writer.prepare(records)
        if batch.refused:
            await self._refused.write(batch.refused)
            refused = {id(refusal.record) for refusal in batch.refused}
            records = [record for record in records if id(record) not in refused]
        error = await self._until_stored(batch, target, generation)
        if error is None:
            return
        if len(records) <= 1:
            await self._refused.write([Refusal(record, one_line(error)) for record in records])
            await self._store([], target, generation)
            return
        half = len(records) // 2
        await self._store(records[:half], _offsets_after(records[:half]), generation)
        await self._store(records[half:], target, generation)

    async def _until_stored(
        self, batch: Batch, target: Mapping[Place, int], generation: int
    ) -> Exception | None:
        """Try until the batch is stored, its partitions are given away, or the sink is to stop.

        Gives the error with which Postgres refuses a record of the batch, if it does.
        """
        for pause in self._retries.pauses():
            async with self.claims.lock:
                if self._is_over(generation):
                    return None
                try:
                    return await self._refusal(batch, target)
                except Exception as error:  # noqa: BLE001 - judged
                    self._retries.passing(error)
            await self._retries.wait(pause)
        return None

    async def _refusal(self, batch: Batch, target: Mapping[Place, int]) -> Exception | None:
        """Store a batch; gives the error with which Postgres refuses a record of it, if it does.

        A record is to blame only if the batch can be stored without it: the same transaction without records
        is committed, and a single record is tried once more after that.

        Raises:
            Exception: no record is to blame.
        """
        refused = None
        for _ in range(2 if batch.stored == 1 else 1):
            try:
                await self._attempt(batch, target)
            except Exception as error:
                if judge(error) is not Fault.DATA or not batch.stored:
                    raise
                refused = error
            else:
                return None
            await self._attempt_nothing(batch, target)
        return refused

    async def _attempt_nothing(self, batch: Batch, target: Mapping[Place, int]) -> None:
        """Commit what a batch's transaction has besides its records, with the offsets as they are."""
        here = {place: self.positions[place].next_offset for place in target}
        async with self._session.at_work() as connection:
            await self.writer.store(connection, Batch(partitions=batch.partitions), self.positions, here)

    def _is_over(self, generation: int) -> bool:
        return generation != self.claims.generation or self._stop.is_set()

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

    # ------------------------------------------------------------ erasures

    async def _erase(self, generation: int) -> bool:
        """Read every acknowledged erasure and carry it out, before anything is stored.

        Gives whether that is done; if not, the partitions are given away or the sink is to stop.
        """
        for pause in self._retries.pauses():
            async with self.claims.lock:
                if self._is_over(generation):
                    return False
                try:
                    await self._follower.catch_up()
                    await self._carry_out()
                except (KafkaError, TimeoutError) as error:
                    if self._follower.task.done():
                        raise SinkError(f"following the erasures failed: {one_line(error)}") from None
                    log.warning("Kafka does not say what is erased, trying again: %s", one_line(error))
                except Exception as error:  # noqa: BLE001 - judged
                    self._retries.passing(error)
                else:
                    return True
            await self._retries.wait(pause)
        return False

    async def _carry_out(self) -> None:
        """Delete the rows of learners whose markers are new; at the start, of all who stay erased."""
        markers, is_first = self._markers, self._markers_seen < 0
        if self._markers_seen == markers.revision:
            return
        seen, known = markers.revision, dict(markers.items())
        async with self._session.at_work() as connection:
            wanted = await erasures.changed(connection, known)
            if is_first:
                # Postgres may be restored from a backup that has the marker and still has the rows.
                wanted |= {user: marker for user, marker in known.items() if not marker.is_open}
            if wanted:
                count = await self.writer.erase(connection, wanted, self._partitions)
                log.info("erased learners=%d rows=%d", len(wanted), count)
        self._markers_seen = seen


def _offsets_after(records: Iterable[Record]) -> dict[Place, int]:
    return {Place(record.topic, record.partition): record.offset + 1 for record in records}

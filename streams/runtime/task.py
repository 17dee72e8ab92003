"""One partition number's task: its batches and its sweeps, one at a time, each in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import numpy as np
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from lyo.models.events.anomalies import notice
from lyo.models.events.decode import Columns, Kind, Rejected, decode
from lyo.models.events.order import merged
from lyo.streams import metrics
from lyo.streams.dead_letters import encode
from lyo.streams.kafka import clients
from lyo.streams.kafka.clients import explain
from lyo.streams.log import Complaint, logger
from lyo.streams.producers.transactional_producer import Pair, TransactionalProducer
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.linger import Linger
from lyo.streams.runtime.offset_metadata import EventCounts
from lyo.streams.runtime.ports import Changes, Engine
from lyo.streams.runtime.record_buffer import RecordBuffer
from lyo.streams.runtime.restore import (
    OffsetError,
    OffsetsBehind,
    Restored,
    committed_counts,
    committed_offsets,
    offsets_record,
    restore,
    same_topics,
)
from lyo.streams.runtime.tombstones import Eraser
from lyo.streams.runtime.transport import Poll
from lyo.streams.watchdog import Job, records_job

FENCED = (ProducerFenced, InvalidProducerEpoch)
RETRIED = (KafkaError, OSError, TimeoutError)
# A sweep's piece holds up every other task of the process: a tenth of a second or two.
SWEEP_RECORDS = 1_000
# Of the process's time while events wait: what they change need not be swept before.
SWEEP_SHARE = 0.05
# Fewer are worth waiting for more; of so many, an event's share of a transaction is small.
FEW_RECORDS = 500
GAP_SECONDS = 5.0
# After a failure; it doubles with each further one until something is committed.
REST_SECONDS = 0.1
LONGEST_REST_SECONDS = 5.0
# After so many openings without a transaction another one is no progress any more.
OPENINGS_IN_VAIN = 3
LOOK_AGAIN_SECONDS = 1.0
COMPLAINT_SECONDS = 60.0
FAR_BEHIND = "late, or published again and counted twice (docs/rebuild.md)"

log = logger("task")


class Task:
    """The state of one partition number, from its opening to its close.

    One coroutine does everything in turn, which is the task's lock: batches first, sweeps in between.
    """

    def __init__(self, number: int, context: TaskContext) -> None:
        self.number = number
        self.context = context
        self.kinds = {TopicPartition(name, number): kind for name, kind in context.names.inputs.items()}
        self.buffer = RecordBuffer(context.settings.batch_records)
        self.is_open = False
        self.transactions = 0
        self.expected: dict[TopicPartition, int] = {}
        self._engine: Engine | None = None
        self._producer: TransactionalProducer | None = None
        self._event_counts = EventCounts()
        self._last_seen: dict[TopicPartition, int] = {}
        self._letters_from: dict[TopicPartition, int] = {}
        self._recorded: dict[TopicPartition, int] = {}
        self._topics: dict[str, str] = {}
        self._eraser = Eraser(number, context, self._has_read)
        self._rest = REST_SECONDS
        self._openings = 0
        self._read = 0
        self._queues = False
        self._paused: set[TopicPartition] = set()
        self._sought: dict[TopicPartition, float] = {}
        self._astray: dict[TopicPartition, int] = {}
        self._closing = False
        self._running = asyncio.Event()
        self._running.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._next_tick = 0.0
        self._linger = Linger()
        self._far_behind = Complaint(
            log, f"task={number} events far behind=%d: {FAR_BEHIND}", COMPLAINT_SECONDS
        )

    # ------------------------------------------------------------ from outside

    def offer(self, poll: Poll) -> None:
        """Take a poll; never waits. A task that is not open yet reads it again later."""
        if not self.is_open:
            self._pause_reader([poll.tp])
            return
        self.buffer.put(poll)
        self.context.waiting.add(self.number)
        if self.buffer.full:
            self._pause_reader([poll.tp])

    def job(self, ends: Mapping[TopicPartition, int] | None) -> Job:
        """What there is to do up to the end offsets given; None: Kafka does not say."""
        done = self.transactions, self._read
        if not self.is_open:
            return Job(done, f"partition {self.number} to be opened", turn=not self._queues)
        at = {tp: self.expected.get(tp, 0) for tp in self.kinds}
        return records_job(done, at, ends, f"events of partition {self.number}")

    async def pause(self, seconds: float) -> None:
        """Begin nothing new, and wait for what is under way, at most so long."""
        self._running.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("task=%d is still in a transaction after %g s of a rebalance", self.number, seconds)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._running.set()

    def close(self) -> None:
        """Let `run` end after what is under way."""
        self._closing = True
        self._running.set()
        self.buffer.wake()

    async def run(self) -> None:
        """Open the task and work until closed.

        Raises:
            ProducerFenced: another worker has opened this number; the task is given up.
            Exception: an error that opening anew would not mend.
        """
        while not self._closing:
            try:
                await self._open()
                await self._work()
            except FENCED as error:
                raise ProducerFenced(
                    f"partition number {self.number} was opened by another worker"
                ) from error
            except RETRIED as error:
                metrics.PARTITION_FAILURES.labels("retried").inc()
                log.warning("task=%d failed and is opened anew: %s", self.number, explain(error))
            finally:
                await self._discard()
            # Nothing is put into the inbox while the task is not open: only `close` ends this.
            self._rest = min(self._rest * 2, LONGEST_REST_SECONDS)
            await self.buffer.wait(self._rest)

    def _has_committed(self) -> None:
        self.transactions += 1
        self._rest, self._openings = REST_SECONDS, 0

    def _has_read(self, records: int) -> None:
        """Count what is read back: progress, unless that has led to no transaction again and again."""
        if self._openings <= OPENINGS_IN_VAIN:
            self._read += records

    # ------------------------------------------------------------ opening

    async def _open(self) -> None:
        context, began = self.context, time.monotonic()
        engine = context.engine()
        producer = TransactionalProducer(
            context.settings, self.number, context.names.dead_letters, context.failpoints, self._has_committed
        )
        self._producer = producer
        await producer.start()
        context.failpoints("fenced")
        self._queues = True
        async with context.restoring:
            self._queues = False
            if self._closing:
                return
            self._openings += 1
            restored = await restore(context.settings, context.names, self.number, engine, self._has_read)
        context.failpoints("restored")
        # Only now can nobody else move them.
        self.expected = await self._standing(producer, restored)
        self._event_counts = await committed_counts(context.admin, context.settings, self.kinds)
        self._recorded = dict(restored.offsets)
        self._eraser = Eraser(self.number, context, self._has_read)
        if self.number == 0:
            followed = context.catalogue.partitions
            self._letters_from = await committed_offsets(
                context.admin, context.offsets, context.settings, followed
            )
        context.failpoints("offsets_read")
        self._engine = engine
        self.is_open = True
        self._has_read(1)
        await context.reader.seek_to(self.expected)
        # All of them: a task of this number that was given up may have left some held back.
        self._paused.update(self.kinds)
        self._resume_reader()
        took = time.monotonic() - began
        metrics.OPENING_SECONDS.observe(took)
        log.info("task=%d open rows=%d seconds=%.2f", self.number, restored.rows, took)

    async def _standing(
        self, producer: TransactionalProducer, restored: Restored
    ) -> dict[TopicPartition, int]:
        """Where the inputs stand.

        Raises:
            OffsetError: they, the topics and the rows do not fit together.
            ProducerFenced: another worker has opened this number since the rows were read, and moved them.
        """
        context, waited = self.context, 0.0
        while True:
            try:
                self._topics = await same_topics(context.admin, context.names, restored)
                return await committed_offsets(
                    context.admin, context.offsets, context.settings, self.kinds, restored
                )
            except OffsetError as error:
                await producer.prove(self.kinds)
                late = isinstance(error, OffsetsBehind) and waited < context.settings.stalled_seconds / 2
                if not late or self._closing:
                    raise
                if not waited:
                    log.warning("task=%d asks again where the group stands: %s", self.number, error)
            # After a crash Kafka was seen to give offsets that had long been overtaken, for minutes.
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            waited += LOOK_AGAIN_SECONDS

    async def _discard(self) -> None:
        """Forget the state: after a failure it is restored from what was committed."""
        self.is_open = False
        self._engine = None
        self.buffer.clear()
        self.context.waiting.discard(self.number)
        self._last_seen.clear()
        self._sought.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    # ------------------------------------------------------------ working

    async def _work(self) -> None:
        while not self._closing:
            await self._running.wait()
            self._idle.clear()
            try:
                await self._turn()
            finally:
                self._idle.set()
            if not len(self.buffer):
                await self.buffer.wait(max(self._next_tick - time.monotonic(), 0.0))
            if self.buffer.records:
                await self.buffer.fill(FEW_RECORDS, self._linger.remaining)

    async def _turn(self) -> None:
        """One batch if one waits, then one chunk of a sweep if it is time."""
        if self._closing:
            return
        await self._erase()
        if len(self.buffer):
            polls = self.buffer.take()
            if not len(self.buffer):
                self.context.waiting.discard(self.number)
            await self._batch(polls)
            if self._paused and self.buffer.slack:
                self._resume_reader()
        if time.monotonic() >= self._next_tick:
            again = await self._sweep()
            await self._catalogue_letters()
            await self._find_stray_reader()
            # Events of other numbers come first.
            at_once = again and not self.context.waiting
            self._next_tick = time.monotonic() + (0.0 if at_once else self.context.settings.sweep_seconds)

    async def _batch(self, polls: list[Poll]) -> None:
        records, offsets = self._accept(polls)
        if not offsets:
            return
        if not any(records.values()):
            # Only transaction markers were read; their offsets go out with the next batch.
            self.expected.update(offsets)
            return
        began = time.monotonic()
        await self.context.catalogue.catch_up()
        await self._erase()
        engine, now = self._open_engine(), self.context.clock.now()
        columns, refused = _decode(records)
        changes: Changes = engine.apply(columns)
        refused += changes.rejected
        outputs = self._outputs(changes)
        told = [(records[kind][rejected.index], rejected) for kind, rejected in refused]
        told = [(record, rejected) for record, rejected in told if not self._eraser.is_erased(record)]
        if told:
            outputs[self.context.names.dead_letters] = [
                encode.dead_letter(record, rejected, now) for record, rejected in told
            ]
        await self._transact(outputs, changes, offsets, now)
        engine.commit(changes)
        self.context.failpoints("updated")
        self.expected.update(offsets)
        for tp in offsets:
            # Of what was accepted: a poll behind a gap says nothing about what was lost before it.
            if done := records[self.kinds[tp]]:
                self._last_seen[tp] = int(done[-1].timestamp)
        self._count(changes, records, len(told))
        took = time.monotonic() - began
        self._linger.took(took)
        self._measure(columns, records, took)

    def _measure(
        self, columns: list[Columns], records: Mapping[Kind, list[ConsumerRecord]], took: float
    ) -> None:
        """What Prometheus and those who look after the data's quality want to know of a batch."""
        metrics.BATCH_SECONDS.observe(took)
        metrics.BATCH_EVENTS.observe(sum(map(len, records.values())))
        oldest = min(found[0].timestamp for found in records.values() if found)
        metrics.EVENT_SECONDS.observe(max(self.context.clock.now() - oldest, 0) / 1000)
        for each in columns:
            stamps = np.fromiter((record.timestamp for record in records[each.kind]), np.int64)
            self.context.counts.update(notice(each, stamps[each.index]))

    def _accept(
        self, polls: list[Poll]
    ) -> tuple[dict[Kind, list[ConsumerRecord]], dict[TopicPartition, int]]:
        """Records that follow on what is done, by kind; what is below is dropped, a gap is read again."""
        records: dict[Kind, list[ConsumerRecord]] = {}
        offsets: dict[TopicPartition, int] = {}
        for poll in polls:
            stands = offsets.get(poll.tp, self.expected[poll.tp])
            if poll.start > stands:
                self._read_again(poll.tp, stands)
                continue
            if poll.next <= stands:
                continue
            fresh = poll.records
            if poll.start < stands:
                fresh = [record for record in fresh if record.offset >= stands]
            records.setdefault(self.kinds[poll.tp], []).extend(fresh)
            offsets[poll.tp] = poll.next
            self._sought.pop(poll.tp, None)
        return records, offsets

    def _read_again(self, tp: TopicPartition, offset: int) -> None:
        """Seek back to where the task stands, once: polls that were under way go on arriving."""
        if time.monotonic() < self._sought.get(tp, 0.0):
            return
        self._sought[tp] = time.monotonic() + GAP_SECONDS
        self.context.counts["gaps"] += 1
        log.info("task=%d reads %s again from %d", self.number, tp.topic, offset)
        seeking = asyncio.ensure_future(self.context.reader.seek_to({tp: offset}))
        # A failed seek is made good by the next look for a stray reader.
        clients.take_error(seeking)

    async def _transact(
        self,
        outputs: dict[str, list[Pair]],
        changes: Changes,
        offsets: Mapping[TopicPartition, int],
        now: int,
    ) -> None:
        producer, names = self._producer, self.context.names
        if producer is None:
            raise RuntimeError(f"task {self.number} is not open")
        rows = {names.learner_rows: list(changes.learner_rows), names.skill_rows: changes.skill_rows}
        recorded = self._recorded | dict(offsets)
        if offsets:
            rows[names.learner_rows].append(offsets_record(recorded, self._topics))
        tally = self._event_counts.plus(changes.counts)
        said = tally.text()
        await producer.transact(outputs, rows, {tp: (offset, said) for tp, offset in offsets.items()}, now)
        self._recorded, self._event_counts = recorded, tally

    def _outputs(self, changes: Changes) -> dict[str, list[Pair]]:
        names = self.context.names
        outputs = {
            names.prediction(kind): list(pairs) for kind, pairs in changes.predictions.items() if pairs
        }
        if changes.interventions:
            outputs[names.interventions] = list(changes.interventions)
        return outputs

    def _count(self, changes: Changes, records: dict[Kind, list[ConsumerRecord]], refused: int) -> None:
        counts = self.context.counts
        counts.update(changes.counts)
        self._far_behind.add(changes.counts["far_behind"])
        counts["transactions"] += 1
        for kind, found in records.items():
            counts["events"] += len(found)
            counts[f"events.{kind}"] += len(found)
        counts["dead_letters"] += refused
        for prediction, pairs in changes.predictions.items():
            counts[f"predictions.{prediction}"] += len(pairs)
        counts["interventions.sent"] += len(changes.interventions)

    def _open_engine(self) -> Engine:
        if self._engine is None:
            raise RuntimeError(f"task {self.number} is not open")
        return self._engine

    async def _erase(self) -> None:
        """Carry out every erasure marker that is known, before anything else is folded or said."""
        while self._eraser.due and self._producer is not None:
            changes = await self._eraser.carry_out(self._open_engine(), self._producer)
            self._count(changes, {}, 0)

    # ------------------------------------------------------------ between batches

    async def _sweep(self) -> bool:
        """Send one chunk of what has come due; gives whether more is due."""
        engine, clock = self._open_engine(), self.context.clock
        if not engine.due(clock.now()):
            return False
        limit = await self._limit()
        if limit is None or not engine.due(limit):
            return False
        began = time.monotonic()
        if self.context.waiting and began < self.context.sweeps_from:
            return True
        changes: Changes = engine.sweep(limit, SWEEP_RECORDS)
        ended = time.monotonic()
        self.context.sweeps_from = ended + (ended - began) / SWEEP_SHARE
        await self._transact(self._outputs(changes), changes, {}, clock.now())
        engine.commit(changes)
        self.context.counts["sweeps"] += 1
        self._count(changes, {}, 0)
        return engine.due(limit)

    async def _limit(self) -> int | None:
        """How far (ms) the partition may be swept: a backlog is not silence.

        The clock if everything is read that was published before the clock was, else the Kafka timestamp of
        the oldest unread record, as far as it is known; None if it is not.
        """
        now = self.context.clock.now()
        ends = await self.context.offsets.end_offsets(list(self.kinds))
        for tp, end in ends.items():
            if self.expected[tp] >= end:
                continue
            oldest = self.buffer.oldest(tp, self.expected[tp])
            known = self._last_seen.get(tp) if oldest is None else oldest
            if known is None:
                return None
            now = min(now, known)
        return now

    async def _catalogue_letters(self) -> None:
        """Send the catalogue's bad records to the dead letters once: by number 0, with their offsets."""
        if self.number != 0:
            return
        position = self.context.catalogue.position
        refused = self.context.catalogue.rejected_from(self._letters_from)
        if not refused or self._producer is None:
            return
        now = self.context.clock.now()
        pairs = [
            encode.dead_letter(record, rejected, now)
            for record, rejected in refused
            if not self._eraser.is_erased(record)
        ]
        await self._producer.transact({self.context.names.dead_letters: pairs}, {}, position, now)
        self._letters_from = position
        self.context.counts["dead_letters"] += len(pairs)

    async def _find_stray_reader(self) -> None:
        """Seek back where polls were lost on their way: Faust drops some in silence during a rebalance.

        A reader that stands elsewhere than the task at two looks, with nothing on its way, is astray.
        """
        positions = await self.context.reader.positions(self.kinds)
        astray = {tp: at for tp, at in positions.items() if at != self.expected[tp]}
        if len(self.buffer):
            astray = {}
        for tp, at in astray.items():
            if self._astray.get(tp) == at:
                self._read_again(tp, self.expected[tp])
        self._astray = astray

    # ------------------------------------------------------------ holding back

    def _pause_reader(self, partitions: list[TopicPartition]) -> None:
        self._paused.update(partitions)
        self.context.reader.pause(partitions)

    def _resume_reader(self) -> None:
        self.context.reader.resume(self._paused)
        self._paused.clear()


def _decode(
    records: Mapping[Kind, list[ConsumerRecord]],
) -> tuple[list[Columns], list[tuple[Kind, Rejected]]]:
    columns: list[Columns] = []
    refused: list[tuple[Kind, Rejected]] = []
    turns = merged({kind: [record.timestamp for record in found] for kind, found in records.items()})
    for kind, found in records.items():
        accepted, rejected = decode(
            kind,
            [record.key for record in found],
            [record.value for record in found],
            [record.timestamp for record in found],
        )
        accepted.turn = turns[kind][accepted.index]
        columns.append(accepted)
        refused += [(kind, one) for one in rejected]
    return columns, refused

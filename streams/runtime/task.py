"""One partition number's task: its batches and its sweeps, one at a time, each in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from lyo.models.events.checks import Placed
from lyo.models.events.decode import Columns, Kind, Rejected, decode
from lyo.models.events.order import merged
from lyo.streams import metrics
from lyo.streams.clock import system_now
from lyo.streams.dead_letters import encode
from lyo.streams.kafka.clients import explain
from lyo.streams.kafka.input_records import is_history
from lyo.streams.log import logger
from lyo.streams.producers.linger import Linger
from lyo.streams.producers.transactional_producer import Pair, TransactionalProducer
from lyo.streams.runtime.catalogue_dead_letters import send_catalogue_dead_letters
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.input_reader import InputReader
from lyo.streams.runtime.opening import Opening, OpenState
from lyo.streams.runtime.ports import Changes, Engine
from lyo.streams.runtime.progress import Progress
from lyo.streams.runtime.record_buffer import RecordBuffer
from lyo.streams.runtime.restore import offsets_record
from lyo.streams.runtime.task_metrics import TaskMetrics
from lyo.streams.runtime.tombstones import Eraser
from lyo.streams.runtime.transport import Poll
from lyo.streams.watchdog import Job, records_job

FENCED = (ProducerFenced, InvalidProducerEpoch)
RETRIED = (KafkaError, OSError, TimeoutError)
# While a chunk is swept every other task of the process waits: a tenth of a second or two.
SWEEP_RECORDS = 1_000
# Share of the process's time for sweeps while events wait: events change what would be swept.
SWEEP_SHARE = 0.05
# A batch with fewer records lingers; with this many, an event's share of a transaction is small.
FEW_RECORDS = 500

log = logger("task")


class Task:
    """Runs the batches and sweeps of one partition number and commits them, from its opening to its close.

    A single coroutine does everything in turn, which takes the place of a lock: batches first, sweeps in
    between.
    """

    def __init__(self, number: int, context: TaskContext) -> None:
        self.number = number
        self.context = context
        self.buffer = RecordBuffer(context.settings.batch_records)
        self.input = InputReader(number, context)
        self.progress = Progress()
        self.is_open = False
        self._producer: TransactionalProducer | None = None
        self._open_state: OpenState | None = None
        self._eraser = Eraser(number, context, self.progress.read)
        self._metrics = TaskMetrics(number, context)
        self._linger = Linger()
        self._next_sweep = 0.0
        self._is_closing = False
        self._running = asyncio.Event()
        self._running.set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def engine(self) -> Engine | None:
        """The state of the partition number; None while the task is not open."""
        return None if self._open_state is None else self._open_state.engine

    # ------------------------------------------------------------ called by the worker

    def offer(self, poll: Poll) -> None:
        """Take a poll; never waits. A task that is not open yet reads it again later."""
        if not self.is_open:
            self.input.pause([poll.tp])
            return
        self.buffer.put(poll)
        self.context.waiting.add(self.number)
        if self.buffer.full:
            self.input.pause([poll.tp])

    def job(self, ends: Mapping[TopicPartition, int] | None) -> Job:
        """The work up to the given end offsets, for the watchdog; None: Kafka does not answer."""
        done = self.progress.done
        if not self.is_open:
            return Job(done, f"partition {self.number} to be opened", turn=not self.progress.is_queued)
        at = {tp: self.input.expected.get(tp, 0) for tp in self.input.kinds}
        return records_job(done, at, ends, f"events of partition {self.number}")

    async def pause(self, seconds: float) -> None:
        """Begin nothing new, and wait at most so many seconds for what is under way."""
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
        self._is_closing = True
        self._running.set()
        self.buffer.wake()

    async def run(self) -> None:
        """Open the task and work until closed.

        Raises:
            ProducerFenced: another worker has opened this number; the task is given up.
            Exception: an error that opening again would not mend.
        """
        while not self._is_closing:
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
            # Nothing is put into the buffer while the task is not open: only `close` ends this wait early.
            await self.buffer.wait(self.progress.backoff())

    # ------------------------------------------------------------ opening and discarding

    async def _open(self) -> None:
        context, began = self.context, time.monotonic()
        opening = Opening(self.number, context, self.input.kinds, self.progress, lambda: self._is_closing)
        producer = self._producer = TransactionalProducer(
            context.settings,
            self.number,
            context.names.dead_letters,
            context.failpoints,
            self.progress.committed,
        )
        state = await opening.open(producer)
        if state is None:
            return
        self._eraser = Eraser(self.number, context, self.progress.read)
        context.failpoints("offsets_read")
        self._open_state = state
        self.input.expected = dict(state.offsets)
        self.is_open = True
        self.progress.read(1)
        await self.input.start()
        took = time.monotonic() - began
        metrics.OPENING_SECONDS.observe(took)
        log.info("task=%d open rows=%d seconds=%.2f", self.number, state.rows, took)

    async def _discard(self) -> None:
        """Drop the state; after a failure it is restored from what was committed."""
        self.is_open = False
        self._open_state = None
        self.buffer.clear()
        self.context.waiting.discard(self.number)
        self.input.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    @property
    def _state(self) -> OpenState:
        if self._open_state is None:
            raise RuntimeError(f"task {self.number} is not open")
        return self._open_state

    # ------------------------------------------------------------ working

    async def _work(self) -> None:
        while not self._is_closing:
            await self._running.wait()
            self._idle.clear()
            try:
                await self._turn()
            finally:
                self._idle.set()
            if not len(self.buffer):
                await self.buffer.wait(max(self._next_sweep - time.monotonic(), 0.0))
            if self.buffer.records:
                await self.buffer.fill(FEW_RECORDS, self._linger.remaining)

    async def _turn(self) -> None:
        """Process one batch if one waits, then one chunk of a sweep if it is time."""
        if self._is_closing:
            return
        await self._erase()
        if len(self.buffer):
            polls = self.buffer.take()
            if not len(self.buffer):
                self.context.waiting.discard(self.number)
            await self._batch(polls)
            if self.buffer.slack:
                self.input.resume()
        if time.monotonic() >= self._next_sweep:
            is_more_due = await self._sweep()
            if self.number == 0 and self._producer is not None:
                state = self._state
                state.followed = await send_catalogue_dead_letters(
                    self.context,
                    self._producer,
                    state.followed,
                    lambda at: offsets_record(state.recorded, state.topic_ids, at),
                    self._eraser.is_erased,
                )
            await self.input.find_stray(self.buffer)
            # Waiting events of other partition numbers come first.
            at_once = is_more_due and not self.context.waiting
            self._next_sweep = time.monotonic() + (0.0 if at_once else self.context.settings.sweep_seconds)

    async def _batch(self, polls: list[Poll]) -> None:
        records, offsets = self.input.accept(polls)
        if not offsets:
            return
        if not any(records.values()):
            # Only transaction markers were read; their offsets are committed with the next batch.
            self.input.expected.update(offsets)
            return
        began = time.monotonic()
        await self.context.catalogue.catch_up()
        await self._erase()
        engine, now = self._state.engine, self.context.clock.now()
        columns, refused = _decode(records, Placed(self.number, self.context.settings.partitions))
        changes: Changes = engine.apply(columns)
        refused += changes.rejected
        dead_letters = self._dead_letters(records, refused, now)
        outputs = self._outputs(changes)
        if dead_letters:
            outputs[self.context.names.dead_letters] = dead_letters
        await self._transact(outputs, changes, offsets, now)
        engine.commit(changes)
        self.context.failpoints("updated")
        self.input.processed(offsets, records)
        self._metrics.transaction(changes, records, len(dead_letters))
        took = time.monotonic() - began
        self._linger.took(took)
        self._metrics.batch(columns, records, took)

    async def _erase(self) -> None:
        """Carry out every known erasure marker, before anything else is folded or sent."""
        while self._eraser.due and self._producer is not None:
            changes = await self._eraser.carry_out(self._state.engine, self._producer)
            self._metrics.transaction(changes, {})

    async def _sweep(self) -> bool:
        """Send one chunk of what has come due; gives whether more is due."""
        engine, clock = self._state.engine, self.context.clock
        if not engine.due(clock.now(), system_now()):
            return False
        limit = await self.input.sweep_limit(self.buffer)
        if limit is None or not engine.due(limit.until, limit.read_until):
            return False
        began = time.monotonic()
        if self.context.waiting and began < self.context.sweeps_from:
            return True
        changes: Changes = engine.sweep(limit.until, SWEEP_RECORDS, limit.read_until)
        ended = time.monotonic()
        self.context.sweeps_from = ended + (ended - began) / SWEEP_SHARE
        await self._transact(self._outputs(changes), changes, {}, clock.now())
        engine.commit(changes)
        self.context.counts["sweeps"] += 1
        self._metrics.transaction(changes, {})
        return engine.due(limit.until, limit.read_until)

    # ------------------------------------------------------------ transactions

    async def _transact(
        self,
        outputs: dict[str, list[Pair]],
        changes: Changes,
        offsets: Mapping[TopicPartition, int],
        now: int,
    ) -> None:
        """Send outputs and rows and commit them together with the offsets."""
        producer, state, names = self._producer, self._state, self.context.names
        if producer is None:
            raise RuntimeError(f"task {self.number} is not open")
        rows: dict[str, list[Pair]] = {
            names.learner_rows: list(changes.learner_rows),
            names.skill_rows: list(changes.skill_rows),
        }
        recorded = state.recorded | dict(offsets)
        if offsets:
            rows[names.learner_rows].append(offsets_record(recorded, state.topic_ids, state.followed))
        counts = state.counts.plus(changes.counts).with_history(changes.history)
        metadata = counts.text()
        with_metadata = {tp: (offset, metadata) for tp, offset in offsets.items()}
        await producer.transact(outputs, rows, with_metadata, now)
        state.recorded, state.counts = recorded, counts

    def _outputs(self, changes: Changes) -> dict[str, list[Pair]]:
        """The changed predictions and interventions, by topic."""
        names = self.context.names
        outputs = {
            names.prediction(kind): list(pairs) for kind, pairs in changes.predictions.items() if pairs
        }
        if changes.interventions:
            outputs[names.interventions] = list(changes.interventions)
        return outputs

    def _dead_letters(
        self,
        records: Mapping[Kind, list[ConsumerRecord]],
        refused: list[tuple[Kind, Rejected]],
        now: int,
    ) -> list[Pair]:
        """Dead letters of the refused records, except those about learners who stay erased."""
        of_records = [(records[kind][rejected.index], rejected) for kind, rejected in refused]
        erased = self._eraser.is_erased
        return [encode.dead_letter(record, why, now) for record, why in of_records if not erased(record)]


def _decode(
    records: Mapping[Kind, list[ConsumerRecord]], placed: Placed
) -> tuple[list[Columns], list[tuple[Kind, Rejected]]]:
    """The events of the records, by kind, and the records that are none."""
    columns: list[Columns] = []
    refused: list[tuple[Kind, Rejected]] = []
    turns = merged({kind: [record.timestamp for record in of_kind] for kind, of_kind in records.items()})
    for kind, of_kind in records.items():
        accepted, rejected = decode(
            kind,
            [record.key for record in of_kind],
            [record.value for record in of_kind],
            [record.timestamp for record in of_kind],
            placed,
            [is_history(record.headers) for record in of_kind],
        )
        accepted.turn = turns[kind][accepted.index]
        columns.append(accepted)
        refused += [(kind, rejection) for rejection in rejected]
    return columns, refused

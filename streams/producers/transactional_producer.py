"""One task's transactional producer: commits outputs, rows and input offsets together, or none of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError

from lyo.streams.dead_letters import encode
from lyo.streams.failpoints import Failpoints
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings

Pair = tuple[bytes, bytes | None]

# Bytes of a record's overhead inside a batch and of the batch's header.
OVERHEAD = 150


class RecordTooLarge(RuntimeError):
    """A row is larger than the largest record. It cannot be dropped: the state could not be restored."""


class TransactionalProducer:
    """The producer of one partition number; starting it fences any earlier owner of that number."""

    def __init__(
        self,
        settings: Settings,
        number: int,
        dead_letters: str,
        failpoints: Failpoints,
        committed: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._number = number
        self._dead_letters = dead_letters
        self._limit = settings.output_batch_bytes - OVERHEAD
        self._failpoints = failpoints
        self._committed = committed
        self._futures: list[asyncio.Future[object]] = []
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect, abort the earlier owner's open transaction, and fence it."""
        transactional_id = f"{self._settings.app_id}-{self._number}"
        self._producer = clients.producer(self._settings, transactional_id)
        await self._producer.start()

    async def stop(self) -> None:
        """Close the connection within seconds; the next owner aborts a transaction that is open."""
        producer, self._producer = self._producer, None
        for future in self._futures:
            clients.take_error(future)
        if producer is not None:
            await clients.abandon(producer)

    async def prove(self, partitions: Iterable[TopicPartition]) -> None:
        """Return if no other owner has opened this number since `start`; commits nothing.

        The broker checks this when offsets are added to a transaction, so one is begun and aborted.

        Raises:
            ProducerFenced: another owner has opened this number.
            KafkaError: the broker did not answer.
        """
        producer = await self._begin()
        await producer.send_offsets_to_transaction(dict.fromkeys(partitions, 0), self._settings.app_id)
        await producer.abort_transaction()

    async def transact(
        self,
        outputs: Mapping[str, Sequence[Pair]],
        rows: Mapping[str, Sequence[Pair]],
        offsets: Mapping[TopicPartition, int | tuple[int, str]],
        now: int,
        elsewhere: Mapping[TopicPartition, Sequence[Pair]] | None = None,
    ) -> None:
        """Send everything in one transaction and commit it.

        Args:
            outputs: records by topic, for this number's partitions.
            rows: changelog records by topic, for this number's partitions.
            offsets: next input offsets, each alone or with metadata that is committed with it.
            now: ms, for dead letters about outputs that are too large.
            elsewhere: records by partition, also of other numbers.

        Raises:
            ProducerFenced: another owner has opened this number.
            RecordTooLarge: a row is larger than the limit.
            KafkaError: the transaction did not commit, or nobody knows; the task must be opened anew.
        """
        self._futures = []
        producer = await self._begin()
        try:
            await self._within(producer, outputs, rows, offsets, now, elsewhere or {})
        except IllegalOperation as error:
            raise _ended_by(producer, error) from error
        if self._committed is not None:
            self._committed()
        self._failpoints("committed")

    async def _within(
        self,
        producer: AIOKafkaProducer,
        outputs: Mapping[str, Sequence[Pair]],
        rows: Mapping[str, Sequence[Pair]],
        offsets: Mapping[TopicPartition, int | tuple[int, str]],
        now: int,
        elsewhere: Mapping[TopicPartition, Sequence[Pair]],
    ) -> None:
        self._failpoints("begun")
        for topic, pairs in self._sendable(outputs, now).items():
            await self._send(producer, topic, pairs)
        for tp, placed in elsewhere.items():
            await self._send(producer, tp.topic, placed, tp.partition)
        await self._reach("outputs_sent")
        for topic, changed in rows.items():
            self._check(topic, changed)
            await self._send(producer, topic, changed)
        await self._reach("rows_sent")
        if offsets:
            await producer.send_offsets_to_transaction(dict(offsets), self._settings.app_id)
        self._failpoints("offsets_sent")
        await asyncio.gather(*self._futures)
        await producer.commit_transaction()

    async def _begin(self) -> AIOKafkaProducer:
        producer = self._running()
        await producer.begin_transaction()
        # The awaited calls report the error; nobody awaits this future, and asyncio would log its traceback.
        clients.take_error(_end_of(producer))
        return producer

    def _running(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise RuntimeError("the task's producer is not started")
        return self._producer

    async def _reach(self, step: str) -> None:
        if self._failpoints.armed:
            await asyncio.gather(*self._futures)
        self._failpoints(step)

    def _sendable(self, outputs: Mapping[str, Sequence[Pair]], now: int) -> dict[str, list[Pair]]:
        """The outputs; those that are too large become dead letters."""
        sendable: dict[str, list[Pair]] = {}
        large: list[Pair] = []
        for topic, pairs in outputs.items():
            fitting = [pair for pair in pairs if self._size(pair) <= self._limit]
            if len(fitting) < len(pairs):
                large += [
                    encode.oversized(topic, self._number, key, len(value or b""), self._limit, now)
                    for key, value in pairs
                    if self._size((key, value)) > self._limit
                ]
            if fitting:
                sendable[topic] = fitting
        if large:
            sendable[self._dead_letters] = sendable.get(self._dead_letters, []) + large
        return sendable

    def _check(self, topic: str, rows: Sequence[Pair]) -> None:
        for pair in rows:
            if self._size(pair) > self._limit:
                raise RecordTooLarge(
                    f"a row of {self._size(pair)} bytes for {topic} is larger than {self._limit}"
                )

    @staticmethod
    def _size(pair: Pair) -> int:
        return len(pair[0]) + (0 if pair[1] is None else len(pair[1]))

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, pairs: Sequence[Pair], number: int | None = None
    ) -> None:
        stamp = time.time_ns() // 1_000_000
        batch = producer.create_batch()
        append = batch.append
        for key, value in pairs:
            if append(timestamp=stamp, key=key, value=value) is None:
                await self._submit(producer, batch, topic, number)
                batch = producer.create_batch()
                append = batch.append
                append(timestamp=stamp, key=key, value=value)
        if batch.record_count():
            await self._submit(producer, batch, topic, number)

    async def _submit(
        self, producer: AIOKafkaProducer, batch: object, topic: str, number: int | None
    ) -> None:
        number = self._number if number is None else number
        self._futures.append(await producer.send_batch(batch, topic, partition=number))


def _ended_by(producer: AIOKafkaProducer, refused: IllegalOperation) -> KafkaError:
    """The error that ended a transaction while more records were handed over to it.

    The broker's refusal (fenced, timed out) reaches aiokafka's sender in the background. The caller, who
    keeps sending, only gets IllegalOperation: there is no transaction.
    """
    ended = _end_of(producer)
    error = ended.exception() if ended.done() and not ended.cancelled() else None
    return error if isinstance(error, KafkaError) else KafkaError(str(refused))


def _end_of(producer: AIOKafkaProducer) -> asyncio.Future[object]:
    """A future that is done when the producer's transaction has ended, with the error that ended it."""
    ended: asyncio.Future[object] = producer._txn_manager.wait_for_transaction_end()  # noqa: SLF001 - not public
    return ended

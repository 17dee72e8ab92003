"""Sends input records to their topics in batches per partition, each with its acknowledgement.

`lyo publish` and the publishers' client (`lyo.predictive.client`) use it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder

from lyo.models.events.decode import Kind, partition
from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.kafka.input_records import CATALOGUE, Record
from lyo.streams.settings import Settings

__all__ = ["PATIENCE", "Sender", "Sent", "acknowledged", "answered"]

PATIENCE: Final = 60.0
"""Seconds in which a restarted broker is back and takes what is still unsent."""
# Topics created a moment ago are not known to every broker yet.
NEW_TOPICS_SECONDS: Final = 2.0

# Kinds that are acknowledged before later records are sent: a worker must know of a consent before it
# counts the events that follow.
_AWAITED: Final = (*CATALOGUE, Kind.ERASURE)

Place = tuple[str, int]


@dataclass(slots=True, eq=False)
class Sent:
    """Records handed over as one batch; the answer holds the offset of the first one, or a KafkaError."""

    records: list[Record]
    answer: asyncio.Future[Any]


async def answered(sent: Iterable[Sent], seconds: float = PATIENCE) -> list[Sent]:
    """Wait until every batch has its answer; gives the batches that have none after so many seconds.

    An idempotent producer retries for ever, so the fate of these batches is unknown.
    """
    by_answer = {batch.answer: batch for batch in sent}
    if not by_answer:
        return []
    _, late = await asyncio.wait(by_answer, timeout=seconds)
    return [batch for answer, batch in by_answer.items() if answer in late]


async def acknowledged(sent: Sequence[Sent], seconds: float = PATIENCE) -> None:
    """Wait until every batch is acknowledged.

    Raises:
        KafkaError: the first one, once every batch has its answer or so many seconds are over.
    """
    late = await answered(sent, seconds)
    errors = [batch.answer.exception() for batch in sent if batch.answer.done()]
    for error in errors:
        if error is not None:
            raise error
    if late:
        raise KafkaTimeoutError(f"no acknowledgement within {seconds:g} s")


class Sender:
    """Sends records to their topics and partitions through one idempotent producer."""

    def __init__(self, settings: Settings, client: AIOKafkaProducer, patience: float = PATIENCE) -> None:
        self._producer = client
        self._settings = settings
        self._renewing = asyncio.Lock()
        self._patience = patience
        self._partitions = settings.partitions
        names = topics.names(settings)
        self._topics = {kind: names.topic(kind) for kind in Kind}

    @classmethod
    async def connect(
        cls, settings: Settings, *, patience: float = PATIENCE, any_count: bool = False
    ) -> Sender:
        """Start the producer and check that the topics exist.

        Args:
            settings: of the connection and the topics.
            patience: seconds that a batch waits for space, and the catalogue for its acknowledgements.
            any_count: take the topics' own number of partitions instead of the settings'.

        Raises:
            lyo.streams.topics.TopicError: a topic is missing, or has an unexpected number of partitions.
            aiokafka.errors.KafkaError: Kafka cannot be reached.
        """
        counts = await _partition_counts(settings)
        if any_count:
            count = counts[topics.names(settings).topic(Kind.SESSION)]
            settings = settings.model_copy(update={"partitions": count})
        topics.check(settings, counts)
        return cls(settings, await _started(settings, patience), patience)

    async def stop(self) -> None:
        """Close the connection within seconds; unacknowledged records are given up."""
        # aiokafka would wait for them for ever, and leave its connections open when it is cancelled.
        self._producer._message_accumulator.fail_all(KafkaTimeoutError("given up"))  # noqa: SLF001
        await clients.stop(self._producer)

    def place(self, record: Record) -> Place:
        """The topic and partition of a record."""
        return self._topics[record.kind], partition(record.user, self._partitions) if record.user else 0

    async def send(self, records: Iterable[Record]) -> list[Sent]:
        """Hand records to the producer in their order; the answers arrive later.

        Organizations, contents and erasures are acknowledged before later records are sent. If one of them is
        refused, so are all records after it.
        """
        sent: list[Sent] = []
        refusal: KafkaError | None = None
        for first, some in groupby(records, key=lambda record: record.kind in _AWAITED):
            if refusal is not None:
                sent.append(_refused(list(some), refusal))
                continue
            now = await self._submit(some)
            sent += now
            if first:
                refusal = await self._refusal(now)
        return sent

    async def _refusal(self, sent: list[Sent]) -> KafkaError | None:
        try:
            await acknowledged(sent, self._patience)
        except KafkaError as error:
            return error
        return None

    async def _submit(self, records: Iterable[Record]) -> list[Sent]:
        """Hand over batches: partitions concurrently, the batches of one partition in their order."""
        await self._renew()
        by_place: dict[Place, list[Record]] = {}
        for record in records:
            by_place.setdefault(self.place(record), []).append(record)
        handed = await asyncio.gather(*(self._hand_over(*place, some) for place, some in by_place.items()))
        return [sent for of_place in handed for sent in of_place]

    async def _renew(self) -> None:
        """Replace the producer if its sender task has ended.

        An error that aiokafka does not expect ends the task. Waiting records fail then, but later ones would
        wait for ever. An event that both producers sent is counted once, by its id.
        """
        async with self._renewing:
            if not self._producer._sender.sender_task.done():  # noqa: SLF001 - there is no public way to ask
                return
            await self.stop()
            self._producer = await _started(self._settings, self._patience)

    async def _hand_over(self, topic: str, number: int, records: list[Record]) -> list[Sent]:
        sent: list[Sent] = []
        batches = self._batches(records)
        while batches:
            batch, some = batches.pop(0)
            try:
                answer = await self._producer.send_batch(batch, topic, partition=number)
            except KafkaError as error:
                # No record is sent before an earlier one of its partition.
                rest = [record for _, later in batches for record in later]
                return [*sent, _refused([*some, *rest], error)]
            # The error of an answer that nobody awaits is not reported.
            clients.take_error(answer)
            sent.append(Sent(some, answer))
        return sent

    def _batches(self, records: list[Record]) -> list[tuple[BatchBuilder, list[Record]]]:
        batches: list[tuple[BatchBuilder, list[Record]]] = [(self._producer.create_batch(), [])]
        said: dict[str, Any]
        for record in records:
            # None: each record's timestamp is the clock's when it is added to the batch.
            said = {"key": record.key, "value": record.value, "headers": record.headers}
            if batches[-1][0].append(timestamp=None, **said) is None:
                batches.append((self._producer.create_batch(), []))
                if batches[-1][0].append(timestamp=None, **said) is None:
                    raise AssertionError("a record is longer than a batch")
            batches[-1][1].append(record)
        return batches


async def _started(settings: Settings, patience: float) -> AIOKafkaProducer:
    client = clients.producer(settings, request_timeout_ms=round(patience * 1000))
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
    return client


def _refused(records: list[Record], error: KafkaError) -> Sent:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    clients.take_error(answer)
    answer.set_exception(error)
    return Sent(records, answer)


async def _partition_counts(settings: Settings) -> dict[str, int]:
    """Return the partition counts of the input topics; raises TopicError when one stays missing."""
    wanted = [topics.names(settings).topic(kind) for kind in Kind]
    until = time.monotonic() + NEW_TOPICS_SECONDS
    while True:
        async with clients.admin(settings) as client:
            counts = await clients.partition_counts(client, wanted)
        missing = [name for name in wanted if name not in counts]
        if not missing:
            return counts
        if time.monotonic() > until:
            raise topics.TopicError(f"topic {missing[0]} does not exist: `lyo topics` creates the topics")
        await asyncio.sleep(0.1)

"""Input records into their topics: batches built for each partition, each with its acknowledgement.

What `lyo publish` and the publishers' client (`lyo.predictive.client`) share.
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
"""Seconds: a broker that is started again is back within this time, and takes what it has not taken yet."""
# Topics made a moment ago are not known to every broker yet.
NEW_TOPICS_SECONDS: Final = 2.0

# What follows a consent is counted only by a worker that knows of it.
_AWAITED: Final = (*CATALOGUE, Kind.ERASURE)

Place = tuple[str, int]


@dataclass(slots=True, eq=False)
class Sent:
    """Records handed to Kafka as one batch; the answer holds the offset of the first, or a KafkaError."""

    records: list[Record]
    answer: asyncio.Future[Any]


async def answered(sent: Iterable[Sent], seconds: float = PATIENCE) -> list[Sent]:
    """Wait until each has its answer; those that have none after so many seconds are returned."""
    by_answer = {one.answer: one for one in sent}
    if not by_answer:
        return []
    # An idempotent producer tries for ever: that nobody knows what became of a record is an answer too.
    _, late = await asyncio.wait(by_answer, timeout=seconds)
    return [one for answer, one in by_answer.items() if answer in late]


async def acknowledged(sent: Sequence[Sent], seconds: float = PATIENCE) -> None:
    """Wait for all; raises the first one's KafkaError only when each has its answer or the time is over."""
    late = await answered(sent, seconds)
    errors = [one.answer.exception() for one in sent if one.answer.done()]
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
        """Start the producer and look whether the topics are there.

        ``patience`` (s) is how long a batch waits for room, and the catalogue for its answers; with
        ``any_count`` the topics' own number of partitions counts, not the settings'.

        Raises:
            lyo.streams.topics.TopicError: a topic is missing, or has an unexpected number of partitions.
            aiokafka.errors.KafkaError: Kafka cannot be reached.
        """
        found = await _found(settings)
        if any_count:
            count = found[topics.names(settings).topic(Kind.SESSION)]
            settings = settings.model_copy(update={"partitions": count})
        topics.check(settings, found)
        return cls(settings, await _started(settings, patience), patience)

    async def stop(self) -> None:
        """Close the connection within seconds; what has no answer yet is given up."""
        # aiokafka would wait for those for ever, and leave its connections open when it is cancelled.
        self._producer._message_accumulator.fail_all(KafkaTimeoutError("given up"))  # noqa: SLF001
        await clients.stop(self._producer)

    def place(self, record: Record) -> Place:
        """The topic and partition of a record."""
        return self._topics[record.kind], partition(record.user, self._partitions) if record.user else 0

    async def send(self, records: Iterable[Record]) -> list[Sent]:
        """Hand records to the producer in their order, each with its answer to come.

        Organizations, contents and erasures have their answers before what comes after them is sent; where
        one is refused, so is the rest.
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
        """Batches for each partition, handed over side by side, those of one partition in their order."""
        await self._renew()
        by_place: dict[Place, list[Record]] = {}
        for record in records:
            by_place.setdefault(self.place(record), []).append(record)
        handed = await asyncio.gather(*(self._hand_over(*place, some) for place, some in by_place.items()))
        return [one for some in handed for one in some]

    async def _renew(self) -> None:
        """Go on with another producer where the task that sends has ended.

        aiokafka ends it at an error that it does not expect: what waits is told, what comes later would wait
        for ever. An event that was sent by both is counted once, by its id.
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
                # Nothing overtakes what was refused.
                return [*sent, _refused([*some, *(one for _, more in batches for one in more)], error)]
            # Whoever looks at an answer sees its error; that nobody does is no reason to complain.
            clients.take_error(answer)
            sent.append(Sent(some, answer))
        return sent

    def _batches(self, records: list[Record]) -> list[tuple[BatchBuilder, list[Record]]]:
        batches: list[tuple[BatchBuilder, list[Record]]] = [(self._producer.create_batch(), [])]
        for record in records:
            # The timestamp is the record's own: the clock's when it is put into the batch.
            if batches[-1][0].append(timestamp=None, key=record.key, value=record.value) is None:
                batches.append((self._producer.create_batch(), []))
                if batches[-1][0].append(timestamp=None, key=record.key, value=record.value) is None:
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


async def _found(settings: Settings) -> dict[str, int]:
    """Return the partition counts of the input topics; raises TopicError when one stays missing."""
    wanted = [topics.names(settings).topic(kind) for kind in Kind]
    until = time.monotonic() + NEW_TOPICS_SECONDS
    while True:
        async with clients.admin(settings) as client:
            found = await clients.partition_counts(client, wanted)
        missing = [name for name in wanted if name not in found]
        if not missing:
            return found
        if time.monotonic() > until:
            raise topics.TopicError(f"topic {missing[0]} does not exist: `lyo topics` creates the topics")
        await asyncio.sleep(0.1)

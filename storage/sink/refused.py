"""The sink's dead letters: about records that Postgres refuses or that cannot be decoded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from lyo.models.erasure import ErasureMarkers
from lyo.models.events.decode import Rejected
from lyo.storage.faults import SinkError, one_line
from lyo.storage.sink.records import Record, Refusal
from lyo.streams.clock import Clock
from lyo.streams.dead_letters.encode import UNSTORED, dead_letter
from lyo.streams.kafka import clients
from lyo.streams.log import logger
from lyo.streams.runtime.tombstones import is_erased
from lyo.streams.settings import Settings
from lyo.streams.topics import Names

TELL_SECONDS: Final = 10.0
LONGEST_REASON: Final = 500

log = logger("sink")


class RefusedRecords:
    """Writes a sink's dead letters, except about learners who stay erased.

    Attributes:
        written: how many were written.
    """

    def __init__(self, settings: Settings, names: Names, markers: ErasureMarkers) -> None:
        self.written = 0
        self._settings = settings
        self._names = names
        self._markers = markers
        self._clock = Clock(settings.clock)
        self._producer: AIOKafkaProducer | None = None
        self._tell_at = 0.0

    async def write(self, refusals: Sequence[Refusal]) -> None:
        """Write dead letters about refused records; returns when Kafka has acknowledged them.

        Raises:
            SinkError: Kafka refuses them or does not answer.
        """
        refusals = [
            refusal for refusal in refusals if not is_erased(self._markers, self._names, refusal.record)
        ]
        if not refusals:
            return
        try:
            producer = await self._started()
            answers = [await self._send(producer, refusal) for refusal in refusals]
            await asyncio.gather(*answers)
        except KafkaError as error:
            raise SinkError(f"cannot write a dead letter to Kafka: {one_line(error)}") from None
        self.written += len(refusals)
        self._tell(refusals[-1].record)

    async def close(self) -> None:
        """Stop the producer, if there is one."""
        if self._producer is not None:
            await clients.stop(self._producer)

    async def _send(self, producer: AIOKafkaProducer, refusal: Refusal) -> asyncio.Future[Any]:
        record = refusal.record
        rejected = Rejected(0, f"{UNSTORED}{refusal.reason[:LONGEST_REASON]}", refusal.field)
        key, value = dead_letter(record, rejected, self._clock.now())
        answer: asyncio.Future[Any] = await producer.send(
            self._names.dead_letters, value, key, partition=record.partition
        )
        return answer

    def _tell(self, record: Record) -> None:
        """Log that there are dead letters, at most once in `TELL_SECONDS`."""
        if time.monotonic() < self._tell_at:
            return
        self._tell_at = time.monotonic() + TELL_SECONDS
        log.warning(
            "dead letters=%d so far, the newest about %s/%d/%d: `lyo dlq list` shows them",
            *(self.written, record.topic, record.partition, record.offset),
        )

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = clients.producer(self._settings)
            await producer.start()
            self._producer = producer
        return self._producer

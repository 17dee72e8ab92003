"""The global topics, content, organizations and erasures: every worker reads them whole and follows them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from lyo.models.erasure import ErasureMarkers
from lyo.models.events.decode import Kind, Rejected
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.streams.topics import Names
from lyo.streams.watchdog import Job, records_job


class Catalogue(Protocol):
    """The models' state of content and organizations."""

    def put(self, kind: Kind, key: bytes, value: bytes | None) -> Rejected | None:
        """Apply one record; None deletes. Gives why the record was ignored, if it was."""


class CatalogueFollower:
    """Keeps a catalogue and the erasure markers up to date.

    Refused records stop nothing: they are kept in ``rejected`` until their dead letters are written.
    """

    def __init__(
        self,
        settings: Settings,
        names: Names,
        catalogue: Catalogue | None,
        markers: ErasureMarkers | None = None,
    ) -> None:
        self._settings = settings
        followed = {} if catalogue is None else names.catalogue
        self._kinds = {TopicPartition(name, 0): kind for name, kind in followed.items()}
        self._catalogue = catalogue
        self._markers = markers
        if markers is not None:
            erasures = names.topic(Kind.ERASURE)
            self._kinds |= {TopicPartition(erasures, n): Kind.ERASURE for n in range(settings.partitions)}
        self._reader: AIOKafkaConsumer | None = None
        self._ends: AIOKafkaConsumer | None = None
        self._position: dict[TopicPartition, int] = {}
        self._advanced = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.rejected: list[tuple[ConsumerRecord, Rejected]] = []
        self.records = 0

    @property
    def partitions(self) -> list[TopicPartition]:
        """The followed partitions."""
        return list(self._kinds)

    @property
    def position(self) -> dict[TopicPartition, int]:
        """The next offset to be read of each partition."""
        return dict(self._position)

    def job(self, ends: Mapping[TopicPartition, int] | None) -> Job:
        """The reading up to the given end offsets, for the watchdog; None: Kafka does not answer."""
        at = {tp: self._position.get(tp, 0) for tp in self._kinds}
        topics = ", ".join(sorted({tp.topic for tp in at}))
        return records_job(tuple(at.values()), at, ends, f"records of {topics}")

    @property
    def task(self) -> asyncio.Task[None]:
        """The asyncio task that follows the topics; it ends only by an error or by `stop`."""
        if self._task is None:
            raise RuntimeError("the catalogue is not started")
        return self._task

    async def start(self, ends: AIOKafkaConsumer) -> None:
        """Read the topics whole and begin to follow them; ``ends`` is a started consumer, for end offsets."""
        self._ends = ends
        self._reader = clients.consumer(self._settings, fetch_max_wait_ms=500)
        await self._reader.start()
        async for tp, records in clients.read_to_end(self._reader, self._kinds):
            self._put(tp, records)
        await self._note_positions()
        self._task = asyncio.create_task(self._follow(self._reader), name="catalogue")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._reader is not None:
            await clients.stop(self._reader)

    async def catch_up(self) -> None:
        """Return when everything is read that was acknowledged before the call.

        So the content of an event is always known if it was acknowledged before the event was published.
        """
        if self._ends is None:
            raise RuntimeError("the catalogue is not started")
        ends = await self._ends.end_offsets(list(self._kinds))
        if self._reached(ends):
            return
        async with self._advanced:
            await asyncio.wait_for(
                self._advanced.wait_for(lambda: self._reached(ends) or self.task.done()),
                self._settings.request_timeout_ms / 1000,
            )
        if self.task.done():
            self.task.result()

    def rejected_from(self, offsets: dict[TopicPartition, int]) -> list[tuple[ConsumerRecord, Rejected]]:
        """The refused records at or after the given offsets."""
        return [
            (record, rejected)
            for record, rejected in self.rejected
            if record.offset >= offsets.get(TopicPartition(record.topic, record.partition), 0)
        ]

    def drop_written(self, offsets: dict[TopicPartition, int]) -> None:
        """Drop the refused records before the given offsets: their dead letters are written."""
        self.rejected = self.rejected_from(offsets)

    def _reached(self, ends: dict[TopicPartition, int]) -> bool:
        return all(self._position.get(tp, 0) >= end for tp, end in ends.items())

    async def _follow(self, reader: AIOKafkaConsumer) -> None:
        try:
            while True:
                polled = await reader.getmany(timeout_ms=1_000)
                for tp, records in polled.items():
                    self._put(tp, records)
                await self._note_positions()
        finally:
            # Wake the waiting callers: nobody else would when this task ends.
            async with self._advanced:
                self._advanced.notify_all()

    def _put(self, tp: TopicPartition, records: Iterable[ConsumerRecord]) -> None:
        kind = self._kinds[tp]
        for record in records:
            self.records += 1
            if record.key is None:
                rejected: Rejected | None = Rejected(0, "key is missing", "key")
            else:
                rejected = self._take(kind, record)
            # A sink follows only the erasures, and writes no dead letters about them.
            if rejected is not None and self._catalogue is not None:
                self.rejected.append((record, rejected))

    def _take(self, kind: Kind, record: ConsumerRecord) -> Rejected | None:
        if kind is Kind.ERASURE and self._markers is not None:
            return self._markers.put(record.key, record.value, record.timestamp)
        if self._catalogue is None:
            raise RuntimeError(f"records of kind {kind} are followed, but nobody takes them")
        return self._catalogue.put(kind, record.key, record.value)

    async def _note_positions(self) -> None:
        if self._reader is None:
            return
        position = {tp: await self._reader.position(tp) for tp in self._kinds}
        if position != self._position:
            async with self._advanced:
                self._position = position
                self._advanced.notify_all()

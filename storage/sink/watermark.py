"""The watermark of each partition number: everything published up to it is in the tables.

A moment is noted with where the input topics end then. Once the workers have committed that much, it is noted
where the topics of the sink end; once the sink has stored that much, the moment is the number's watermark.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from lyo.storage.faults import Fault, judge, lasting, one_line
from lyo.storage.session import Session
from lyo.storage.sink.offsets import Place, Position
from lyo.storage.times import instant
from lyo.streams import topics
from lyo.streams.clock import Clock
from lyo.streams.kafka import clients as kafka
from lyo.streams.log import logger
from lyo.streams.settings import Settings

EVERY_SECONDS: Final = 2.0
_GROUP_SECONDS: Final = 10.0
_PEEK_MS: Final = 200
_PEEK_BYTES: Final = 4_096

_MOVE_SQL: Final = """
INSERT INTO watermarks AS w (partition, complete_until)
SELECT number, until FROM unnest($1::int4[], $2::timestamptz[]) AS n(number, until)
ON CONFLICT (partition) DO UPDATE SET complete_until = greatest(w.complete_until, excluded.complete_until)
"""

log = logger("watermark")


@dataclass(slots=True)
class _Noted:
    """A moment (ms), where the inputs ended then, and, once they are processed, where the outputs end."""

    at: int
    inputs: Mapping[TopicPartition, int]
    outputs: Mapping[Place, int] | None = None


class Watermark:
    """Moves the watermarks of the partition numbers that this process' sink has claimed.

    Args:
        settings: of the sink.
        positions: where the sink stands in all that it has claimed; it changes while this runs.
        every_seconds: how often to look.
    """

    def __init__(
        self,
        settings: Settings,
        positions: Mapping[Place, Position],
        *,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._settings = settings
        self._names = topics.names(settings)
        self._positions = positions
        self._every_seconds = every_seconds
        self._clock = Clock(settings.clock)
        self._noted: dict[int, _Noted] = {}
        self._session = Session(settings.database_url, "lyo watermark")
        self._clients: _Clients | None = None
        self._failing = False
        self._looking: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """End at once: a look that is given up has written all of its watermarks, or none."""
        self._stop.set()
        if self._looking is not None:
            self._looking.cancel()

    async def run(self) -> None:
        """Look until `stop` is called; Kafka or Postgres away means that the watermarks stand.

        Raises:
            lyo.storage.faults.SinkError: Postgres refuses for good; one line that says why.
        """
        try:
            while not self._stop.is_set():
                self._looking = asyncio.create_task(self._look(), name="watermark")
                try:
                    await self._looking
                    self._failing = False
                except asyncio.CancelledError:
                    if not self._stop.is_set():
                        raise
                except (KafkaError, OSError, TimeoutError) as error:
                    await self._failed(error)
                except Exception as error:
                    if judge(error) is not Fault.PASSING:
                        raise lasting(error) from error
                    await self._failed(error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), self._every_seconds)
        finally:
            await self._let_go()
            await self._session.close()

    async def _look(self) -> None:
        claimed = {place.partition for place in self._positions if place.topic == self._names.learner_rows}
        self._noted = {number: noted for number, noted in self._noted.items() if number in claimed}
        if not claimed:
            return
        if self._clients is None:
            self._clients = _Clients(self._settings)
            await self._clients.start()
        await self._note(self._clients, claimed - self._noted.keys())
        await self._follow(self._clients)
        await self._move()

    async def _note(self, clients: _Clients, numbers: Iterable[int]) -> None:
        at = self._clock.now()
        inputs = {n: [TopicPartition(topic, n) for topic in self._names.inputs] for n in numbers}
        ends = await clients.ends(tp for some in inputs.values() for tp in some)
        for number, some in inputs.items():
            self._noted[number] = _Noted(at, {tp: ends[tp] for tp in some})

    async def _follow(self, clients: _Clients) -> None:
        """Note where the sink's topics end for those numbers whose inputs have been processed."""
        waiting = {n: noted for n, noted in self._noted.items() if noted.outputs is None}
        ends = {tp: end for noted in waiting.values() for tp, end in noted.inputs.items()}
        left = await clients.unprocessed(self._settings.app_id, ends)
        done = [n for n, noted in waiting.items() if not left & noted.inputs.keys()]
        made = {n: [place for place in self._positions if place.partition == n] for n in done}
        reached = await clients.ends(TopicPartition(*place) for some in made.values() for place in some)
        for number, some in made.items():
            self._noted[number].outputs = {place: reached[TopicPartition(*place)] for place in some}

    async def _move(self) -> None:
        """Write the moments up to which everything is stored."""
        reached = {
            number: noted.at
            for number, noted in self._noted.items()
            if noted.outputs is not None and self._has_stored(noted.outputs)
        }
        if reached:
            connection = await self._session.connection()
            await connection.execute(_MOVE_SQL, list(reached), [instant(at) for at in reached.values()])
            for number in reached:
                del self._noted[number]

    def _has_stored(self, ends: Mapping[Place, int]) -> bool:
        stored = self._positions
        return all(place in stored and stored[place].next_offset >= end for place, end in ends.items())

    async def _failed(self, error: Exception) -> None:
        if not self._failing:
            log.warning("it is not known how far the tables are complete, trying again: %s", one_line(error))
        self._failing = True
        self._session.drop()
        await self._let_go()

    async def _let_go(self) -> None:
        clients, self._clients = self._clients, None
        if clients is not None:
            await clients.stop()


class _Clients:
    """What Kafka is asked with: of a group, of what logs end with, and of what is still to be read."""

    def __init__(self, settings: Settings) -> None:
        self._admin = AIOKafkaAdminClient(**kafka.connection(settings))
        # Kafka answers a commit before all partitions know of it: what is undecided counts.
        self._every: AIOKafkaConsumer = kafka.consumer(settings, isolation_level="read_uncommitted")
        self._decided: AIOKafkaConsumer = kafka.consumer(
            settings, max_partition_fetch_bytes=_PEEK_BYTES, fetch_max_wait_ms=_PEEK_MS // 2
        )

    async def start(self) -> None:
        await self._admin.start()
        await self._every.start()
        await self._decided.start()

    async def stop(self) -> None:
        await kafka.close(self._admin)
        for consumer in (self._every, self._decided):
            await kafka.stop(consumer)

    async def ends(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        wanted = list(partitions)
        ends: Mapping[TopicPartition, int] = await self._every.end_offsets(wanted) if wanted else {}
        return ends

    async def unprocessed(self, group: str, ends: Mapping[TopicPartition, int]) -> set[TopicPartition]:
        """Those of which a group has not processed some record below these offsets."""
        if not ends:
            return set()
        # A cluster's first group waits until Kafka has made the topic of its offsets.
        asked = list(ends)
        committed = await kafka.persist(lambda: kafka.committed(self._admin, group, asked), _GROUP_SECONDS)
        behind = {tp: max(committed[tp].offset, 0) for tp, end in ends.items() if committed[tp].offset < end}
        return await self._with_records(behind, ends) if behind else set()

    async def _with_records(
        self, positions: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> set[TopicPartition]:
        """Those that have a record, or may have one: between the offsets may lie nothing but markers."""
        reader = self._decided
        reader.assign(list(positions))
        for tp, first in (await reader.beginning_offsets(list(positions))).items():
            reader.seek(tp, max(positions[tp], first))
        with_records: set[TopicPartition] = set()
        polled: Mapping[TopicPartition, list[Any]] = await reader.getmany(timeout_ms=_PEEK_MS)
        for tp, records in polled.items():
            if any(record.offset < ends[tp] for record in records):
                with_records.add(tp)
        return with_records | {tp for tp in positions if await reader.position(tp) < ends[tp]}

"""The watermark of each partition number: everything published up to it is in the tables.

For an instant, the end offsets of the input topics are recorded. Once the workers have committed them, the
end offsets of the sink's topics are recorded. Once the sink has stored those, the instant becomes the
watermark.
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
class _Pending:
    """An instant (ms), the inputs' end offsets then, and the outputs' once the inputs are done."""

    at: int
    inputs: Mapping[TopicPartition, int]
    outputs: Mapping[Place, int] | None = None


class Watermark:
    """Advances the watermarks of the partition numbers that this process's sink has claimed.

    Args:
        settings: of the sink.
        positions: the sink's offsets of all that it has claimed; changes while this runs.
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
        self._pending: dict[int, _Pending] = {}
        self._session = Session(settings.database_url, "lyo watermark")
        self._clients: _Clients | None = None
        self._failing = False
        self._looking: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """End at once: a look that is cancelled has written all of its watermarks or none."""
        self._stop.set()
        if self._looking is not None:
            self._looking.cancel()

    async def run(self) -> None:
        """Look until `stop` is called; while Kafka or Postgres is away the watermarks do not move.

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
                    if judge(error) is Fault.LASTING:
                        raise lasting(error) from error
                    await self._failed(error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), self._every_seconds)
        finally:
            await self._stop_clients()
            await self._session.close()

    async def _look(self) -> None:
        claimed = {place.partition for place in self._positions if place.topic == self._names.learner_rows}
        self._pending = {number: noted for number, noted in self._pending.items() if number in claimed}
        if not claimed:
            return
        if self._clients is None:
            self._clients = _Clients(self._settings)
            await self._clients.start()
        await self._note(self._clients, claimed - self._pending.keys())
        await self._follow(self._clients)
        await self._move()

    async def _note(self, clients: _Clients, numbers: Iterable[int]) -> None:
        at = self._clock.now()
        inputs = {n: [TopicPartition(topic, n) for topic in self._names.inputs] for n in numbers}
        ends = await clients.ends(tp for of_number in inputs.values() for tp in of_number)
        for number, of_number in inputs.items():
            self._pending[number] = _Pending(at, {tp: ends[tp] for tp in of_number})

    async def _follow(self, clients: _Clients) -> None:
        """Record the end offsets of the sink's topics for the numbers whose inputs are processed."""
        waiting = {n: noted for n, noted in self._pending.items() if noted.outputs is None}
        ends = {tp: end for noted in waiting.values() for tp, end in noted.inputs.items()}
        left = await clients.unprocessed(self._settings.app_id, ends)
        done = [n for n, noted in waiting.items() if not left & noted.inputs.keys()]
        outputs = {n: [place for place in self._positions if place.partition == n] for n in done}
        reached = await clients.ends(
            TopicPartition(*place) for of_number in outputs.values() for place in of_number
        )
        for number, of_number in outputs.items():
            self._pending[number].outputs = {place: reached[TopicPartition(*place)] for place in of_number}

    async def _move(self) -> None:
        """Write the watermarks of the numbers whose outputs are stored."""
        reached = {
            number: noted.at
            for number, noted in self._pending.items()
            if noted.outputs is not None and self._has_stored(noted.outputs)
        }
        if reached:
            connection = await self._session.connection()
            await connection.execute(_MOVE_SQL, list(reached), [instant(at) for at in reached.values()])
            for number in reached:
                del self._pending[number]

    def _has_stored(self, ends: Mapping[Place, int]) -> bool:
        stored = self._positions
        return all(place in stored and stored[place].next_offset >= end for place, end in ends.items())

    async def _failed(self, error: Exception) -> None:
        if not self._failing:
            log.warning("it is not known how far the tables are complete, trying again: %s", one_line(error))
        self._failing = True
        self._session.drop()
        await self._stop_clients()

    async def _stop_clients(self) -> None:
        clients, self._clients = self._clients, None
        if clients is not None:
            await clients.stop()


class _Clients:
    """Clients for committed offsets, for end offsets, and for looking at unread records."""

    def __init__(self, settings: Settings) -> None:
        self._admin = AIOKafkaAdminClient(**kafka.connection(settings))
        # Kafka answers a commit before all partitions know of it, so undecided records count.
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
        """The partitions in which a group has not processed every record below these offsets."""
        if not ends:
            return set()
        # The first group of a cluster waits until Kafka has created the offsets topic.
        wanted = list(ends)
        committed = await kafka.persist(lambda: kafka.committed(self._admin, group, wanted), _GROUP_SECONDS)
        behind = {tp: max(committed[tp].offset, 0) for tp, end in ends.items() if committed[tp].offset < end}
        return await self._with_records(behind, ends) if behind else set()

    async def _with_records(
        self, positions: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> set[TopicPartition]:
        """The partitions that have a record, or may have one; others have only transaction markers left."""
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

"""An event file into the topics: batches built for each partition, each acknowledged before it counts."""

import asyncio
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from cli.eventfile import CATALOGUE, Bad, Checked, Piece, Record, check, opened
from cli.progress import OnBytes
from models.events import Kind, partition
from streams import topics
from streams.kafka import admin, partition_counts, producer, reach
from streams.settings import Settings

# A broker that is started again is back within this time, and takes what it has not taken yet.
PATIENCE_MS = 60_000
# Topics made a moment ago are not known to every broker yet.
NEW_TOPICS_SECONDS = 2.0


class PublishError(RuntimeError):
    """The file could not be read, or Kafka did not take it; the message is one line for the user."""


@dataclass(slots=True)
class Published:
    """What came of a file: records by type, bad lines, lines read, and the seconds it took."""

    counts: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    lines: int = 0
    seconds: float = 0.0

    @property
    def records(self) -> int:
        """How many records of all types together."""
        return self.counts.total()


OnBad = Callable[[Bad], None]
Acknowledgements = list["asyncio.Future[object]"]


async def publish_file(
    path: Path, settings: Settings, on_bytes: OnBytes | None = None, on_bad: OnBad | None = None
) -> Published:
    """Publish an event file (`-` standard input, `.gz` compressed), leaving out bad lines.

    Organizations and contents are acknowledged before later lines are sent. Record timestamps are the
    producer's clock. What is counted has been acknowledged.

    Raises:
        PublishError: a file that cannot be read, a topic that is missing, or records that Kafka refused.
        streams.topics.TopicError: a topic with another number of partitions than the settings say.
        streams.kafka.Unreachable: Kafka did not answer.
    """
    sender = await reach(settings, lambda: Sender.connect(settings))
    try:
        return await _publish(path, sender, on_bytes, on_bad)
    finally:
        await sender.stop()


async def _publish(path: Path, sender: "Sender", on_bytes: OnBytes | None, on_bad: OnBad | None) -> Published:
    published = Published()
    started = time.monotonic()
    safe = 0  # up to this line everything is acknowledged
    before: tuple[Piece, Checked, Acknowledgements] | None = None
    try:
        async for piece, checked in _checked(path, published, on_bytes, on_bad):
            sent = await sender.send(checked.records)
            # One piece is on its way while the next is read.
            if before is not None:
                safe = await _settled(before, published)
            before = piece, checked, sent
        if before is not None:
            await _settled(before, published)
    except KafkaError as error:
        raise PublishError(
            f"Kafka refused records after line {safe:,}, up to which all are in the topics: "
            f"{type(error).__name__}: {error}"
        ) from None
    published.seconds = time.monotonic() - started
    return published


async def _settled(before: tuple[Piece, Checked, Acknowledgements], published: Published) -> int:
    """Wait for a piece's acknowledgements, count its records, and return the number of its last line."""
    piece, checked, sent = before
    await _acknowledged(sent)
    published.counts.update(record.kind.value for record in checked.records)
    return piece.first + len(piece.lines) - 1


async def _acknowledged(sent: Acknowledgements) -> None:
    """Wait for all; raises the first one's KafkaError only when each has its answer."""
    for answer in await asyncio.gather(*sent, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer


async def check_file(path: Path, on_bytes: OnBytes | None = None, on_bad: OnBad | None = None) -> Published:
    """Validate an event file and count what would be published. Raises PublishError as `publish_file`."""
    published = Published()
    started = time.monotonic()
    async for _, checked in _checked(path, published, on_bytes, on_bad):
        published.counts.update(record.kind.value for record in checked.records)
    published.seconds = time.monotonic() - started
    return published


async def _checked(
    path: Path, published: Published, on_bytes: OnBytes | None, on_bad: OnBad | None
) -> AsyncIterator[tuple[Piece, Checked]]:
    """Read and validate, piece by piece; count lines and bad ones."""
    try:
        with opened(path) as file:
            pieces = file.pieces()
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                checked = check(piece, time.time_ns() // 1_000_000)
                published.lines += len(piece.lines)
                published.bad += len(checked.bad)
                if on_bad is not None:
                    for bad in checked.bad:
                        on_bad(bad)
                yield piece, checked
                if on_bytes is not None:
                    on_bytes(piece.position, file.size)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PublishError(f"{path} cannot be read after line {published.lines:,}: {reason}") from None


async def _found(settings: Settings) -> dict[str, int]:
    """Return the partition counts of the input topics; raises PublishError when one stays missing."""
    wanted = [topics.names(settings).topic(kind) for kind in Kind]
    until = time.monotonic() + NEW_TOPICS_SECONDS
    while True:
        async with admin(settings) as client:
            found = await partition_counts(client, wanted)
        missing = [name for name in wanted if name not in found]
        if not missing:
            return found
        if time.monotonic() > until:
            raise PublishError(f"topic {missing[0]} does not exist: `lyo topics` creates the topics")
        await asyncio.sleep(0.1)


class Sender:
    """Sends records to their topics and partitions through one idempotent producer."""

    def __init__(self, settings: Settings, client: AIOKafkaProducer) -> None:
        self._producer = client
        self._partitions = settings.partitions
        names = topics.names(settings)
        self._topics = {kind: names.topic(kind) for kind in Kind}

    @classmethod
    async def connect(cls, settings: Settings) -> "Sender":
        """Start the producer and look whether the topics are there.

        Raises:
            PublishError: a topic is missing.
            streams.topics.TopicError: one has another number of partitions than the settings say.
            aiokafka.errors.KafkaError: Kafka cannot be reached.
        """
        topics.check(settings, await _found(settings))
        client = producer(settings, request_timeout_ms=max(PATIENCE_MS, settings.request_timeout_ms))
        try:
            await client.start()
        except BaseException:
            await client.stop()
            raise
        return cls(settings, client)

    async def stop(self) -> None:
        """Send what is left and close the connection."""
        await self._producer.stop()

    async def send(self, records: list[Record]) -> Acknowledgements:
        """Hand records to the producer in their order; organizations and contents are waited for here.

        Raises:
            aiokafka.errors.KafkaError: one of those was refused, or there is no room for more.
        """
        sent: Acknowledgements = []
        for first, some in groupby(records, key=lambda record: record.kind in CATALOGUE):
            now = await self._send(list(some))
            if first:
                await _acknowledged(now)
            else:
                sent += now
        return sent

    async def _send(self, records: list[Record]) -> Acknowledgements:
        batches: dict[tuple[str, int], BatchBuilder] = {}
        sent: Acknowledgements = []
        for record in records:
            place = self._topics[record.kind], partition(record.user, self._partitions) if record.user else 0
            batch = batches.get(place)
            if batch is None:
                batch = batches[place] = self._producer.create_batch()
            # The timestamp is the record's own: the clock's when it is put into the batch.
            if batch.append(timestamp=None, key=record.key, value=record.value) is None:
                sent.append(await self._producer.send_batch(batch, place[0], partition=place[1]))
                batch = batches[place] = self._producer.create_batch()
                if batch.append(timestamp=None, key=record.key, value=record.value) is None:
                    raise AssertionError("a line is longer than a batch")
        for (topic, number), batch in batches.items():
            sent.append(await self._producer.send_batch(batch, topic, partition=number))
        return sent

"""Publishes an event file to the topics; a record counts once Kafka has acknowledged it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.errors import KafkaError

from lyo.streams.event_files.progress_bars import OnBytes
from lyo.streams.event_files.reader import Bad, Checked, EventFileError, Piece, check, opened
from lyo.streams.kafka.clients import reach
from lyo.streams.producers.producing import Sender, Sent, acknowledged
from lyo.streams.settings import Settings


class PublishError(RuntimeError):
    """The file could not be read, or Kafka did not take it; the message is one line for the user."""


@dataclass(slots=True)
class Published:
    """The result of a file: records by type, bad lines, lines read, and the seconds it took."""

    counts: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    lines: int = 0
    seconds: float = 0.0

    @property
    def records(self) -> int:
        """How many records of all types together."""
        return self.counts.total()


OnBad = Callable[[Bad], None]


async def publish_file(
    path: Path,
    settings: Settings,
    on_bytes: OnBytes | None = None,
    on_bad: OnBad | None = None,
    *,
    history: bool = False,
) -> Published:
    """Publish an event file (`-`: standard input, `.gz`: compressed), leaving out bad lines.

    Organizations and contents are acknowledged before later lines are sent. Record timestamps are the
    producer's clock. Only acknowledged records are counted. ``history`` marks each record as history.

    Raises:
        PublishError: a file that cannot be read, or records that Kafka refused.
        lyo.streams.topics.TopicError: a topic that is missing or has another number of partitions.
        lyo.streams.kafka.clients.Unreachable: Kafka did not answer.
    """
    sender = await reach(settings, lambda: Sender.connect(settings))
    try:
        return await _publish(path, sender, on_bytes, on_bad, history=history)
    finally:
        await sender.stop()


async def _publish(
    path: Path, sender: Sender, on_bytes: OnBytes | None, on_bad: OnBad | None, *, history: bool
) -> Published:
    published = Published()
    started = time.monotonic()
    safe = 0  # everything up to this line is acknowledged
    before: tuple[Piece, Checked, list[Sent]] | None = None
    try:
        async for piece, checked in _checked(path, published, on_bytes, on_bad):
            for record in checked.records:
                record.history = history
            sent = await sender.send(checked.records)
            # One piece is being sent while the next one is read.
            if before is not None:
                safe = await _acknowledged_piece(before, published)
            before = piece, checked, sent
        if before is not None:
            await _acknowledged_piece(before, published)
    except KafkaError as error:
        raise PublishError(
            f"Kafka refused records after line {safe:,}, up to which all are in the topics: "
            f"{type(error).__name__}: {error}"
        ) from None
    published.seconds = time.monotonic() - started
    return published


async def _acknowledged_piece(before: tuple[Piece, Checked, list[Sent]], published: Published) -> int:
    """Wait for a piece's acknowledgements, count its records, and return the number of its last line."""
    piece, checked, sent = before
    await acknowledged(sent)
    published.counts.update(record.kind.value for record in checked.records)
    return piece.first + len(piece.lines) - 1


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
    """Read and validate the file piece by piece; count lines and bad lines."""
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
    except EventFileError as error:
        raise PublishError(str(error)) from None

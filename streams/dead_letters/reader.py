"""Reads the dead letters of their topic and selects some of them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from lyo.streams import topics
from lyo.streams.clock import parse
from lyo.streams.dead_letters.encode import UNSTORED
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings

__all__ = ["Choice", "DeadLetter", "DeadLetterReader", "OnRecords", "decode", "newer"]

OnRecords = Callable[[int, int], None]
"""Called with the number of records read and their total."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter: the record it is about, and why that cannot be used."""

    topic: str
    partition: int
    offset: int | None
    key: str | None
    value: str | None
    reason: str
    failed_at: str
    field: str | None = None

    @property
    def id(self) -> str:
        """Its name in commands, which is its Kafka key."""
        return f"{self.topic}/{self.partition}/{'-' if self.offset is None else self.offset}"

    @property
    def failed_ms(self) -> int:
        """When the record was refused, in ms since the epoch."""
        return parse(self.failed_at)

    @property
    def payload(self) -> bytes | None:
        """The record's value; None if it has none, or if it is too long for a dead letter."""
        return None if self.value is None else base64.b64decode(self.value, validate=True)

    @property
    def unstored(self) -> bool:
        """Whether only Postgres refused the record: the workers have used it."""
        return self.reason.startswith(UNSTORED)


@dataclass(frozen=True, slots=True)
class Choice:
    """Selects the dead letters that meet every condition.

    Attributes:
        ids: of `DeadLetter.id`; empty: all.
        topic: of the record, with or without the prefix.
        reason: part of the reason, in any case.
        since: refused at or after this (ms).
        until: refused before this (ms).
    """

    ids: frozenset[str] = frozenset()
    topic: str | None = None
    reason: str | None = None
    since: int | None = None
    until: int | None = None

    def takes(self, dead_letter: DeadLetter, prefix: str) -> bool:
        """Whether a dead letter is selected."""
        return (
            (not self.ids or dead_letter.id in self.ids)
            and (self.topic is None or dead_letter.topic in {self.topic, prefix + self.topic})
            and (self.reason is None or self.reason.casefold() in dead_letter.reason.casefold())
            and (self.since is None or dead_letter.failed_ms >= self.since)
            and (self.until is None or dead_letter.failed_ms < self.until)
        )


_decode: Final = msgspec.json.Decoder(DeadLetter).decode


class DeadLetterReader:
    """Reads the topic of the dead letters; ``unreadable`` counts its records that are no dead letters."""

    def __init__(self, settings: Settings, on_records: OnRecords | None = None) -> None:
        self.unreadable = 0
        self._settings = settings
        self._on_records = on_records or (lambda _done, _total: None)

    async def read(self) -> AsyncIterator[DeadLetter]:
        """Yield all dead letters that are on the topic now, those of one partition in their order.

        Raises:
            aiokafka.errors.KafkaError: Kafka cannot be reached, or the topic does not exist.
        """
        partitions = await clients.partitions_of(self._settings, topics.names(self._settings).dead_letters)
        reader = clients.consumer(self._settings, fetch_max_wait_ms=100)
        await reader.start()
        try:
            first, last = await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)
            done, total = 0, sum(last.values()) - sum(first.values())
            async for _, records in clients.read_to_end(reader, partitions):
                for record in records:
                    if record.value is None:
                        continue
                    dead_letter = decode(record.value)
                    if dead_letter is None:
                        self.unreadable += 1
                    else:
                        yield dead_letter
                done += len(records)
                self._on_records(done, total)
        finally:
            await clients.stop(reader)


async def newer(settings: Settings, since: int) -> list[DeadLetter]:
    """The dead letters whose records of Kafka are not older than ``since`` (ms).

    Raises:
        aiokafka.errors.KafkaError: Kafka cannot be reached, the topic does not exist or may not be read.
    """
    partitions = await clients.partitions_of(settings, topics.names(settings).dead_letters)
    reader = clients.consumer(settings, fetch_max_wait_ms=100)
    await reader.start()
    try:
        reader.assign(partitions)
        ends = await reader.end_offsets(partitions)
        begins = await reader.offsets_for_times(dict.fromkeys(partitions, since))
        for tp, begin in begins.items():
            reader.seek(tp, ends[tp] if begin is None else begin.offset)
        found = [
            decode(record.value)
            async for _, records in clients.read_up_to(reader, ends)
            for record in records
            if record.value is not None
        ]
    finally:
        await clients.stop(reader)
    return [dead_letter for dead_letter in found if dead_letter is not None]


def decode(value: bytes) -> DeadLetter | None:
    """The dead letter that a record of the topic holds; None if it holds none."""
    try:
        dead_letter = _decode(value)
        _ = dead_letter.failed_ms, dead_letter.payload
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    return dead_letter

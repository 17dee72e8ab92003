"""Retries dead letters: sends their records to their topics again, so that each is counted once.

A learner's row remembers the last 64 events of a topic, and a dead letter may be older than that. So the
topic
itself is read: an event that is there a second time, in a usable record, is not sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import msgspec
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition

from lyo.models.events.checks import Placed
from lyo.models.events.decode import EventError, Kind, decode, decode_content, decode_organization, partition
from lyo.streams import topics
from lyo.streams.clock import Clock
from lyo.streams.dead_letters.reader import DeadLetter, OnRecords
from lyo.streams.kafka import clients
from lyo.streams.kafka.input_records import CATALOGUE
from lyo.streams.settings import Settings

__all__ = ["Retrier", "Status", "Tried"]

AT_ONCE: Final = 500
HEADER: Final = "lyo-retry-of"
_RECORD_SECONDS: Final = 10.0
# The one field that a worker compares with what it knows of the learner (`lyo.models.fold`).
ROW_FIELD: Final = "organization_id"
_REFUSED_BEFORE: Final = "it was refused with: "

Identity = tuple[Kind, int | bytes, str]
"""Of an event: its kind, learner and id. Of a content or organization: its kind, its key and ''."""


class Status(StrEnum):
    """The result of retrying a dead letter's record."""

    RETRIED = "retried"
    """It was sent to its topic again."""
    COUNTED = "counted"
    """It was used before."""
    SUPERSEDED = "superseded"
    """There is a newer, usable content or organization with the same key."""
    REFUSED = "refused"
    """It would be refused again."""
    DERIVED = "derived"
    """It is a prediction or a row, which the workers compute from events."""
    UNKNOWN = "unknown"
    """Only in a dry run: what a worker makes of it depends on the learner's row, which is not read here."""
    GONE = "gone"
    """Neither the dead letter nor the topic has the record any more."""

    @property
    def settled(self) -> bool:
        """Whether nothing is left to be done about it."""
        return self in {Status.RETRIED, Status.COUNTED, Status.SUPERSEDED}


@dataclass(frozen=True, slots=True)
class Tried:
    """The result for one dead letter; ``detail`` tells where its record is now, or why it was not sent."""

    dead_letter: DeadLetter
    status: Status
    detail: str


@dataclass(frozen=True, slots=True)
class _Event:
    """A record that may be sent again."""

    dead_letter: DeadLetter
    kind: Kind
    key: bytes
    value: bytes
    identity: Identity
    place: TopicPartition


class _Named(msgspec.Struct, gc=False):
    user_id: int
    event_id: str | None = None
    request_id: str | None = None


_named: Final = msgspec.json.Decoder(_Named).decode


class Retrier:
    """Sends the records of dead letters again, as ``async with Retrier(settings) as retrier: ...``."""

    def __init__(
        self, settings: Settings, *, dry_run: bool = False, on_records: OnRecords | None = None
    ) -> None:
        self._settings = settings
        self._names = topics.names(settings)
        self._kinds = {self._names.topic(kind): kind for kind in Kind}
        self._now = Clock(settings.clock).now()
        self._on_records = on_records or (lambda _done, _total: None)
        self._producer: AIOKafkaProducer | None = None
        self._dry_run = dry_run

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            lyo.streams.topics.TopicError: a topic has another number of partitions than the settings say.
            aiokafka.errors.KafkaError: Kafka cannot be reached.
        """
        async with clients.admin(self._settings) as admin:
            topics.check(self._settings, await clients.partition_counts(admin, self._kinds))
        if not self._dry_run:
            # Not transactional: transaction markers in the input topics would keep the lag above 0.
            self._producer = clients.producer(self._settings)
            try:
                await self._producer.start()
            except BaseException:
                await clients.stop(self._producer)
                raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._producer is not None:
            await clients.stop(self._producer)

    async def retry(self, dead_letters: Sequence[DeadLetter], refused: Iterable[DeadLetter]) -> list[Tried]:
        """Send the records of the dead letters again, if they are still missing; gives one result per record.

        Args:
            dead_letters: to be retried.
            refused: all dead letters on the topic: their records have not been used.

        Raises:
            aiokafka.errors.KafkaError: Kafka went away. The next retry finds what was sent before it did.
        """
        places = {dead_letter.id for dead_letter in refused if not dead_letter.unstored}
        tried: list[Tried] = []
        events: list[_Event] = []
        reader = clients.consumer(self._settings, fetch_max_wait_ms=100)
        await reader.start()
        try:
            for dead_letter in {dead_letter.id: dead_letter for dead_letter in dead_letters}.values():
                judged = await self._judge(reader, dead_letter, places)
                (tried if isinstance(judged, Tried) else events).append(judged)  # type: ignore[arg-type]
            usable = await self._usable(reader, events, places)
        finally:
            await clients.stop(reader)
        fresh = []
        for event in events:
            known = self._known(event, usable, places)
            if known is None:
                fresh.append(event)
            else:
                tried.append(known)
            # Two dead letters may be about the same event.
            usable.setdefault(event.identity, event.dead_letter.id)
        return tried + await self._send(fresh)

    # ------------------------------------------------------------ what can be sent

    async def _judge(self, reader: Any, dead_letter: DeadLetter, refused: set[str]) -> Tried | _Event:
        """The record of a dead letter if it can be sent; else the result."""
        kind = self._kinds.get(dead_letter.topic)
        if kind is None or dead_letter.offset is None:
            reason = "predictions and rows are computed from events; the next event brings newer ones"
            return Tried(dead_letter, Status.DERIVED, reason)
        if dead_letter.id not in refused:
            used = "used by the workers, refused only by Postgres"
            reason = f"{used}: `lyo sink --rebuild` stores {dead_letter.id}"
            return Tried(dead_letter, Status.COUNTED, reason)
        original = await self._original(reader, dead_letter)
        if original is None:
            return Tried(dead_letter, Status.GONE, "its topic does not have the record any more")
        key, value = original
        fault = self._fault(kind, key, value)
        if fault is not None or key is None or value is None:
            return Tried(dead_letter, Status.REFUSED, fault or "the record has no value")
        identity = self._identity(kind, key, value)
        number = partition(int(key), self._settings.partitions) if kind not in CATALOGUE else 0
        return _Event(dead_letter, kind, key, value, identity, TopicPartition(dead_letter.topic, number))

    async def _original(
        self, reader: Any, dead_letter: DeadLetter
    ) -> tuple[bytes | None, bytes | None] | None:
        """Key and value of the record, from the dead letter or else from its topic; None if both lack it."""
        # A backslash in a dead letter's key may stand for a byte that is not UTF-8.
        if dead_letter.value is not None and dead_letter.key is not None and "\\" not in dead_letter.key:
            return dead_letter.key.encode(), dead_letter.payload
        assert dead_letter.offset is not None
        tp = TopicPartition(dead_letter.topic, dead_letter.partition)
        reader.assign([tp])
        first, last = (await reader.beginning_offsets([tp]))[tp], (await reader.end_offsets([tp]))[tp]
        if not first <= dead_letter.offset < last:
            return None
        reader.seek(tp, dead_letter.offset)
        try:
            record: ConsumerRecord = await asyncio.wait_for(reader.getone(tp), _RECORD_SECONDS)
        except TimeoutError:
            return None
        key = None if record.key is None else record.key.decode("utf-8", "backslashreplace")
        # Compaction may have removed the record, or the topic was created again and has another one there.
        if (record.offset, key) != (dead_letter.offset, dead_letter.key):
            return None
        if dead_letter.value is not None and record.value != dead_letter.payload:
            return None
        return record.key, record.value

    def _fault(self, kind: Kind, key: bytes | None, value: bytes | None) -> str | None:
        """Why a worker would refuse the record; None if it would not."""
        if kind not in CATALOGUE:
            _, rejected = decode(kind, [key], [value], [self._now])
            return rejected[0].reason if rejected else None
        if key is None:
            return "key is missing"
        try:
            (decode_content if kind is Kind.CONTENT else decode_organization)(key, value or b"")
        except EventError as error:
            return error.reason
        return None

    def _identity(self, kind: Kind, key: bytes, value: bytes) -> Identity:
        if kind in CATALOGUE:
            return kind, key, ""
        named = _named(value)
        event_id = named.request_id if kind is Kind.STRUGGLE_REQUEST else named.event_id
        return kind, named.user_id, event_id or ""

    # ------------------------------------------------------------ what the topics hold already

    async def _usable(self, reader: Any, events: Sequence[_Event], refused: set[str]) -> dict[Identity, str]:
        """The places of usable records of these events in their topics; of the catalogue the newest."""
        wanted = {event.identity for event in events}
        partitions = sorted({event.place for event in events})
        places: dict[Identity, str] = {}
        if not partitions:
            return places
        first, last = await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)
        done, total = 0, sum(last.values()) - sum(first.values())
        async for tp, records in clients.read_to_end(reader, partitions):
            kind = self._kinds[tp.topic]
            for record in records:
                self._note(kind, record, wanted, refused, places)
            done += len(records)
            self._on_records(done, total)
        return places

    def _note(
        self,
        kind: Kind,
        record: ConsumerRecord,
        wanted: set[Identity],
        refused: set[str],
        places: dict[Identity, str],
    ) -> None:
        place = f"{record.topic}/{record.partition}/{record.offset}"
        if kind in CATALOGUE:
            if record.key is None or (identity := (kind, record.key, "")) not in wanted:
                return
            # A record that was and would be refused supersedes nothing; a tombstone does.
            if record.value is None or self._fault(kind, record.key, record.value) is None:
                places[identity] = place
            return
        if record.value is None or place in refused:
            return
        try:
            named = self._identity(kind, b"", record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        if named not in wanted or named in places:
            return
        placed = Placed(record.partition, self._settings.partitions)
        if not decode(kind, [record.key], [record.value], [record.timestamp], placed)[1]:
            places[named] = place

    def _known(self, event: _Event, usable: dict[Identity, str], refused: set[str]) -> Tried | None:
        """The result for an event that need not be sent; None if it must be sent."""
        place = usable.get(event.identity)
        if place is None:
            return None
        if event.kind not in CATALOGUE:
            return Tried(event.dead_letter, Status.COUNTED, f"it is at {place}")
        assert event.dead_letter.offset is not None
        if int(place.rpartition("/")[2]) <= event.dead_letter.offset:
            return None
        refusal = ", which is a dead letter itself" if place in refused else ""
        return Tried(event.dead_letter, Status.SUPERSEDED, f"by {place}{refusal}")

    # ------------------------------------------------------------ sending

    async def _send(self, events: Sequence[_Event]) -> list[Tried]:
        tried: list[Tried] = []
        for start in range(0, len(events), AT_ONCE):
            tried += await self._acknowledged(events[start : start + AT_ONCE])
        return tried

    async def _acknowledged(self, events: Sequence[_Event]) -> list[Tried]:
        if self._producer is None:
            return [_dry(event) for event in events]
        answers = [
            await self._producer.send(
                event.place.topic,
                event.value,
                event.key,
                partition=event.place.partition,
                headers=[(HEADER, event.dead_letter.id.encode())],
            )
            for event in events
        ]
        done = await asyncio.gather(*answers)
        return [
            Tried(event.dead_letter, Status.RETRIED, f"as {at.topic}/{at.partition}/{at.offset}")
            for event, at in zip(events, done, strict=True)
        ]


def _dry(event: _Event) -> Tried:
    """The result of a dry run for an event that would be sent.

    A worker refuses it by the same rules as `Retrier._fault`, but for one that needs the learner's row.
    """
    if event.dead_letter.field == ROW_FIELD:
        reason = "a worker compares it with the learner's row, which is not read here; " + _REFUSED_BEFORE
        return Tried(event.dead_letter, Status.UNKNOWN, reason + event.dead_letter.reason)
    return Tried(event.dead_letter, Status.RETRIED, "not sent: a dry run")

"""The group's reader of one partition number's input topics: what of it is used, and where it must seek."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aiokafka import ConsumerRecord, TopicPartition

from lyo.models.events.decode import Kind
from lyo.streams.clock import system_now
from lyo.streams.kafka import clients
from lyo.streams.log import logger
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.record_buffer import RecordBuffer
from lyo.streams.runtime.transport import Poll

# Polls from behind a gap keep arriving for a while after the seek.
GAP_SECONDS = 5.0

log = logger("task")


class SweepLimit(NamedTuple):
    """How far a partition may be swept (ms), and up to which record time (ms) everything is read.

    They differ where ``LYO_CLOCK`` sets the clock, since the system's clock stamps the records.
    """

    until: int
    read_until: int


class InputReader:
    """Follows the reader of one partition number's inputs, so that no record is skipped or used twice.

    Attributes:
        kinds: the event kind of each input partition.
        expected: the next offset to process of each input partition.
    """

    def __init__(self, number: int, context: TaskContext) -> None:
        self.kinds = {TopicPartition(name, number): kind for name, kind in context.names.inputs.items()}
        self.expected: dict[TopicPartition, int] = {}
        self._number = number
        self._context = context
        self._last_timestamp: dict[TopicPartition, int] = {}
        self._sought_until: dict[TopicPartition, float] = {}
        self._astray: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    async def start(self) -> None:
        """Seek to the expected offsets and let every partition be delivered."""
        await self._context.reader.seek_to(self.expected)
        # All of them: an earlier task of this number may have left some paused.
        self._paused.update(self.kinds)
        self.resume()

    def clear(self) -> None:
        """Forget the timestamps and seeks of a state that was discarded."""
        self._last_timestamp.clear()
        self._sought_until.clear()

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver nothing more of these partitions for now."""
        partitions = list(partitions)
        self._paused.update(partitions)
        self._context.reader.pause(partitions)

    def resume(self) -> None:
        """Deliver what was paused."""
        if self._paused:
            self._context.reader.resume(self._paused)
            self._paused.clear()

    def accept(self, polls: list[Poll]) -> tuple[dict[Kind, list[ConsumerRecord]], dict[TopicPartition, int]]:
        """The records to process, by kind, and the offsets after them.

        Records below the expected offset are dropped. A poll behind a gap is dropped and the gap read again.
        """
        records: dict[Kind, list[ConsumerRecord]] = {}
        offsets: dict[TopicPartition, int] = {}
        for poll in polls:
            expected = offsets.get(poll.tp, self.expected[poll.tp])
            if poll.start > expected:
                self._read_again(poll.tp, expected)
                continue
            if poll.next <= expected:
                continue
            fresh = poll.records
            if poll.start < expected:
                fresh = [record for record in fresh if record.offset >= expected]
            records.setdefault(self.kinds[poll.tp], []).extend(fresh)
            offsets[poll.tp] = poll.next
            self._sought_until.pop(poll.tp, None)
        return records, offsets

    def processed(
        self, offsets: Mapping[TopicPartition, int], records: Mapping[Kind, list[ConsumerRecord]]
    ) -> None:
        """Record that what `accept` gave is processed."""
        self.expected.update(offsets)
        for tp in offsets:
            # Only of accepted records: a poll behind a gap says nothing about what was lost before it.
            if accepted := records[self.kinds[tp]]:
                self._last_timestamp[tp] = int(accepted[-1].timestamp)

    def _read_again(self, tp: TopicPartition, offset: int) -> None:
        """Seek back to the expected offset, once: polls that were on their way keep arriving."""
        if time.monotonic() < self._sought_until.get(tp, 0.0):
            return
        self._sought_until[tp] = time.monotonic() + GAP_SECONDS
        self._context.counts["gaps"] += 1
        log.info("task=%d reads %s again from %d", self._number, tp.topic, offset)
        seeking = asyncio.ensure_future(self._context.reader.seek_to({tp: offset}))
        # A failed seek is repaired by the next look for a stray reader.
        clients.take_error(seeking)

    async def find_stray(self, buffer: RecordBuffer) -> None:
        """Seek back where polls were lost on their way: Faust drops some silently during a rebalance.

        The reader has gone astray where it stands elsewhere than expected at two looks in a row, with nothing
        in the buffer.
        """
        positions = await self._context.reader.positions(self.kinds)
        astray = {tp: position for tp, position in positions.items() if position != self.expected[tp]}
        if len(buffer):
            astray = {}
        for tp, position in astray.items():
            if self._astray.get(tp) == position:
                self._read_again(tp, self.expected[tp])
        self._astray = astray

    async def sweep_limit(self, buffer: RecordBuffer) -> SweepLimit | None:
        """How far the partition may be swept: unread events are not silence.

        Up to the clock, if everything is read that was published before the clock was asked. Else up to the
        Kafka timestamp of the oldest unread record; None if it is not known.
        """
        limit, read_until = self._context.clock.now(), system_now()
        ends = await self._context.offsets.end_offsets(list(self.kinds))
        for tp, end in ends.items():
            if self.expected[tp] >= end:
                continue
            oldest = buffer.oldest(tp, self.expected[tp])
            known = self._last_timestamp.get(tp) if oldest is None else oldest
            if known is None:
                return None
            limit, read_until = min(limit, known), min(read_until, known)
        return SweepLimit(limit, read_until)

"""Reads single records from logs: the oldest waiting one and the newest one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from lyo.streams.kafka import clients
from lyo.streams.settings import Settings

LOOK_SECONDS: Final = 4.0
FETCH_WAIT_MS: Final = 100
_TAIL: Final = (8, 128, 4_096)


@dataclass(frozen=True, slots=True)
class Ends:
    """Beginning offsets, high-water marks and last stable offsets of logs."""

    first: Mapping[TopicPartition, int]
    end: Mapping[TopicPartition, int]
    stable: Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """The oldest record at or after a position, if there is one.

    Attributes:
        offset: its offset; None: there is none.
        at: its Kafka timestamp (ms).
        undecided: whether it belongs to an open transaction.
    """

    offset: int | None = None
    at: int | None = None
    undecided: bool = False


@dataclass(slots=True)
class _Search:
    """The result of a search from ``start`` to ``stop``: the first record, or None."""

    start: int
    stop: int
    found: ConsumerRecord | None


@dataclass(slots=True)
class LogReader:
    """Two consumers without a group: one reads committed records, the other uncommitted ones too."""

    settings: Settings
    committed: AIOKafkaConsumer = field(init=False)
    every: AIOKafkaConsumer = field(init=False)
    _known: dict[tuple[str, TopicPartition], _Search] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Create the consumers; nothing connects yet."""
        options: dict[str, Any] = {"fetch_max_wait_ms": FETCH_WAIT_MS, "max_partition_fetch_bytes": 65_536}
        self.committed = clients.consumer(self.settings, **options)
        self.every = clients.consumer(self.settings, isolation_level="read_uncommitted", **options)

    async def start(self) -> None:
        """Connect; call `stop` in any case."""
        await self.committed.start()
        await self.every.start()

    async def stop(self) -> None:
        """Close the connections."""
        for consumer in (self.committed, self.every):
            await clients.stop(consumer)

    async def ends(self, partitions: Iterable[TopicPartition]) -> Ends:
        """Beginning and end offsets of the logs.

        Raises:
            aiokafka.errors.KafkaError, TimeoutError: the broker does not answer.
        """
        wanted = list(partitions)
        # The stable offset first: an end that is read later is never below it.
        stable = await self.committed.end_offsets(wanted)
        return Ends(await self.every.beginning_offsets(wanted), await self.every.end_offsets(wanted), stable)

    # ------------------------------------------------------------ the oldest waiting record

    async def waiting(
        self, group: str, positions: Mapping[TopicPartition, int], ends: Ends
    ) -> dict[TopicPartition, Waiting]:
        """The oldest record from each position of a group on; partitions not read in time are left out."""
        oldest = {tp: Waiting() for tp, position in positions.items() if position >= ends.end[tp]}
        left = {
            tp: self._from(group, tp, max(at, ends.first[tp]))
            for tp, at in positions.items()
            if tp not in oldest
        }
        unfinished = {tp: search for tp, search in left.items() if _is_unfinished(search, ends.stable[tp])}
        await self._search(unfinished, ends)
        for tp, search in left.items():
            if search.found is not None:
                oldest[tp] = Waiting(search.found.offset, search.found.timestamp)
        beyond = [tp for tp, search in left.items() if tp not in oldest and search.stop >= ends.stable[tp]]
        return oldest | await self._undecided(beyond, ends)

    def _from(self, group: str, tp: TopicPartition, position: int) -> _Search:
        """The known search from a position on, or a new one."""
        known = self._known.get((group, tp))
        passed = known is not None and known.found is not None and known.found.offset < position
        if known is None or passed or not known.start <= position <= known.stop:
            known = self._known[group, tp] = _Search(position, position, None)
        return known

    async def _search(self, left: Mapping[TopicPartition, _Search], ends: Ends) -> None:
        starts = {tp: search.stop for tp, search in left.items()}
        firsts, reached = await _first_records(self.committed, starts, ends.stable)
        for tp, position in reached.items():
            left[tp].found, left[tp].stop = firsts.get(tp), position

    async def _undecided(self, partitions: list[TopicPartition], ends: Ends) -> dict[TopicPartition, Waiting]:
        """The first records after the last stable offsets, which belong to open transactions."""
        oldest = {tp: Waiting() for tp in partitions if ends.stable[tp] >= ends.end[tp]}
        starts = {tp: ends.stable[tp] for tp in partitions if tp not in oldest}
        firsts, reached = await _first_records(self.every, starts, ends.end)
        for tp in reached:
            record = firsts.get(tp)
            oldest[tp] = (
                Waiting() if record is None else Waiting(record.offset, record.timestamp, undecided=True)
            )
        return oldest

    # ------------------------------------------------------------ the newest record

    async def newest(
        self, partitions: Iterable[TopicPartition], ends: Ends
    ) -> dict[TopicPartition, ConsumerRecord | None]:
        """The last committed record of each partition; None if there is none. It reads back in growing steps.

        Partitions not read in time are left out.
        """
        newest_records: dict[TopicPartition, ConsumerRecord | None] = {}
        left = list(partitions)
        for step in (*_TAIL, None):
            starts = {
                tp: ends.first[tp] if step is None else max(ends.stable[tp] - step, ends.first[tp])
                for tp in left
            }
            read = await _last_records(self.committed, starts, ends.stable)
            newest_records |= {
                tp: record
                for tp, record in read.items()
                if record is not None or starts[tp] == ends.first[tp]
            }
            left = [tp for tp in read if tp not in newest_records]
        return newest_records


def _is_unfinished(search: _Search, stop: int) -> bool:
    return search.found is None and search.stop < stop


async def _first_records(
    reader: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], stop: Mapping[TopicPartition, int]
) -> tuple[dict[TopicPartition, ConsumerRecord], dict[TopicPartition, int]]:
    """The first record at or after each start, and the next position; unread partitions are left out."""
    firsts: dict[TopicPartition, ConsumerRecord] = {}
    reached: dict[TopicPartition, int] = {}
    left = _assign(reader, starts)
    until = time.monotonic() + LOOK_SECONDS
    while left and time.monotonic() < until:
        polled = await reader.getmany(*left, timeout_ms=FETCH_WAIT_MS, max_records=1)
        for tp, records in polled.items():
            firsts[tp], reached[tp] = records[0], records[0].offset + 1
        for tp in left - reached.keys():
            position = await _position(reader, tp)
            if position is not None and position >= stop[tp]:
                reached[tp] = position
        done = left & reached.keys()
        reader.pause(*done)
        left -= done
    return firsts, reached


async def _last_records(
    reader: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], stop: Mapping[TopicPartition, int]
) -> dict[TopicPartition, ConsumerRecord | None]:
    """The last record of each partition at or after its start, or None; unread partitions are left out."""
    lasts: dict[TopicPartition, ConsumerRecord | None] = {
        tp: None for tp, start in starts.items() if start >= stop[tp]
    }
    left = _assign(reader, {tp: start for tp, start in starts.items() if tp not in lasts})
    lasts |= dict.fromkeys(left)
    until = time.monotonic() + LOOK_SECONDS
    while left and time.monotonic() < until:
        for tp, records in (await reader.getmany(*left, timeout_ms=FETCH_WAIT_MS)).items():
            lasts[tp] = records[-1]
        done = {tp for tp in left if (await _position(reader, tp) or 0) >= stop[tp]}
        reader.pause(*done)
        left -= done
    return {tp: record for tp, record in lasts.items() if tp not in left}


def _assign(reader: AIOKafkaConsumer, starts: Mapping[TopicPartition, int]) -> set[TopicPartition]:
    if starts:
        reader.assign(list(starts))
        for tp, offset in starts.items():
            reader.seek(tp, offset)
    return set(starts)


async def _position(reader: AIOKafkaConsumer, tp: TopicPartition) -> int | None:
    """The reader's position; None if it is not known within a second."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            return int(await reader.position(tp))
    return None

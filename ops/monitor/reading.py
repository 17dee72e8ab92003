"""Reading single records out of logs: the oldest that waits, the newest that there is."""

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
    """Where logs begin, where they end, and where their decided part ends (the last stable offset)."""

    first: Mapping[TopicPartition, int]
    end: Mapping[TopicPartition, int]
    stable: Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """The oldest record from a position on, if there is one.

    Attributes:
        offset: its offset; None: there is none.
        at: its Kafka timestamp (ms).
        undecided: it belongs to a transaction that is still open.
    """

    offset: int | None = None
    at: int | None = None
    undecided: bool = False


@dataclass(slots=True)
class _Searched:
    """From ``start`` to ``stop`` nothing was found, or ``found`` as the first."""

    start: int
    stop: int
    found: ConsumerRecord | None


@dataclass(slots=True)
class LogReader:
    """Two groupless consumers: one sees what is committed, the other what is still open, too."""

    settings: Settings
    committed: AIOKafkaConsumer = field(init=False)
    every: AIOKafkaConsumer = field(init=False)
    _known: dict[tuple[str, TopicPartition], _Searched] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the consumers; nothing connects yet."""
        options: dict[str, Any] = {"fetch_max_wait_ms": FETCH_WAIT_MS, "max_partition_fetch_bytes": 65_536}
        self.committed = clients.consumer(self.settings, **options)
        self.every = clients.consumer(self.settings, isolation_level="read_uncommitted", **options)

    async def start(self) -> None:
        """Connect; `stop` is called in any case."""
        await self.committed.start()
        await self.every.start()

    async def stop(self) -> None:
        """Let go of the connections."""
        for consumer in (self.committed, self.every):
            await clients.stop(consumer)

    async def ends(self, partitions: Iterable[TopicPartition]) -> Ends:
        """Where the logs begin and end.

        Raises:
            aiokafka.errors.KafkaError, TimeoutError: the broker does not say.
        """
        wanted = list(partitions)
        # The stable end first: an end that was asked for later is never below it.
        stable = await self.committed.end_offsets(wanted)
        return Ends(await self.every.beginning_offsets(wanted), await self.every.end_offsets(wanted), stable)

    # ------------------------------------------------------------ the oldest that waits

    async def waiting(
        self, group: str, positions: Mapping[TopicPartition, int], ends: Ends
    ) -> dict[TopicPartition, Waiting]:
        """The oldest record from each position of a group on; what was not read in time is left out."""
        found = {tp: Waiting() for tp, position in positions.items() if position >= ends.end[tp]}
        left = {
            tp: self._from(group, tp, max(at, ends.first[tp]))
            for tp, at in positions.items()
            if tp not in found
        }
        await self._search({tp: one for tp, one in left.items() if _open_to(one, ends.stable[tp])}, ends)
        for tp, one in left.items():
            if one.found is not None:
                found[tp] = Waiting(one.found.offset, one.found.timestamp)
        beyond = [tp for tp, one in left.items() if tp not in found and one.stop >= ends.stable[tp]]
        return found | await self._undecided(beyond, ends)

    def _from(self, group: str, tp: TopicPartition, position: int) -> _Searched:
        """What is known from a position on; a new search where it is nothing."""
        known = self._known.get((group, tp))
        passed = known is not None and known.found is not None and known.found.offset < position
        if known is None or passed or not known.start <= position <= known.stop:
            known = self._known[group, tp] = _Searched(position, position, None)
        return known

    async def _search(self, left: Mapping[TopicPartition, _Searched], ends: Ends) -> None:
        starts = {tp: one.stop for tp, one in left.items()}
        firsts, reached = await _first_records(self.committed, starts, ends.stable)
        for tp, position in reached.items():
            left[tp].found, left[tp].stop = firsts.get(tp), position

    async def _undecided(self, partitions: list[TopicPartition], ends: Ends) -> dict[TopicPartition, Waiting]:
        """Beyond the stable end: records of open transactions, or nothing where both ends are the same."""
        found = {tp: Waiting() for tp in partitions if ends.stable[tp] >= ends.end[tp]}
        starts = {tp: ends.stable[tp] for tp in partitions if tp not in found}
        firsts, reached = await _first_records(self.every, starts, ends.end)
        for tp in reached:
            record = firsts.get(tp)
            found[tp] = (
                Waiting() if record is None else Waiting(record.offset, record.timestamp, undecided=True)
            )
        return found

    # ------------------------------------------------------------ the newest there is

    async def newest(
        self, partitions: Iterable[TopicPartition], ends: Ends
    ) -> dict[TopicPartition, ConsumerRecord | None]:
        """The last committed record of each partition, None where there is none; read in growing steps.

        What was not read in time is left out.
        """
        found: dict[TopicPartition, ConsumerRecord | None] = {}
        left = list(partitions)
        for step in (*_TAIL, None):
            starts = {
                tp: ends.first[tp] if step is None else max(ends.stable[tp] - step, ends.first[tp])
                for tp in left
            }
            read = await _last_records(self.committed, starts, ends.stable)
            found |= {tp: one for tp, one in read.items() if one is not None or starts[tp] == ends.first[tp]}
            left = [tp for tp in read if tp not in found]
        return found


def _open_to(searched: _Searched, stop: int) -> bool:
    return searched.found is None and searched.stop < stop


async def _first_records(
    reader: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], stop: Mapping[TopicPartition, int]
) -> tuple[dict[TopicPartition, ConsumerRecord], dict[TopicPartition, int]]:
    """The first record from each start on and how far was read; partitions not read in time are left out."""
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
    """The last record of each partition from its start on, None: there is none; what was read in time."""
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
    """Where the reader stands; None if that is not known at once."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            return int(await reader.position(tp))
    return None

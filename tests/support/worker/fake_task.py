"""A task over a reader and ends that tests decide about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from lyo.streams.kafka.offset_metadata import EventCounts
from lyo.streams.runtime.opening import OpenState
from lyo.streams.runtime.transport import Poll
from tests.support.worker.counting_worker import CountingEngine

SESSIONS = TopicPartition("lyo.sessions", 2)
SENTIMENT = TopicPartition("lyo.sentiment", 2)
CLOCK = 1_772_366_400_000


def record(offset: int, timestamp: int = 0) -> Any:
    return SimpleNamespace(offset=offset, timestamp=timestamp, key=b"1", value=b"{}", headers=[])


def poll(start: int, end: int, tp: TopicPartition = SESSIONS, *, at: int = 0) -> Poll:
    return Poll(tp, start, end, [record(offset, at) for offset in range(start, end)])


class FakeReader:
    def __init__(self) -> None:
        self.sought: list[dict[TopicPartition, int]] = []
        self.held: set[TopicPartition] = set()
        self.at: dict[TopicPartition, int] = {}

    async def positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return self.at

    async def seek_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.sought.append(dict(offsets))

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self.held.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self.held.difference_update(partitions)


class FakeEnds:
    def __init__(self) -> None:
        self.ends: dict[TopicPartition, int] = {}

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.ends.get(tp, 0) for tp in partitions}


def opened(engine: CountingEngine) -> OpenState:
    return OpenState(engine, 0, {}, {}, {}, EventCounts(), {})

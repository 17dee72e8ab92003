"""The age and model of the newest prediction of each kind, read at the ends of the topics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from lyo.ops.monitor.broker import Logs
from lyo.ops.monitor.reading import LogReader
from lyo.ops.monitor.snapshot import KindAge

AT_ONCE: Final = 2
"""Partitions of a kind that are read in one look: reading all of a busy topic each time would be a load."""


class _Named(msgspec.Struct):
    model: str | None = None


@dataclass(slots=True)
class _Newest:
    """The timestamp ``at`` (ms) and model of the newest record before the offset ``stable``; None: none."""

    stable: int
    at: int | None
    model: str | None


class Ages:
    """Keeps the newest record of each partition, and reads partitions that have grown."""

    def __init__(self, topics: Mapping[str, str]) -> None:
        self._topics = topics
        self._known: dict[TopicPartition, _Newest] = {}
        self._turn = 0

    async def look(self, reader: LogReader, logs: Logs) -> None:
        """Read the ends of some of the partitions that have grown."""
        wanted: list[TopicPartition] = []
        for topic in self._topics.values():
            wanted += self._moved(topic, logs)[:AT_ONCE]
        self._turn += 1
        newest = await reader.newest(wanted, logs.ends)
        for tp, record in newest.items():
            self._take(tp, logs.ends.stable[tp], record)

    def _moved(self, topic: str, logs: Logs) -> list[TopicPartition]:
        """Partitions that have grown: first those never read, then the others in turn."""
        partitions = [TopicPartition(topic, number) for number in logs.partitions.get(topic, ())]
        moved = [
            tp for tp in partitions if tp not in self._known or self._known[tp].stable != logs.ends.stable[tp]
        ]
        turn = self._turn * AT_ONCE % max(len(moved), 1)
        new = [tp for tp in moved if tp not in self._known]
        return new or moved[turn:] + moved[:turn]

    def _take(self, tp: TopicPartition, stable: int, record: ConsumerRecord | None) -> None:
        before = self._known.get(tp)
        if record is None:
            self._known[tp] = _Newest(stable, None, None)
            return
        model = _model(record.value) or (None if before is None else before.model)
        self._known[tp] = _Newest(stable, int(record.timestamp), model)

    def ages(self, now: int, logs: Logs | None) -> tuple[KindAge, ...]:
        """The age of each kind; unknown without ``logs`` (no answer), or if a partition is unread."""
        return tuple(self._age(kind, topic, now, logs) for kind, topic in self._topics.items())

    def _age(self, kind: str, topic: str, now: int, logs: Logs | None) -> KindAge:
        partitions = [
            TopicPartition(topic, number) for number in (logs.partitions.get(topic, ()) if logs else ())
        ]
        known = [self._known[tp] for tp in partitions if tp in self._known]
        if not partitions or len(known) < len(partitions):
            return KindAge(kind=kind)
        written = [(newest.at, newest.model) for newest in known if newest.at is not None]
        if not written:
            return KindAge(kind=kind, empty=True)
        at, model = max(written, key=lambda pair: pair[0])
        return KindAge(kind=kind, at=at, age_seconds=max(now - at, 0) / 1000, model=model)


def _model(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=_Named).model
    except msgspec.DecodeError:
        return None

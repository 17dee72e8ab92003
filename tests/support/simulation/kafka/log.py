"""A log of the simulated broker: records, the transactions that wrote them, and what readers see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import TopicPartition


class Committed(NamedTuple):
    """An offset as a group has it committed, with its metadata."""

    offset: int
    metadata: str = ""


class Stored(NamedTuple):
    """A record as consumers see it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(eq=False)
class Transaction:
    """One transaction of one owner: what it has written where, and what became of it."""

    offsets: dict[str, dict[TopicPartition, Committed]] = field(default_factory=dict)
    first: dict[TopicPartition, int] = field(default_factory=dict)
    committed: bool | None = None
    marked: set[TopicPartition] = field(default_factory=set)


@dataclass(eq=False)
class Log:
    """A partition's log; a marker has no record, and neither has what compaction removed."""

    entries: list[tuple[Stored | None, Transaction | None]] = field(default_factory=list)
    pending: list[Transaction] = field(default_factory=list)

    def stable(self, tp: TopicPartition) -> int:
        """The last stable offset: where the first transaction begins that is not over."""
        return min((one.first[tp] for one in self.pending), default=len(self.entries))

    def committed(
        self, tp: TopicPartition, start: int = 0, most: int | None = None
    ) -> tuple[list[Stored], int]:
        """Committed records from an offset on, and the offset after what was looked at."""
        end, found = self.stable(tp), []
        at = start
        while at < end:
            record, transaction = self.entries[at]
            at += 1
            if record is not None and (transaction is None or transaction.committed):
                found.append(record)
                if most is not None and len(found) >= most:
                    break
        return found, at

    def uncommitted(self, start: int, most: int | None) -> tuple[list[Stored], int]:
        """Records whatever becomes of them, and the offset after what was looked at."""
        found = [record for record, _ in self.entries[start:] if record is not None][:most]
        everything = most is None or len(found) < most
        return found, len(self.entries) if everything else found[-1].offset + 1

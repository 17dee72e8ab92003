"""Polls that wait for a task: each topic's in the order in which they came."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable

from aiokafka import TopicPartition

from lyo.streams.runtime.transport import Poll


class RecordBuffer:
    """Polls waiting for one task; says when it holds more than it should."""

    def __init__(self, most: int) -> None:
        self._polls: deque[Poll] = deque()
        self._most = most
        self._arrived = asyncio.Event()
        self._woken = False
        self.records = 0

    def __len__(self) -> int:
        return len(self._polls)

    @property
    def full(self) -> bool:
        """Whether a whole batch or more is waiting."""
        return self.records >= self._most

    @property
    def slack(self) -> bool:
        """Whether no more than half a batch is waiting."""
        return self.records <= self._most // 2

    def put(self, poll: Poll) -> None:
        """Add a poll."""
        self._polls.append(poll)
        self.records += len(poll.records)
        self._arrived.set()

    def take(self) -> list[Poll]:
        """The next polls, of at most a batch's records; one poll at least.

        The next one is always of the topic whose head record is the oldest, so that a backlog of several
        topics is worked off in about the order in which it came about.
        """
        taken: list[Poll] = []
        count = 0
        while self._polls:
            poll = min(self._heads(), key=_head)
            if taken and count + len(poll.records) > self._most:
                break
            self._polls.remove(poll)
            count += len(poll.records)
            taken.append(poll)
        self.records -= count
        return taken

    def _heads(self) -> Iterable[Poll]:
        """The first waiting poll of each topic."""
        heads: dict[TopicPartition, Poll] = {}
        for poll in self._polls:
            heads.setdefault(poll.tp, poll)
        return heads.values()

    def clear(self) -> None:
        """Forget what waits."""
        self._polls.clear()
        self.records = 0

    def oldest(self, tp: TopicPartition, stands: int) -> int | None:
        """The Kafka timestamp (ms) of a partition's first record at or after an offset, if it waits; or None.

        What waits behind a gap is not the oldest: the polls between were lost on their way.
        """
        for poll in self._polls:
            if poll.tp == tp:
                if poll.start > stands:
                    return None
                stands = max(stands, poll.next)
                if poll.records:
                    return int(poll.records[0].timestamp)
        return None

    def wake(self) -> None:
        """Let `wait` and `fill` return, now and from now on."""
        self._woken = True
        self._arrived.set()

    async def wait(self, seconds: float) -> None:
        """Return when a poll arrives, when woken, or after so many seconds."""
        await self._until(lambda: bool(self._polls), seconds)

    async def fill(self, records: int, seconds: float) -> None:
        """Return when so many records wait, when woken, or after so many seconds."""
        await self._until(lambda: self.records >= records, seconds)

    async def _until(self, enough: Callable[[], bool], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (enough() or self._woken):
                    self._arrived.clear()
                    await self._arrived.wait()


def _head(poll: Poll) -> int:
    """The Kafka timestamp (ms) of a poll's first record; one without records is in nobody's way."""
    return int(poll.records[0].timestamp) if poll.records else -1

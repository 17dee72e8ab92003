"""Polls that wait for a task, those of one topic in their order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable

from aiokafka import TopicPartition

from lyo.streams.runtime.transport import Poll


class RecordBuffer:
    """The polls that wait for one task; tells when to pause and resume reading."""

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
        """Whether at most half a batch is waiting."""
        return self.records <= self._most // 2

    def put(self, poll: Poll) -> None:
        """Add a poll."""
        self._polls.append(poll)
        self.records += len(poll.records)
        self._arrived.set()

    def take(self) -> list[Poll]:
        """Remove and give the next polls, of at most a batch's records; at least one poll.

        The next poll is always of the topic whose head record is the oldest, so a backlog of several topics
        is processed roughly in the order of its records.
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
        """Drop the waiting polls."""
        self._polls.clear()
        self.records = 0

    def oldest(self, tp: TopicPartition, expected: int) -> int | None:
        """The Kafka timestamp (ms) of a partition's first waiting record at or after an offset.

        None if no record waits, or if polls before the first waiting one were lost on their way.
        """
        for poll in self._polls:
            if poll.tp == tp:
                if poll.start > expected:
                    return None
                expected = max(expected, poll.next)
                if poll.records:
                    return int(poll.records[0].timestamp)
        return None

    def wake(self) -> None:
        """Let `wait` and `fill` return at once, from now on."""
        self._woken = True
        self._arrived.set()

    async def wait(self, seconds: float) -> None:
        """Return when a poll waits, after `wake`, or after so many seconds."""
        await self._until(lambda: bool(self._polls), seconds)

    async def fill(self, records: int, seconds: float) -> None:
        """Return when so many records wait, after `wake`, or after so many seconds."""
        await self._until(lambda: self.records >= records, seconds)

    async def _until(self, enough: Callable[[], bool], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (enough() or self._woken):
                    self._arrived.clear()
                    await self._arrived.wait()


def _head(poll: Poll) -> int:
    """The Kafka timestamp (ms) of a poll's first record; a poll without records comes first."""
    return int(poll.records[0].timestamp) if poll.records else -1

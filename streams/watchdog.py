"""The watchdog: ends a process that has work waiting and makes no progress, so that it is restarted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from lyo.streams.kafka import clients

T = TypeVar("T")

LOOK_SECONDS: Final = 5.0
OUT_OF_REACH: Final = "Kafka out of reach"


class Job(NamedTuple):
    """One of the jobs that a process does concurrently.

    Attributes:
        done: changes with every progress.
        waiting: the waiting work in words; empty if there is none.
        turn: False while the job waits for other jobs of the process; this time is not counted.
    """

    done: Hashable
    waiting: str
    turn: bool = True


Jobs = Mapping[Hashable, Job]


async def stalled(limit: float, jobs: Callable[[], Awaitable[Jobs]]) -> str:
    """Return once a job with waiting work has made no progress for ``limit`` seconds.

    Gives the line that says so. A job that ``jobs`` no longer names is dropped.
    """
    clock = asyncio.get_running_loop().time
    still: dict[Hashable, tuple[Hashable, float]] = {}
    looked = clock()
    while True:
        await asyncio.sleep(min(limit / 5, LOOK_SECONDS))
        running = await jobs()
        # Time in which the process was frozen does not count: it gets time to continue.
        passed, looked = min(clock() - looked, limit / 2), clock()
        still = {key: (job.done, _still(job, still.get(key), passed)) for key, job in running.items()}
        for key, (_, seconds) in still.items():
            if seconds > limit:
                waiting = running[key].waiting
                return f"nothing was done for {limit:g} s with {waiting}: ending to be started anew"


async def unless(ended: Coroutine[Any, Any, T], work: Coroutine[Any, Any, None]) -> T | None:
    """Do the work, or cancel it once ``ended`` returns, and give its result; None: the work is done."""
    doing, ending = asyncio.create_task(work), asyncio.create_task(ended)
    clients.take_error(doing)
    try:
        await asyncio.wait({doing, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            return ending.result()
        doing.result()
    finally:
        doing.cancel()
        ending.cancel()
        await asyncio.wait({doing, ending}, timeout=clients.STOP_SECONDS)
    return None


def _still(job: Job, before: tuple[Hashable, float] | None, passed: float) -> float:
    """Seconds since a job's last progress."""
    if before is None or before[0] != job.done or not job.waiting:
        return 0.0
    return before[1] + (passed if job.turn else 0.0)


async def ends_of(
    reader: AIOKafkaConsumer, partitions: Iterable[TopicPartition], seconds: float
) -> dict[TopicPartition, int] | None:
    """The end offset of each partition; None if Kafka does not answer within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            ends: dict[TopicPartition, int] = await reader.end_offsets(list(partitions))
    except (KafkaError, OSError, TimeoutError):
        return None
    return ends


def records_job(
    done: Hashable, at: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int] | None, what: str
) -> Job:
    """The job of reading partitions from the offsets ``at`` to their ends; ``what`` names it in words."""
    if ends is None:
        return Job(done, OUT_OF_REACH)
    lag = sum(max(ends[tp] - offset, 0) for tp, offset in at.items())
    return Job(done, f"{lag} {what} waiting" if lag else "")

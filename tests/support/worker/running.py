"""Runs workers as processes of their own, gives them events, and reads what they committed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Self

from aiokafka import AIOKafkaProducer, ConsumerRecord

from lyo.models.events.decode import Kind, partition
from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support import logs

COUNTING = Path(__file__).with_name("counting_worker.py")
Event = tuple[Kind, int, bytes]


class WorkerProcess:
    """A worker whose log goes to a file; ended with the `async with` block, whatever happens."""

    def __init__(self, environment: dict[str, str], log: Path, **settings: str) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(COUNTING)],
                env=environment | settings,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=COUNTING.parents[3],
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        await asyncio.to_thread(self.process.wait, 30)

    def kill(self) -> None:
        """End it with -9."""
        self.process.kill()

    async def stop(self) -> int:
        """End it with SIGTERM; gives the exit code."""
        self.process.terminate()
        return await self.ended()

    async def ended(self, seconds: float = 60) -> int:
        return await asyncio.to_thread(self.process.wait, seconds)

    async def says(self, text: str, times: int = 1, seconds: float = 60) -> None:
        """Return when the log has said something so many times."""
        await until(lambda: self.log.read_text().count(text) >= times or self._fail(text), seconds, text)

    def _fail(self, text: str) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"ended before it said {text!r}:\n{self.log.read_text()[-3000:]}")
        return False


async def until(
    condition: Callable[[], bool | Awaitable[bool]], seconds: float, what: str, pause: float = 0.05
) -> None:
    """Return when the condition holds; fails after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(pause)


def events(count: int, users: int, first: int = 0, at: str | None = None) -> list[Event]:
    """Sessions, sentiments and completions of several learners, as (kind, user, value)."""
    when = (at or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())).encode()
    made: list[Event] = []
    for number in range(first, first + count):
        user = number * 7_919 % users + 1
        head = b'{"event_id":"e%d","user_id":%d,' % (number, user)
        if number % 3 == 0:
            made.append((Kind.SESSION, user, head + b'"started_at":"%s","ended_at":"%s"}' % (when, when)))
        elif number % 3 == 1:
            made.append((Kind.SENTIMENT, user, head + b'"occurred_at":"%s","sentiment":0.25}' % when))
        else:
            made.append(
                (
                    Kind.LESSON_COMPLETION,
                    user,
                    head + b'"occurred_at":"%s","content_id":"c","skills":["s"],"score":0.5}' % when,
                )
            )
    return made


@contextlib.asynccontextmanager
async def publisher(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = clients.producer(settings)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def publish(
    settings: Settings, producer: AIOKafkaProducer, made: Iterable[Event], at: int | None = None
) -> None:
    """Publish events, acknowledged; ``at`` is their Kafka timestamp in ms."""
    names = topics.names(settings)
    sent = [
        await producer.send(
            names.topic(kind),
            value,
            b"%d" % user,
            partition=partition(user, settings.partitions),
            timestamp_ms=at,
        )
        for kind, user, value in made
    ]
    await asyncio.gather(*sent)


async def read(settings: Settings, topic: str) -> list[ConsumerRecord]:
    """Every committed record of a topic, partition by partition in log order."""
    return await logs.records(settings, topic)


async def counted(settings: Settings) -> dict[int, int]:
    """The number of events per learner that the workers' rows say."""
    newest = {
        record.key: record.value for record in await read(settings, topics.names(settings).learner_rows)
    }
    return {int(key): json.loads(value)[0] for key, value in newest.items() if not key.startswith(b"#")}


def expected(made: Iterable[Event]) -> dict[int, int]:
    return dict(Counter(user for _, user, _ in made))


async def committed(settings: Settings) -> int:
    """How many input records the group's committed offsets say are done."""
    async with clients.admin(settings) as client:
        offsets = await clients.persist(lambda: client.list_consumer_group_offsets(settings.app_id), 30)
    inputs = topics.names(settings).inputs
    return sum(max(entry.offset, 0) for tp, entry in offsets.items() if tp.topic in inputs)


async def all_done(settings: Settings, count: int, seconds: float = 120) -> None:
    """Return when the group has committed so many input records."""

    async def done() -> bool:
        return await committed(settings) >= count

    await until(done, seconds, f"{count} events committed", pause=0.2)

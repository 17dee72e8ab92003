"""`lyo` processes for tests, ended with their block whatever happens."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings

ROOT = Path(__file__).parents[2]
Environment = Callable[[Settings], dict[str, str]]
"""From settings to the environment of a process that shall have them: the fixture `environment`."""
LONGEST = 240.0


@asynccontextmanager
async def process(
    name: str, environment: dict[str, str], log: Path, module: str = "lyo.cli.main"
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A `lyo` process, ended with the block."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", module, name],
            env=environment,
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
        try:
            await asyncio.to_thread(child.wait, 30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


async def wait_for(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = LONGEST) -> None:
    """Wait until an awaitable condition holds."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.3)


async def lag(settings: Settings) -> int:
    """Input records that the workers' group has not committed yet."""
    async with clients.admin(settings) as client:
        # A cluster's first group waits until Kafka has made the topic of its offsets.
        done = await clients.persist(lambda: client.list_consumer_group_offsets(settings.app_id), LONGEST)
    reader = clients.consumer(settings)
    await reader.start()
    try:
        partitions = await clients.partitions_of(settings, *topics.names(settings).inputs)
        ends = await reader.end_offsets(partitions)
    finally:
        await reader.stop()
    return sum(end - max(done[tp].offset if tp in done else 0, 0) for tp, end in ends.items())


def lyo(
    environment: dict[str, str], *arguments: str, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """A command that has ended, with what it wrote; it may take so many seconds."""
    return subprocess.run(
        [sys.executable, "-m", "lyo.cli.main", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )

"""Up to when the tables are complete: said by the sink, and by every answer that lags behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from sqlalchemy.ext.asyncio import async_sessionmaker

from lyo.models.arrays.zones import HOUR
from lyo.models.events.decode import Kind, partition
from lyo.predictive.answers import answers
from lyo.storage import database
from lyo.storage.sink.offsets import Place, Position
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.watermark import Watermark
from lyo.storage.sink.writer import Writer
from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.clock import set_clock
from tests.support.learners.building import iso, ms, session
from tests.support.processes import process
from tests.support.sink.running import Sent, fetch, said
from tests.support.sink.running import publish as publish_in_transactions
from tests.support.worker.running import until

pytestmark = pytest.mark.integration

START = ms("2026-03-01T10:00:00Z")
USER = 1


SetClock = Callable[[int], None]


@pytest.fixture
async def ready(ready: Settings, tmp_path: Path) -> Settings:
    return ready.model_copy(update={"clock": f"@{tmp_path / 'clock'}"})


@pytest.fixture
def clock(tmp_path: Path) -> SetClock:
    def to(at: int) -> None:
        set_clock(tmp_path / "clock", iso(at))

    to(START)
    return to


def an_event(settings: Settings, at: int) -> Sent:
    return said(settings, Kind.SESSION, session(USER, at, name=f"s{at}").body)


async def watermarks(settings: Settings) -> dict[int, int]:
    rows = await fetch(settings.database_url, "SELECT partition, complete_until FROM watermarks")
    return {number: round(at.timestamp() * 1000) for number, at in rows}


async def reached(settings: Settings, numbers: Iterable[int], at: int) -> None:
    async def holds() -> bool:
        found = await watermarks(settings)
        return all(found.get(number) == at for number in numbers)

    await until(holds, 30, f"the watermarks of {sorted(numbers)} at {at}")


@asynccontextmanager
async def watching(settings: Settings, positions: dict[Place, Position]) -> AsyncIterator[None]:
    watermark = Watermark(settings, positions, every_seconds=0.05)
    task = asyncio.create_task(watermark.run())
    try:
        yield
    finally:
        watermark.stop()
        await asyncio.wait([task], timeout=30)
    task.result()


async def processed(settings: Settings, topic: str, number: int, offset: int) -> None:
    """Let the workers' group stand here."""
    consumer = clients.consumer(settings, group_id=settings.app_id)
    await consumer.start()
    try:
        tp = TopicPartition(topic, number)
        consumer.assign([tp])
        await consumer.commit({tp: offset})
    finally:
        await consumer.stop()


async def test_it_moves_past_what_is_processed_and_stored_and_no_further(
    ready: Settings, clock: SetClock
) -> None:
    names = topics.names(ready)
    numbers = set(range(ready.partitions))
    mine = partition(USER, ready.partitions)
    read = await clients.partitions_of(ready, *Writer(names, tenant_of).topics)
    positions = {Place(*tp): Position(0, 1) for tp in read}
    async with watching(ready, positions):
        await reached(ready, numbers, START)

        await publish_in_transactions(ready, [an_event(ready, START)])
        clock(START + HOUR)
        await reached(ready, numbers - {mine}, START + HOUR)
        assert (await watermarks(ready))[mine] == START, "published and not processed"

        row = Sent(names.learner_rows, mine, b"%d" % USER, b"a row")
        await publish_in_transactions(ready, [row])
        # Behind the event lies the marker of its transaction: nothing that would have to be processed.
        await processed(ready, names.topic(Kind.SESSION), mine, 1)
        clock(START + 2 * HOUR)
        await reached(ready, numbers - {mine}, START + 2 * HOUR)
        assert (await watermarks(ready))[mine] == START, "processed and not stored"

        positions[Place(names.learner_rows, mine)] = Position(2, 1)
        await reached(ready, numbers, START + 2 * HOUR)

        del positions[Place(names.learner_rows, mine)]
        clock(START + 3 * HOUR)
        await reached(ready, numbers - {mine}, START + 3 * HOUR)
        assert (await watermarks(ready))[mine] <= START + 2 * HOUR, "another sink's"


async def test_while_no_worker_works_answers_say_up_to_when_they_are_complete(
    ready: Settings, environment: Callable[[Settings], dict[str, str]], clock: SetClock, tmp_path: Path
) -> None:
    env = environment(ready)
    mine = partition(USER, ready.partitions)
    others = set(range(ready.partitions)) - {mine}
    engine = database.engine(ready.database_url)

    async def told(now: int) -> dict[str, Any]:
        async with async_sessionmaker(engine)() as db:
            return await answers.dropout_risk(
                db, user_id=USER, organization=None, now=now, names=topics.names(ready)
            )

    async with process("sink", env, tmp_path / "sink"):
        async with process("worker", env, tmp_path / "worker"):
            await publish_in_transactions(ready, [an_event(ready, START - HOUR)])
            await reached(ready, others | {mine}, START)
            known = await told(START)
            assert (known["stale"], known["as_of"]) == (False, iso(START))
        await publish_in_transactions(ready, [an_event(ready, START)])
        clock(START + 5 * HOUR)
        await reached(ready, others, START + 5 * HOUR)
        lagging = await told(START + 5 * HOUR)
        assert (lagging["stale"], lagging["as_of"]) == (True, iso(START))
        async with process("worker", env, tmp_path / "again"):
            await reached(ready, others | {mine}, START + 5 * HOUR)
            fresh = await told(START + 5 * HOUR)
            assert (fresh["stale"], fresh["as_of"]) == (False, iso(START + 5 * HOUR))
    await engine.dispose()

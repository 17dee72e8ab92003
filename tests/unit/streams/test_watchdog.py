"""What ends a process that gets nothing done, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from lyo.storage.sink.offsets import Place, Position
from lyo.storage.sink.sink import Sink
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.restore import Restored
from lyo.streams.runtime.task import Task
from lyo.streams.runtime.worker import PAUSE_SECONDS, Worker
from lyo.streams.settings import Settings
from lyo.streams.topics import Names
from lyo.streams.watchdog import Job, Jobs, stalled
from tests.support.simulation.loop import SimLoop
from tests.support.worker.counting_worker import CountingEngine, EmptyCatalogue

LIMIT = 25.0
LONG = 20 * LIMIT
INPUTS = {TopicPartition(topic, number) for topic in Names().inputs for number in (0, 1)}


async def ended(watching: Awaitable[str | None], seconds: float = LONG) -> str | None:
    """What a watch says; None if it says nothing within the simulated time."""
    try:
        return await asyncio.wait_for(watching, seconds)
    except TimeoutError:
        return None


def always(**jobs: Job) -> Callable[[], Awaitable[Jobs]]:
    async def look() -> Jobs:
        return cast("Jobs", jobs)

    return look


def test_what_waits_and_stands_still_ends_the_process(loop: SimLoop) -> None:
    jobs = always(idle=Job(0, ""), queued=Job(0, "rows", turn=False), stuck=Job(0, "3 events waiting"))
    said = loop.run_until_complete(ended(stalled(LIMIT, jobs)))
    assert said == "nothing was done for 25 s with 3 events waiting: ending to be started anew"


def test_what_has_nothing_to_do_or_waits_for_its_turn_is_not_stuck(loop: SimLoop) -> None:
    jobs = always(idle=Job(0, ""), queued=Job(0, "rows", turn=False))
    assert loop.run_until_complete(ended(stalled(LIMIT, jobs))) is None


def test_a_process_that_was_frozen_gets_time_to_go_on(loop: SimLoop) -> None:
    looks = []

    async def look() -> Jobs:
        looks.append(loop.time())
        if len(looks) == 2:
            loop._now += LIMIT
        return {"stuck": Job(0, "3 events waiting")}

    assert loop.run_until_complete(ended(stalled(LIMIT, look)))
    assert len(looks) > 3


class Ends:
    """A consumer that says where partitions end: the input topics at ``end``, the others at 0."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.away = False

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        if self.away:
            raise KafkaConnectionError
        return {tp: self.end if tp in INPUTS else 0 for tp in partitions}


class Reader:
    async def seek_to(self, offsets: Mapping[TopicPartition, int]) -> None: ...

    def pause(self, partitions: Iterable[TopicPartition]) -> None: ...

    def resume(self, partitions: Iterable[TopicPartition]) -> None: ...


def worker_with(ends: Ends) -> Worker:
    """A worker with the partition numbers 0 and 1, not open yet."""
    settings = Settings(stalled_seconds=LIMIT, partitions=2)
    worker = Worker(settings, catalogue=EmptyCatalogue(), engine=CountingEngine, register=lambda *_: None)
    context = TaskContext(
        settings,
        worker.names,
        engine=CountingEngine,
        catalogue=worker.follower,
        reader=cast("Any", Reader()),
        offsets=cast("Any", ends),
        admin=cast("Any", None),
    )
    worker.context = context
    worker.tasks = {number: Task(number, context) for number in (0, 1)}
    return worker


async def end_of(worker: Worker, seconds: float = LONG) -> str | None:
    """What the worker's watchdog ends it with; None if it does not within the simulated time."""
    worker._ending = asyncio.get_running_loop().create_future()
    watching = asyncio.create_task(worker._watch_progress())
    try:
        return await ended(asyncio.shield(worker._ending), seconds)
    finally:
        watching.cancel()


def test_a_partition_that_stands_still_ends_the_worker_though_another_goes_on(loop: SimLoop) -> None:
    worker = worker_with(Ends(9))
    stuck, alive = worker.tasks.values()
    stuck.is_open = alive.is_open = True

    async def story() -> str | None:
        async def work() -> None:
            while True:
                await asyncio.sleep(1)
                alive.progress.committed()

        working = asyncio.create_task(work())
        try:
            return await end_of(worker)
        finally:
            working.cancel()

    said = loop.run_until_complete(story())
    assert said is not None
    assert f"{9 * len(stuck.input.kinds)} events of partition 0 waiting" in said


def test_a_worker_that_has_done_everything_is_idle_until_kafka_is_away(loop: SimLoop) -> None:
    ends = Ends(0)
    worker = worker_with(ends)
    for task in worker.tasks.values():
        task.is_open = True
    assert loop.run_until_complete(end_of(worker)) is None
    ends.away = True
    assert "Kafka out of reach" in str(loop.run_until_complete(end_of(worker)))


class SlowRestores:
    """Stands in for reading rows back: a piece every few seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = 0

    async def restore(self, _: Any, __: Any, ___: Any, ____: Any, read: Callable[[int], None]) -> Restored:
        self.begun += 1
        for _piece in range(round(self.seconds / 5)):
            await asyncio.sleep(5)
            read(1_000)
        return Restored(0, {}, blank=True)


@pytest.fixture
def restores(monkeypatch: pytest.MonkeyPatch) -> SlowRestores:
    async def nothing(*_: object) -> Any:
        return {}

    made = SlowRestores(4 * LIMIT)
    monkeypatch.setattr(
        "lyo.streams.runtime.task.TransactionalProducer",
        lambda *_: SimpleNamespace(start=nothing, stop=nothing),
    )
    monkeypatch.setattr("lyo.streams.runtime.opening.restore", made.restore)
    monkeypatch.setattr("lyo.streams.runtime.opening.same_topics", nothing)
    monkeypatch.setattr("lyo.streams.runtime.opening.committed_offsets", nothing)
    monkeypatch.setattr("lyo.streams.runtime.opening.committed_counts", nothing)
    return made


def test_reading_rows_back_for_long_ends_no_worker_nor_does_waiting_for_it(
    loop: SimLoop, restores: SlowRestores
) -> None:
    worker = worker_with(Ends(0))

    async def story() -> str | None:
        opening = [asyncio.create_task(task._open()) for task in worker.tasks.values()]
        # Two of 100 s, one after the other; a worker is given up after 25.
        said = await end_of(worker, 8 * LIMIT)
        await asyncio.gather(*opening)
        return said

    assert loop.run_until_complete(story()) is None
    assert all(task.is_open for task in worker.tasks.values())


def test_a_task_that_is_opened_again_and_again_in_vain_rests_and_ends_the_worker(
    loop: SimLoop, restores: SlowRestores, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_with(Ends(9))
    restores.seconds = 5

    async def refused(_self: Task) -> None:
        raise KafkaConnectionError("refused")

    monkeypatch.setattr(Task, "_work", refused)

    async def story() -> str | None:
        running = [asyncio.create_task(task.run()) for task in worker.tasks.values()]
        try:
            return await end_of(worker)
        finally:
            for task in running:
                task.cancel()

    assert "nothing was done" in str(loop.run_until_complete(story()))
    assert restores.begun > 2 * 3, "the first openings are progress"
    assert worker.tasks[0].progress._backoff == 5.0


def test_a_task_that_has_committed_something_rests_shortly_again() -> None:
    task = worker_with(Ends(0)).tasks[0]
    progress = task.progress
    progress._backoff, progress._openings = 5.0, 9
    progress.read(1)
    assert task.job(None).done == (0, 0)
    progress.committed()
    progress.read(1)
    assert task.job(None).done == (1, 1)
    assert progress._backoff == 0.1


def test_a_task_in_a_long_transaction_holds_a_rebalance_up_for_some_seconds_and_no_more(
    loop: SimLoop,
) -> None:
    worker = worker_with(Ends(9))
    busy, free = worker.tasks.values()
    busy._idle.clear()

    async def story() -> float:
        began = loop.time()
        await worker._on_revoked(None)
        return loop.time() - began

    assert loop.run_until_complete(story()) == PAUSE_SECONDS
    assert not busy._running.is_set()
    assert not free._running.is_set()


ONE, OTHER = (TopicPartition("lyo.sessions", number) for number in (0, 1))


@pytest.fixture
def sink() -> Sink:
    """A sink with two partitions, each at 3 of 9."""
    made = Sink(Settings(stalled_seconds=LIMIT))
    made.claims.positions = {Place(*tp): Position(3, 1) for tp in (ONE, OTHER)}
    made.claims.is_assigned = True
    made._consumer = Ends(9)
    made._consumer.assignment = lambda: {ONE, OTHER}
    made._follower = SimpleNamespace(partitions=[], job=lambda _ends: Job(0, ""))
    return made


async def while_another_is_stored(sink: Sink) -> str | None:
    async def store() -> None:
        while True:
            await asyncio.sleep(1)
            sink.positions[Place(*OTHER)].next_offset += 1
            sink._consumer.end += 1

    storing = asyncio.create_task(store())
    try:
        return await ended(stalled(LIMIT, sink._jobs))
    finally:
        storing.cancel()


def test_a_sink_that_does_not_get_on_with_a_partition_ends(loop: SimLoop, sink: Sink) -> None:
    assert "records of lyo.sessions-0 waiting" in str(loop.run_until_complete(while_another_is_stored(sink)))


def test_a_partition_whose_turn_has_not_come_ends_no_sink(loop: SimLoop, sink: Sink) -> None:
    sink._is_full = True
    assert loop.run_until_complete(while_another_is_stored(sink)) is None
    assert "waiting" in str(loop.run_until_complete(ended(stalled(LIMIT, sink._jobs)))), "nothing is stored"


@pytest.mark.parametrize("slow", [True, False])
def test_postgres_is_waited_for_without_an_end(loop: SimLoop, sink: Sink, slow: bool) -> None:
    async def refuse() -> None:
        while True:
            await asyncio.sleep(5)
            sink._session.drop()

    async def story() -> str | None:
        refusing = asyncio.create_task(refuse())
        try:
            return await ended(stalled(LIMIT, sink._jobs))
        finally:
            refusing.cancel()

    if slow:
        sink._session.working = True
        assert loop.run_until_complete(ended(stalled(LIMIT, sink._jobs))) is None
    else:
        assert loop.run_until_complete(story()) is None


@pytest.mark.parametrize(
    ("given", "assigned", "what"),
    [(False, set(), "a rebalance under way"), (True, {ONE, OTHER}, "partitions to be claimed")],
)
def test_a_sink_that_waits_for_its_group_or_for_claims_ends(
    loop: SimLoop, sink: Sink, given: bool, assigned: set[TopicPartition], what: str
) -> None:
    sink.positions.clear()
    sink.claims.is_assigned = given
    sink._consumer.assignment = lambda: assigned
    assert what in str(loop.run_until_complete(ended(stalled(LIMIT, sink._jobs))))

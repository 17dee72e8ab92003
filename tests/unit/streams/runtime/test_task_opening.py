"""How a task opens: agreed offsets, one restore at a time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from lyo.streams.runtime.opening import Opening
from lyo.streams.runtime.restore import OffsetError, OffsetsBehind, Restored
from lyo.streams.runtime.task import Task
from tests.support.worker.fake_task import SESSIONS


@pytest.mark.parametrize(
    ("said", "looks", "stands"),
    [
        ([OffsetsBehind("before"), OffsetsBehind("before"), {SESSIONS: 7}], 3, {SESSIONS: 7}),
        ([OffsetError("beyond")], 1, None),
        ([OffsetsBehind("before")] * 9, 4, None),
    ],
)
async def test_a_group_behind_its_rows_is_looked_at_again_for_a_while(
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    said: list[Any],
    looks: int,
    stands: dict[TopicPartition, int] | None,
) -> None:
    proven: list[object] = []

    async def committed_offsets(*_: object) -> dict[TopicPartition, int]:
        if isinstance(answer := said.pop(0), Exception):
            raise answer
        return cast("dict[TopicPartition, int]", answer)

    async def prove(_: object) -> None:
        proven.append(1)

    async def same(*_: object) -> dict[str, str]:
        return {}

    monkeypatch.setattr("lyo.streams.runtime.opening.same_topics", same)
    monkeypatch.setattr("lyo.streams.runtime.opening.committed_offsets", committed_offsets)
    monkeypatch.setattr("lyo.streams.runtime.opening.RETRY_SECONDS", 0.001)
    task.context.settings = task.context.settings.model_copy(update={"stalled_seconds": 0.006})
    before = len(said)
    opening = Opening(2, task.context, task.input.kinds, task.progress, lambda: False)
    producer, restored = cast("Any", SimpleNamespace(prove=prove)), cast("Any", None)
    if stands is None:
        with pytest.raises(OffsetError):
            await opening.agreed_offsets(producer, restored)
    else:
        assert await opening.agreed_offsets(producer, restored) == (stands, {})
    assert before - len(said) == looks
    assert len(proven) == looks - (stands is not None)


class Restores:
    """Stands in for reading a number's rows back, and lets each take until it is told to go on."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.go_on = asyncio.Semaphore(0)

    async def restore(self, _: object, __: object, number: int, *_ignored: object) -> Restored:
        self.begun.append(number)
        await self.go_on.acquire()
        return Restored(0, {}, blank=True)


@pytest.fixture
def restores(monkeypatch: pytest.MonkeyPatch) -> Restores:
    async def nothing(*_: object) -> Any:
        return {}

    made = Restores()
    producer = SimpleNamespace(start=nothing, stop=nothing)
    monkeypatch.setattr("lyo.streams.runtime.task.TransactionalProducer", lambda *_: producer)
    monkeypatch.setattr("lyo.streams.runtime.opening.restore", made.restore)
    monkeypatch.setattr("lyo.streams.runtime.opening.same_topics", nothing)
    monkeypatch.setattr("lyo.streams.runtime.opening.committed_offsets", nothing)
    monkeypatch.setattr("lyo.streams.runtime.opening.committed_counts", nothing)
    return made


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_number_is_restored_at_a_time(task: Task, restores: Restores) -> None:
    opening = [asyncio.create_task(Task(number, task.context)._open()) for number in (1, 2, 3)]
    for begun in ([1], [1, 2], [1, 2, 3]):
        await settle()
        assert restores.begun == begun
        restores.go_on.release()
    await asyncio.gather(*opening)


async def test_a_number_that_is_given_up_while_it_waits_is_not_restored(
    task: Task, restores: Restores
) -> None:
    late = Task(3, task.context)
    opening = [asyncio.create_task(each._open()) for each in (task, late)]
    await settle()
    late.close()
    restores.go_on.release()
    await asyncio.gather(*opening)
    assert restores.begun == [task.number]
    assert not late.is_open

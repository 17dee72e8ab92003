"""What a task accepts, drops, reads again, and in which order it works."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from lyo.models.erasure import ErasureMarker
from lyo.models.events.decode import Kind, Rejected
from lyo.streams.runtime.catalogue_dead_letters import send_catalogue_dead_letters
from lyo.streams.runtime.restore import offsets_record
from lyo.streams.runtime.task import Task
from lyo.streams.runtime.transport import Poll
from tests.support.worker.counting_worker import CountingEngine
from tests.support.worker.fake_task import (
    CLOCK,
    SENTIMENT,
    SESSIONS,
    FakeReader,
    opened,
    poll,
    record,
)


def offsets_of(records: dict[Kind, list[Any]]) -> list[int]:
    return [one.offset for one in records.get(Kind.SESSION, [])]


async def test_polls_that_follow_on_are_accepted_together(task: Task) -> None:
    records, offsets = task.input.accept([poll(0, 3), poll(0, 2, SENTIMENT), poll(3, 5)])
    assert offsets_of(records) == [0, 1, 2, 3, 4]
    assert offsets == {SESSIONS: 5, SENTIMENT: 2}


async def test_what_is_done_already_is_dropped(task: Task) -> None:
    task.input.expected[SESSIONS] = 4
    records, offsets = task.input.accept([poll(0, 3), poll(2, 6)])
    assert offsets_of(records) == [4, 5]
    assert offsets == {SESSIONS: 6}


async def test_a_gap_is_refused_and_read_again_once(task: Task, reader: FakeReader) -> None:
    task.input.expected[SESSIONS] = 4
    for number in range(3):
        records, offsets = task.input.accept([poll(10 + number, 11 + number)])
        assert (records, offsets) == ({}, {})
    await asyncio.sleep(0)
    assert reader.sought == [{SESSIONS: 4}]
    records, offsets = task.input.accept([poll(4, 12)])
    assert offsets == {SESSIONS: 12}
    task.input.accept([poll(20, 21)])
    await asyncio.sleep(0)
    assert len(reader.sought) == 2, "a second gap is another one"


async def test_offsets_missing_inside_a_poll_are_transaction_markers_and_no_gap(task: Task) -> None:
    records, offsets = task.input.accept([Poll(SESSIONS, 0, 4, [record(0), record(2)]), poll(4, 5)])
    assert offsets_of(records) == [0, 2, 4]
    assert offsets == {SESSIONS: 5}


async def test_markers_alone_move_the_task_on_without_a_transaction(task: Task) -> None:
    await task._batch([Poll(SESSIONS, 0, 1, [])])
    assert task.input.expected[SESSIONS] == 1


async def test_a_catalogues_bad_record_about_the_erased_is_passed_without_a_letter(task: Task) -> None:
    erasures, content = (TopicPartition(f"lyo.{name}", 0) for name in ("erasures", "content"))
    bad = [
        SimpleNamespace(topic=tp.topic, partition=0, offset=3, key=b"7", value=b"{")
        for tp in (erasures, content)
    ]
    refused = [(one, Rejected(0, "bad", None)) for one in bad]
    first = Task(0, task.context)
    task.context.markers.add(7, ErasureMarker(CLOCK))
    position = {erasures: 4, content: 4}
    catalogue = SimpleNamespace(position=position, rejected_from=lambda done: [] if done else refused)
    task.context.catalogue = cast("Any", catalogue)
    sent: list[Any] = []

    async def transact(outputs: Any, rows: Any, offsets: Any, _now: int) -> None:
        sent.append((outputs, rows, offsets))

    producer = cast("Any", SimpleNamespace(transact=transact))
    written: dict[TopicPartition, int] = {}
    for _ in range(2):
        written = await send_catalogue_dead_letters(
            task.context,
            producer,
            written,
            lambda at: offsets_record({SESSIONS: 8}, {}, at),
            first._eraser.is_erased,
        )
    [(outputs, rows, offsets)] = sent
    assert rows == {"lyo.learner-rows": [offsets_record({SESSIONS: 8}, {}, position)]}
    assert [key for key, _ in outputs["lyo.dead-letters"]] == [b"lyo.content/0/3"]
    assert offsets == position


async def test_a_task_that_is_not_open_takes_nothing_and_holds_the_partition(
    task: Task, reader: FakeReader
) -> None:
    task.is_open = False
    task.offer(poll(0, 1))
    assert len(task.buffer) == 0
    assert reader.held == {SESSIONS}


async def test_a_full_buffer_holds_the_partition_back(task: Task, reader: FakeReader) -> None:
    task.offer(poll(0, 9))
    assert reader.held == set()
    task.offer(poll(9, 12))
    assert reader.held == {SESSIONS}


async def test_a_number_waits_while_its_buffer_holds_something(task: Task) -> None:
    task.offer(poll(0, 3))
    assert task.context.waiting == {2}
    await task._discard()
    assert task.context.waiting == set()


async def test_a_poll_behind_a_gap_says_nothing_about_what_was_read_last(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sent(*_: object) -> None:
        return None

    monkeypatch.setattr(task, "_transact", sent)
    monkeypatch.setattr(task.context, "catalogue", SimpleNamespace(catch_up=sent))
    task._open_state = opened(CountingEngine())
    polls = [poll(0, 2, at=CLOCK - 9_000), poll(4, 6, at=CLOCK - 1_000)]
    for one in polls[0].records:
        one.topic, one.partition = SESSIONS
    await task._batch(polls)
    assert task.input._last_timestamp == {SESSIONS: CLOCK - 9_000}


async def test_content_and_erasures_are_caught_up_with_before_events_are_folded(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def note(what: str) -> Any:
        async def noted(*_: object) -> None:
            order.append(what)

        return noted

    class Noting(CountingEngine):
        def apply(self, batches: Any) -> Any:
            order.append("fold")
            return super().apply(batches)

    monkeypatch.setattr(task, "_transact", note("transact"))
    monkeypatch.setattr(task, "_erase", note("erase"))
    monkeypatch.setattr(task.context, "catalogue", SimpleNamespace(catch_up=note("catch up")))
    task._open_state = opened(Noting())
    one = poll(0, 1)
    one.records[0].topic, one.records[0].partition = SESSIONS
    await task._batch([one])
    assert order == ["catch up", "erase", "fold", "transact"]


async def test_a_reader_that_went_astray_is_brought_back_at_the_second_look(
    task: Task, reader: FakeReader
) -> None:
    task.input.expected[SESSIONS] = 3
    reader.at = {SESSIONS: 8, SENTIMENT: 0}
    await task.input.find_stray(task.buffer)
    await asyncio.sleep(0)
    assert reader.sought == []
    await task.input.find_stray(task.buffer)
    await asyncio.sleep(0)
    assert reader.sought == [{SESSIONS: 3}]

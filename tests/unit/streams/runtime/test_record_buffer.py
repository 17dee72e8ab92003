"""The buffer between reader and task: whole polls, oldest head first, a bound, a wake-up."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from lyo.models.events.checks import Placed
from lyo.models.events.decode import Kind
from lyo.models.events.identity import partition
from lyo.streams.runtime.record_buffer import RecordBuffer
from lyo.streams.runtime.task import _decode
from tests.support.learners.building import START, completion, request
from tests.support.worker.fake_task import SENTIMENT, SESSIONS, poll


async def test_a_buffer_gives_whole_polls_up_to_a_batch() -> None:
    buffer = RecordBuffer(10)
    for start in (0, 4, 8, 12):
        buffer.put(poll(start, start + 4))
    assert [one.start for one in buffer.take()] == [0, 4]
    assert buffer.records == 8
    buffer.put(poll(16, 40))
    assert [one.start for one in buffer.take()] == [8, 12]
    assert [one.start for one in buffer.take()] == [16], "a poll larger than a batch is a batch"
    assert buffer.take() == []
    assert buffer.records == 0


async def test_a_buffer_takes_the_topic_whose_head_record_is_oldest() -> None:
    buffer = RecordBuffer(9)
    for start, end, tp, at in ((0, 3, SESSIONS, 50), (3, 6, SESSIONS, 10), (0, 3, SENTIMENT, 40)):
        buffer.put(poll(start, end, tp, at=at))
    buffer.put(poll(3, 6, SENTIMENT, at=60))
    assert [(one.tp, one.start) for one in buffer.take()] == [(SENTIMENT, 0), (SESSIONS, 0), (SESSIONS, 3)]
    assert [(one.tp, one.start) for one in buffer.take()] == [(SENTIMENT, 3)]
    assert buffer.records == 0


def test_a_batch_is_given_to_the_engine_in_the_order_of_its_heads() -> None:
    sent = [
        (completion(1, START, "s"), 10),
        (completion(1, START, "s"), 40),
        (request(1, START, content_id="c"), 20),
        (request(1, START, content_id="d"), 30),
    ]
    records: dict[Kind, list[Any]] = {}
    for event, timestamp in sent:
        value = json.dumps(event.body).encode()
        one = SimpleNamespace(key=b"1", value=value, timestamp=START + timestamp, headers=[])
        records.setdefault(event.kind, []).append(one)
    columns, refused = _decode(records, Placed(partition(1, 4), 4))
    assert not refused
    turns = {each.kind: each.turn.tolist() for each in columns if each.turn is not None}
    assert turns == {Kind.LESSON_COMPLETION: [0, 3], Kind.STRUGGLE_REQUEST: [1, 2]}


@pytest.mark.parametrize("most", [1, 2, 3, 10])
def test_an_emptied_buffer_has_slack_whatever_the_size_of_a_batch(most: int) -> None:
    buffer = RecordBuffer(most)
    buffer.put(poll(0, most))
    assert buffer.full
    assert not buffer.slack
    buffer.take()
    assert buffer.slack


async def test_a_buffer_wakes_whoever_waits() -> None:
    buffer = RecordBuffer(10)
    waiting = asyncio.create_task(buffer.wait(30))
    await asyncio.sleep(0)
    buffer.put(poll(0, 1))
    await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(buffer.wait(30), 5)
    buffer.take()
    await buffer.wait(0.001)

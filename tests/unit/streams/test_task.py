"""What a task accepts, drops, reads again, and how far it may sweep."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from lyo.models.erasure import ErasureMarker
from lyo.models.events.checks import Placed
from lyo.models.events.decode import Kind, Rejected
from lyo.models.events.identity import partition
from lyo.streams.dead_letters import encode
from lyo.streams.kafka.offset_metadata import EventCounts
from lyo.streams.runtime.catalogue_dead_letters import CatalogueDeadLetters
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.opening import Opening, OpenState
from lyo.streams.runtime.record_buffer import RecordBuffer
from lyo.streams.runtime.restore import OffsetError, OffsetsBehind, Restored
from lyo.streams.runtime.task import Task, _decode
from lyo.streams.runtime.transport import Poll
from lyo.streams.settings import Settings
from lyo.streams.topics import Names
from tests.support.learners.building import START, completion, request
from tests.support.worker.counting_worker import CountingEngine

SESSIONS = TopicPartition("lyo.sessions", 2)
SENTIMENT = TopicPartition("lyo.sentiment", 2)
CLOCK = 1_772_366_400_000


def record(offset: int, timestamp: int = 0) -> Any:
    return SimpleNamespace(offset=offset, timestamp=timestamp, key=b"1", value=b"{}")


def poll(start: int, end: int, tp: TopicPartition = SESSIONS, *, at: int = 0) -> Poll:
    return Poll(tp, start, end, [record(offset, at) for offset in range(start, end)])


class FakeReader:
    def __init__(self) -> None:
        self.sought: list[dict[TopicPartition, int]] = []
        self.held: set[TopicPartition] = set()
        self.at: dict[TopicPartition, int] = {}

    async def positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return self.at

    async def seek_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.sought.append(dict(offsets))

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self.held.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self.held.difference_update(partitions)


class FakeEnds:
    def __init__(self) -> None:
        self.ends: dict[TopicPartition, int] = {}

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.ends.get(tp, 0) for tp in partitions}


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()


@pytest.fixture
def ends() -> FakeEnds:
    return FakeEnds()


@pytest.fixture
def task(reader: FakeReader, ends: FakeEnds) -> Task:
    context = TaskContext(
        Settings(clock="2026-03-01T12:00:00Z", batch_records=10),
        Names(),
        engine=CountingEngine,
        catalogue=cast("Any", None),
        reader=reader,
        offsets=cast("Any", ends),
        admin=cast("Any", None),
    )
    made = Task(2, context)
    made.input.expected = dict.fromkeys(made.input.kinds, 0)
    made.is_open = True
    return made


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

    async def transact(outputs: Any, _rows: Any, offsets: Any, _now: int) -> None:
        sent.append((outputs, offsets))

    producer = cast("Any", SimpleNamespace(transact=transact))
    dead_letters = CatalogueDeadLetters(task.context, {})
    await dead_letters.send(producer, first._eraser.is_erased)
    await dead_letters.send(producer, first._eraser.is_erased)
    [(outputs, offsets)] = sent
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


@pytest.mark.parametrize(("waiting", "pause"), [(set(), 0.0), ({5}, 1.0)])
async def test_a_sweep_goes_on_at_once_unless_events_of_another_number_wait(
    task: Task, monkeypatch: pytest.MonkeyPatch, waiting: set[int], pause: float
) -> None:
    async def more_is_due() -> bool:
        return True

    monkeypatch.setattr(task, "_sweep", more_is_due)
    task.context.waiting |= waiting
    began = time.monotonic()
    await task._turn()
    assert began + pause <= task._next_sweep <= time.monotonic() + pause


def opened(engine: CountingEngine) -> OpenState:
    return OpenState(engine, 0, {}, {}, {}, EventCounts())


class AlwaysDue(CountingEngine):
    def __init__(self) -> None:
        super().__init__()
        self.pieces = 0

    def due(self, limit: int) -> bool:
        return True

    def sweep(self, limit: int, most: int = 5000) -> Any:
        self.pieces += 1
        return super().sweep(limit, most)


@pytest.mark.parametrize(("waiting", "pieces"), [(set(), 2), ({5}, 1)])
async def test_while_events_wait_sweeps_get_a_small_share_of_the_time(
    task: Task, monkeypatch: pytest.MonkeyPatch, waiting: set[int], pieces: int
) -> None:
    async def sent(*_: object) -> None:
        pass

    times = iter(range(100))
    monkeypatch.setattr("lyo.streams.runtime.task.time.monotonic", lambda: float(next(times)))
    monkeypatch.setattr(task, "_transact", sent)
    engine = AlwaysDue()
    task._open_state = opened(engine)
    task.context.waiting |= waiting
    assert await task._sweep()
    assert await task._sweep(), "more is due"
    assert engine.pieces == pieces
    task.context.sweeps_from = 0.0
    assert await task._sweep()
    assert engine.pieces == pieces + 1


async def test_a_number_waits_while_its_buffer_holds_something(task: Task) -> None:
    task.offer(poll(0, 3))
    assert task.context.waiting == {2}
    await task._discard()
    assert task.context.waiting == set()


async def test_the_sweep_goes_up_to_the_clock_when_everything_is_read(task: Task, ends: FakeEnds) -> None:
    task.input.expected[SESSIONS] = ends.ends[SESSIONS] = 7
    assert await task.input.sweep_limit(task.buffer) == CLOCK


async def test_the_sweep_stops_at_the_oldest_unread_record(task: Task, ends: FakeEnds) -> None:
    ends.ends = {SESSIONS: 5, SENTIMENT: 9}
    task.buffer.put(poll(0, 5, at=CLOCK - 50_000))
    task.buffer.put(poll(0, 5, SENTIMENT, at=CLOCK - 90_000))
    assert await task.input.sweep_limit(task.buffer) == CLOCK - 90_000


async def test_the_last_record_read_is_the_bound_while_the_next_is_unknown(
    task: Task, ends: FakeEnds
) -> None:
    ends.ends = {SESSIONS: 5}
    assert await task.input.sweep_limit(task.buffer) is None, "nothing is known of the backlog's age"
    task.input._last_timestamp[SESSIONS] = CLOCK - 1_000
    assert await task.input.sweep_limit(task.buffer) == CLOCK - 1_000
    task.input._last_timestamp[SESSIONS] = CLOCK + 1_000
    assert await task.input.sweep_limit(task.buffer) == CLOCK, "never beyond the clock"


async def test_what_waits_behind_a_gap_is_not_the_oldest_unread_record(task: Task, ends: FakeEnds) -> None:
    ends.ends = {SESSIONS: 9}
    task.buffer.put(poll(5, 9, at=CLOCK - 1_000))
    assert await task.input.sweep_limit(task.buffer) is None, (
        "0 to 4 were lost on their way, and nobody knows how old they are"
    )
    task.input.expected[SESSIONS] = 5
    assert await task.input.sweep_limit(task.buffer) == CLOCK - 1_000


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
        one = SimpleNamespace(key=b"1", value=value, timestamp=START + timestamp)
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


def test_a_letter_carries_the_record_and_the_reason() -> None:
    bad = SimpleNamespace(topic="lyo.sessions", partition=3, offset=9, key=b"\xff7", value=b"\x00\xff")
    key, value = encode.dead_letter(
        cast("Any", bad), Rejected(0, "user_id is 7 in the key", "user_id"), CLOCK
    )
    assert key == b"lyo.sessions/3/9"
    assert value is not None
    assert json.loads(value) == {
        "topic": "lyo.sessions",
        "partition": 3,
        "offset": 9,
        "key": "\\xff7",
        "value": base64.b64encode(b"\x00\xff").decode(),
        "reason": "user_id is 7 in the key",
        "field": "user_id",
        "failed_at": "2026-03-01T12:00:00.000Z",
    }


def test_a_letter_leaves_out_a_very_long_value_and_says_so() -> None:
    bad = SimpleNamespace(topic="t", partition=0, offset=1, key=None, value=b"x" * 500_000)
    _, value = encode.dead_letter(cast("Any", bad), Rejected(0, "too deep", None), 0)
    assert value is not None
    body = json.loads(value)
    assert body["value"] is None
    assert "500000 bytes" in body["reason"]

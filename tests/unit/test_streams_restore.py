"""Where a partition number's inputs stand: what Kafka has not said is not taken for "from the beginning"."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupLoadInProgressError
from aiokafka.structs import OffsetAndMetadata

from streams import kafka, restore
from streams.restore import standing
from streams.settings import Settings

ONE, OTHER = TopicPartition("sessions", 1), TopicPartition("sentiment", 1)
SAID = {ONE: OffsetAndMetadata(7, ""), OTHER: OffsetAndMetadata(-1, "")}


class Admin:
    """Answers like aiokafka's: with nothing at all while the coordinator is loading."""

    def __init__(self, *answers: dict[TopicPartition, OffsetAndMetadata]) -> None:
        self.answers = list(answers)

    async def list_consumer_group_offsets(self, group: str, partitions: object) -> Any:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Topics:
    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 10)


class Slow:
    """A reader to whom something comes with the fourth poll, and during the third the process is frozen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, comes: bool) -> None:
        self._monkeypatch = monkeypatch
        self._comes = comes
        self._polls = 0

    async def position(self, _: TopicPartition) -> int:
        return int(self._comes and self._polls >= 4)

    async def getmany(self, **_: object) -> dict[TopicPartition, list[object]]:
        self._polls += 1
        if self._polls == 3:
            later = time.monotonic() + 3_600
            self._monkeypatch.setattr("streams.kafka.time.monotonic", lambda: later)
        return {ONE: [object()]} if self._comes and self._polls == 4 else {}


async def test_a_process_that_was_frozen_while_it_read_has_not_waited_for_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = cast("Any", Slow(monkeypatch, comes=True))
    assert [len(some) async for _, some in kafka.read_up_to(reader, {ONE: 1}, stalled_seconds=10)] == [1]


async def test_reading_what_never_comes_ends_with_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = cast("Any", Slow(monkeypatch, comes=False))
    with pytest.raises(
        kafka.Stalled, match="sessions/1 was read up to 0 of 1, and nothing more has come for 10"
    ):
        async for _ in kafka.read_up_to(reader, {ONE: 1}, stalled_seconds=10):
            pass


async def stand(admin: Admin) -> dict[TopicPartition, int]:
    return await standing(cast("Any", admin), cast("Any", Topics()), Settings(), [ONE, OTHER])


async def test_a_coordinator_that_is_loading_is_asked_again() -> None:
    assert await stand(Admin({}, {ONE: SAID[ONE]}, SAID)) == {ONE: 7, OTHER: 0}


async def test_a_coordinator_that_never_says_is_an_error_and_no_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restore, "FIRST_GROUP_SECONDS", 0.05)
    with pytest.raises(GroupLoadInProgressError, match="does not say where lyo stands"):
        await stand(Admin({}))


async def test_counts_are_asked_for_again_too_and_never_begin_anew_meanwhile() -> None:
    said = {ONE: OffsetAndMetadata(7, "late=2 duplicates=5"), OTHER: OffsetAndMetadata(-1, "")}
    found = await restore.tally_of(cast("Any", Admin({}, {}, said)), Settings(), [ONE, OTHER])
    assert (found.late, found.duplicates) == (2, 5)

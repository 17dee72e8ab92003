"""Where a partition number's inputs stand: what Kafka has not said is not taken for "from the beginning"."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupLoadInProgressError
from aiokafka.structs import OffsetAndMetadata

from streams import restore
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

"""The mirror of the sink's offsets: what changed, once a second, and never a reason to stop."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError

from lyo.storage.sink import offset_mirror
from lyo.storage.sink.offset_mirror import Mirror
from lyo.storage.sink.offsets import Place, Position

A, B = Place("a", 0), Place("b", 1)


class Group:
    """A consumer that notes what is committed."""

    def __init__(self) -> None:
        self.commits: list[dict[TopicPartition, int]] = []
        self.assigned = {TopicPartition(*A), TopicPartition(*B)}
        self.error: KafkaError | None = None
        self.reasons: set[str] = set()
        self.hangs = False
        self.freed = asyncio.Event()

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    async def committed(self, tp: TopicPartition) -> int | None:
        return 4 if tp == TopicPartition(*A) else None

    async def commit(self, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
        if self.hangs:
            await self.freed.wait()
        if self.error is not None:
            raise self.error
        self.commits.append({tp: offset for tp, (offset, _) in offsets.items()})
        self.reasons = {reason for _, reason in offsets.values()}


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def mirrored(group: Group, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    monkeypatch.setattr(offset_mirror, "EVERY_SECONDS", 0.0)
    return Mirror(cast("Any", group))


def standing(a: int, b: int) -> dict[Place, Position]:
    return {A: Position(a, 1), B: Position(b, 1)}


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_only_what_changed_is_committed(mirrored: Mirror, group: Group) -> None:
    for a, b in ((1, 1), (1, 1), (2, 1)):
        mirrored.follow(standing(a, b))
        await settle()
    assert group.commits == [{TopicPartition(*A): 1, TopicPartition(*B): 1}, {TopicPartition(*A): 2}]


async def test_why_nothing_can_be_stored_is_committed_with_the_offsets_and_taken_back(
    mirrored: Mirror, group: Group
) -> None:
    for why in ("", "full", "full", ""):
        mirrored.follow(standing(1, 1), why)
        await settle()
        assert group.reasons == {why}
    assert group.commits == 3 * [{TopicPartition(*A): 1, TopicPartition(*B): 1}]


async def test_a_reason_is_committed_though_nothing_is_claimed_yet(mirrored: Mirror, group: Group) -> None:
    mirrored.follow({}, "full")
    await settle()
    assert (group.commits, group.reasons) == ([{TopicPartition(*A): 4}], {"full"})
    mirrored.follow(standing(4, 1))
    await settle()
    assert group.commits[1:] == [{TopicPartition(*A): 4, TopicPartition(*B): 1}]
    assert group.reasons == {""}


async def test_it_waits_a_while_between_commits(group: Group) -> None:
    slow = Mirror(cast("Any", group))
    for number in range(5):
        slow.follow(standing(number, 0))
        await settle()
    assert len(group.commits) == 1


async def test_what_is_assigned_elsewhere_is_left_alone(mirrored: Mirror, group: Group) -> None:
    group.assigned = {TopicPartition(*B)}
    mirrored.follow(standing(5, 6))
    await settle()
    assert group.commits == [{TopicPartition(*B): 6}]


async def test_a_refused_commit_is_said_again(mirrored: Mirror, group: Group) -> None:
    group.error = CommitFailedError("rebalanced")
    mirrored.follow(standing(1, 1))
    await settle()
    group.error = None
    mirrored.follow(standing(1, 1))
    await settle()
    assert group.commits == [{TopicPartition(*A): 1, TopicPartition(*B): 1}]


async def test_the_last_commit_is_made_before_partitions_are_given_back(
    mirrored: Mirror, group: Group
) -> None:
    await mirrored.last(standing(7, 8))
    assert group.commits == [{TopicPartition(*A): 7, TopicPartition(*B): 8}]


@pytest.fixture
async def held_up(mirrored: Mirror, group: Group, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """One whose first commit gets no answer; it is given up soon."""
    monkeypatch.setattr(offset_mirror, "LAST_SECONDS", 0.01)
    group.hangs = True
    mirrored.follow(standing(1, 1))
    await settle()
    return mirrored


async def test_a_broker_that_is_away_holds_nothing_back(held_up: Mirror, group: Group) -> None:
    held_up.follow(standing(2, 2))
    async with asyncio.timeout(5):
        await held_up.last(standing(3, 3))
    assert group.commits == []


async def test_a_commit_that_was_given_up_is_no_cancellation_of_the_next_rebalance(
    held_up: Mirror, group: Group
) -> None:
    await held_up.last(standing(1, 1))
    group.hangs = False
    await held_up.last({})
    await held_up.last(standing(2, 2))
    assert group.commits == [{TopicPartition(*A): 2, TopicPartition(*B): 2}]


async def test_a_commit_begun_during_the_last_one_is_no_cancellation_of_the_next_rebalance(
    mirrored: Mirror, group: Group
) -> None:
    group.hangs = True
    giving = asyncio.create_task(mirrored.last(standing(1, 1)))
    await settle()
    mirrored.follow(standing(1, 1))
    await settle()
    group.freed.set()
    await giving
    await settle()
    await mirrored.last({})

"""Where a partition number's inputs stand: what Kafka has not said is not taken for "from the beginning"."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupLoadInProgressError
from aiokafka.structs import OffsetAndMetadata

from lyo.models.events.decode import Kind
from lyo.streams.kafka import clients, protocol
from lyo.streams.runtime import restore
from lyo.streams.runtime.restore import OffsetError, Restored, committed_offsets, offsets_record, same_topics
from lyo.streams.settings import Settings
from lyo.streams.topics import Names

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
            self._monkeypatch.setattr("lyo.streams.kafka.clients.time.monotonic", lambda: later)
        return {ONE: [object()]} if self._comes and self._polls == 4 else {}


async def test_a_process_that_was_frozen_while_it_read_has_not_waited_for_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = cast("Any", Slow(monkeypatch, comes=True))
    assert [len(some) async for _, some in clients.read_up_to(reader, {ONE: 1}, stalled_seconds=10)] == [1]


async def test_reading_what_never_comes_ends_with_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = cast("Any", Slow(monkeypatch, comes=False))
    with pytest.raises(
        clients.Stalled, match="sessions/1 was read up to 0 of 1, and nothing more has come for 10"
    ):
        async for _ in clients.read_up_to(reader, {ONE: 1}, stalled_seconds=10):
            pass


async def stand(admin: Admin) -> dict[TopicPartition, int]:
    return await committed_offsets(cast("Any", admin), cast("Any", Topics()), Settings(), [ONE, OTHER])


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
    found = await restore.committed_counts(cast("Any", Admin({}, {}, said)), Settings(), [ONE, OTHER])
    assert (found.late, found.duplicates) == (2, 5)


class Cluster:
    """Says the ids of topics as aiokafka's inner client does; has none of those that it is not given."""

    def __init__(self, ids: dict[str, bytes]) -> None:
        self._client, self._ids = self, ids

    def get_random_node(self) -> int:
        return 0

    async def send(self, _: int, asked: protocol.TopicIdsRequest) -> Any:
        topics = [
            {"topic": name, "topic_id": self._ids.get(name, bytes(16)), "error_code": int(name in MISSING)}
            for name in asked.topics
        ]
        return SimpleNamespace(to_object=lambda: {"topics": topics})


class Old:
    """A broker that speaks no version of the request with ids."""

    def __init__(self) -> None:
        self._client = self

    def get_random_node(self) -> int:
        return 0

    async def send(self, _: int, asked: protocol.TopicIdsRequest) -> Any:
        return asked.prepare({3: (0, 9)})


NAMES = Names()
MISSING = {NAMES.interventions}
ROWS, CONTENT = NAMES.skill_rows, NAMES.topic(Kind.CONTENT)
A, B = bytes(range(16)), bytes(range(1, 17))
A_SAID = "AAECAwQFBgcICQoLDA0ODw"


def read(value: bytes) -> Restored:
    said = SimpleNamespace(topic=NAMES.learner_rows, partition=1, offset=3, value=value)
    offsets, known, followed = restore._offsets(cast("Any", said), 1)
    return Restored(1, offsets, blank=False, topics=known, followed=followed)


def test_ids_of_topics_stand_beside_the_offsets_and_an_earlier_version_takes_them_for_more() -> None:
    _, value = offsets_record({ONE: 7, OTHER: 9}, {ROWS: A_SAID})
    assert read(value).offsets == {ONE: 7, OTHER: 9}
    assert read(value).topics == {ROWS: A_SAID}
    # As they read and write it who know of no ids.
    taken = {TopicPartition(str(name), 1): int(at) for name, at in json.loads(value).items()}
    _, handed_on = offsets_record(taken | {ONE: 8})
    assert read(handed_on).offsets == {ONE: 8, OTHER: 9}
    assert read(handed_on).topics == {ROWS: A_SAID}


def test_offsets_of_followed_topics_stand_beside_them_and_an_earlier_version_hands_them_on() -> None:
    followed = {TopicPartition(CONTENT, 0): 12, TopicPartition("erasures", 3): 4}
    _, value = offsets_record({ONE: 7}, {ROWS: A_SAID}, followed)
    assert (read(value).offsets, read(value).topics, read(value).followed) == (
        {ONE: 7},
        {ROWS: A_SAID},
        followed,
    )
    # As the version before this one reads and writes it.
    taken = {TopicPartition(name, 1): at for name, at in json.loads(value).items() if "#" not in name}
    _, handed_on = offsets_record(taken | {ONE: 8}, {ROWS: A_SAID})
    assert (read(handed_on).offsets, read(handed_on).followed) == ({ONE: 8}, followed)


async def test_rows_of_an_earlier_version_are_taken_with_the_topics_there_are() -> None:
    restored = read(b'{"sentiment":9,"sessions":7}')
    assert restored.offsets == {ONE: 7, OTHER: 9}
    admin = cast("Any", Cluster({ROWS: A, NAMES.interventions: B}))
    assert await same_topics(admin, NAMES, restored) == {ROWS: A_SAID}
    assert await same_topics(cast("Any", Old()), NAMES, restored) == {}


@pytest.mark.parametrize("topic", [ROWS, CONTENT])
async def test_a_topic_with_another_id_is_refused_by_name(topic: str) -> None:
    restored = Restored(1, {}, blank=False, topics={topic: A_SAID})
    with pytest.raises(OffsetError, match=rf"{topic} \(id .*, was {A_SAID}\): created again.*lyo rebuild"):
        await same_topics(cast("Any", Cluster({topic: B})), NAMES, restored)
    assert (await same_topics(cast("Any", Cluster({topic: A})), NAMES, restored))[topic] == A_SAID


async def test_an_id_that_kafka_does_not_say_just_now_is_kept() -> None:
    restored = Restored(1, {}, blank=False, topics={NAMES.interventions: A_SAID})
    assert await same_topics(cast("Any", Cluster({})), NAMES, restored) == restored.topics

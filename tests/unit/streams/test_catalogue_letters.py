"""How long the catalogue's bad records are kept: until their letters are written."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata

from lyo.storage.sink.sink import Sink
from lyo.streams.runtime.worker import DROP_SECONDS, Worker
from lyo.streams.settings import Settings
from tests.support.simulation.loop import SimLoop
from tests.support.worker.counting_worker import CountingEngine, EmptyCatalogue

CONTENT = TopicPartition("lyo.content", 0)
ERASURES = TopicPartition("lyo.erasures", 1)
UNKNOWN = OffsetAndMetadata(-1, "")


def bad(tp: TopicPartition, *offsets: int) -> list[Any]:
    return [
        SimpleNamespace(
            topic=tp.topic, partition=tp.partition, offset=offset, key=b"k", value=b"{", timestamp=1
        )
        for offset in offsets
    ]


class Admin:
    """Says where the group stands: nothing of most partitions, and now and then nothing at all."""

    def __init__(self, *content: int | None) -> None:
        self.content = list(content)

    async def list_consumer_group_offsets(
        self, _group: str, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        offset = self.content.pop(0)
        if offset is None:
            raise KafkaConnectionError
        return dict.fromkeys(partitions, UNKNOWN) | {CONTENT: OffsetAndMetadata(offset, "")}


@pytest.mark.parametrize(
    ("said", "kept"), [([7], [7, 9]), ([-1], [3, 7, 9]), ([None], [3, 7, 9]), ([None, 10], [])]
)
def test_a_bad_record_of_the_catalogue_is_kept_until_its_letter_is_written(
    loop: SimLoop, said: list[int | None], kept: list[int]
) -> None:
    worker = Worker(Settings(), catalogue=EmptyCatalogue(), engine=CountingEngine, register=lambda *_: None)
    worker.follower._put(CONTENT, bad(CONTENT, 3, 7, 9))
    worker.follower._put(ERASURES, bad(ERASURES, 2))
    worker.context = cast("Any", SimpleNamespace(admin=Admin(*said)))

    async def story() -> None:
        forgetting = asyncio.create_task(worker._drop_written())
        await asyncio.sleep(DROP_SECONDS * (len(said) + 0.5))
        forgetting.cancel()

    loop.run_until_complete(story())
    left = [record for record, _ in worker.follower.rejected]
    assert [record.offset for record in left if record.topic == CONTENT.topic] == kept
    assert [record.offset for record in left if record.topic == ERASURES.topic] == [2]


def test_a_sink_keeps_no_bad_erasures() -> None:
    follower = Sink(Settings())._create_follower()
    follower._put(ERASURES, bad(ERASURES, 2))
    assert follower.records == 1
    assert follower.rejected == []

"""A learner is erased while events keep coming: nothing of the learner is anywhere, whatever happens then."""

from __future__ import annotations

import itertools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from lyo.models.events.decode import partition
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.learners.building import completion
from tests.support.processes import Environment, lag, process, wait_for
from tests.support.worker.erased import DAY, GONE, HOUR, forget, on_topics
from tests.support.worker.erasing import send, shifted
from tests.support.worker.running import read

pytestmark = pytest.mark.integration


async def test_the_compacted_topics_say_how_long_bytes_may_stay(kafka_settings: Settings) -> None:
    """What docs/erasure.md states about compaction is how topics are created."""
    await topic_admin.ensure(kafka_settings)
    names = topics.names(kafka_settings)
    async with clients.admin(kafka_settings) as client:
        for topic in (names.learner_rows, names.interventions, names.dead_letters):
            config = await topic_admin.configuration(client, topic)
            assert "compact" in config["cleanup.policy"]
            assert int(config["max.compaction.lag.ms"]) == 6 * HOUR
            assert int(config["delete.retention.ms"]) == 7 * DAY


async def test_compaction_leaves_no_record_of_an_erased_learner(
    kafka_settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    now = time.time_ns() // 1_000_000
    # By the real clock: a segment ends by the timestamps of its records.
    settings, number = kafka_settings, partition(GONE, kafka_settings.partitions)
    neighbour = next(
        user for user in range(GONE + 1, 10_000) if partition(user, settings.partitions) == number
    )
    await topic_admin.ensure(settings)
    names = topics.names(settings)
    kept = [names.learner_rows, names.skill_rows, names.prediction("dropout-risk")]
    days = now // DAY * DAY - 10 * DAY
    async with process("worker", environment(settings), tmp_path / "worker.log"):
        await send(settings, [*shifted(GONE, range(5), days), *shifted(neighbour, range(5), days)])
        await wait_for(drained_log(settings), "everything is folded")
        await forget(settings, GONE, now)

        async def deleted() -> bool:
            return not await on_topics(settings, GONE)

        await wait_for(deleted, "nothing of the learner is current", 60)
        before = await bytes_of(settings, GONE, kept)
        assert set(before) == set(kept)
        # What takes six hours as topics are created; a segment that is written to is never compacted.
        for topic in kept:
            await configured(settings, topic, {"segment.ms": "1", "min.cleanable.dirty.ratio": "0"})
        scores = itertools.cycle((0.1, 0.9, 0.5))

        async def compacted() -> bool:
            done = completion(neighbour, time.time_ns() // 1_000_000, "algebra", score=next(scores))
            await send(settings, [done])
            return not await bytes_of(settings, GONE, kept)

        await wait_for(compacted, "no record holds anything of the learner", 180)
        assert set(await bytes_of(settings, neighbour, kept)) == set(kept)


def drained_log(settings: Settings) -> Callable[[], Awaitable[bool]]:
    async def done() -> bool:
        return await lag(settings) == 0

    return done


async def bytes_of(settings: Settings, user: int, wanted: list[str]) -> dict[str, int]:
    """Records with a value, overtaken ones included, that topics hold under a learner's keys."""
    found = {}
    for topic in wanted:
        records = await read(settings, topic)
        mine = [one for one in records if one.value is not None and one.key.split(b"|")[0] == b"%d" % user]
        if mine:
            found[topic] = len(mine)
    return found


async def configured(settings: Settings, topic: str, more: dict[str, str]) -> None:
    async with clients.admin(settings) as client:
        before = await topic_admin.configuration(client, topic)
        wanted = {"cleanup.policy": before["cleanup.policy"]} | more
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted)])

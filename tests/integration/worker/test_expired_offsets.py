"""Kafka lets offsets of topics expire that their group does not subscribe to; nothing may hang on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lyo.models.events.decode import Kind
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka
from tests.support.processes import Environment
from tests.support.servers.kinds import JARS
from tests.support.worker.running import WorkerProcess, all_done, events, publish, publisher, read, until

pytestmark = pytest.mark.integration

# A minute is the least that can be set: it begins when the offset is committed.
EXPIRED_SECONDS = 150.0
EXPIRY = "\noffsets.retention.minutes=1\noffsets.retention.check.interval.ms=1000\n"


class ForgetfulKafka(LocalKafka):
    """A Kafka that lets offsets expire after a minute, where a usual one takes seven days."""

    def prepare(self, ports: list[int]) -> None:
        super().prepare(ports)
        with self._properties.open("a") as properties:
            properties.write(EXPIRY)


async def letters(settings: Settings) -> list[str]:
    records = await read(settings, topics.names(settings).dead_letters)
    return [json.loads(record.value)["key"] for record in records]


async def test_bad_content_is_not_told_again_when_the_groups_offset_of_it_has_expired(
    environment: Environment, tmp_path: Path
) -> None:
    with ForgetfulKafka(tmp_path / "own", jar_cache=JARS, private=True) as kafka:
        settings = Settings(bootstrap_servers=kafka.bootstrap_servers, partitions=2)
        await topic_admin.ensure(settings)
        content = topics.names(settings).topic(Kind.CONTENT)
        variables = environment(settings) | {"LYO_SWEEP_SECONDS": "0.1"}
        made = events(40, users=9)

        async def offset_of_content() -> int:
            async with clients.admin(settings) as admin:
                found = await admin.list_consumer_group_offsets(settings.app_id)
            return max((entry.offset for tp, entry in found.items() if tp.topic == content), default=-1)

        async def has_expired() -> bool:
            return await offset_of_content() < 0

        async with publisher(settings) as producer:
            await producer.send_and_wait(content, b"{not JSON", b"first", partition=0)
            async with WorkerProcess(variables, tmp_path / "one.log") as one:
                await one.says("open rows=", times=2)
                await publish(settings, producer, made)
                await all_done(settings, len(made))

                async def told() -> bool:
                    return await letters(settings) == ["first"]

                await until(told, 30, "the dead letter")
                assert await offset_of_content() == 1
                await until(has_expired, EXPIRED_SECONDS, "the offset of content has expired", pause=1.0)
                assert await one.stop() == 0
            await producer.send_and_wait(content, b"{nor this", b"second", partition=0)
            async with WorkerProcess(variables, tmp_path / "two.log") as two:
                await two.says("open rows=", times=2)

                async def told_again() -> bool:
                    return "second" in await letters(settings)

                await until(told_again, 30, "the second dead letter")
                assert await two.stop() == 0
        assert await letters(settings) == ["first", "second"]

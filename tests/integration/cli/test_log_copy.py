"""What changes the partition count: the log copied into other topics, and served from there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from lyo.models.events.decode import Kind, partition
from lyo.ops.deploy.copy_log import CopyError, copy
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin, topics
from lyo.streams.settings import Settings
from tests.support.faults.deployment import QUICK, Deployment, deployed
from tests.support.learners.published import parts, simulated
from tests.support.servers.kinds import PostgresServer
from tests.support.worker.running import events, publish, publisher, read, until

pytestmark = pytest.mark.integration
AT = 1_700_000_000_000


async def filled(settings: Settings) -> int:
    """Events of 30 learners, two bad ones, a content and an organization; gives how many records."""
    await topic_admin.ensure(settings)
    names = topics.names(settings)
    made = events(90, 30)
    async with publisher(settings) as producer:
        await publish(settings, producer, made, AT)
        await producer.send_and_wait(
            names.topic(Kind.SESSION), b"{", b"no user", partition=3, timestamp_ms=AT
        )
        await producer.send_and_wait(names.topic(Kind.SESSION), b"{}", None, partition=3, timestamp_ms=AT)
        content = json.dumps({"content_id": "c", "skills": ["s"]}).encode()
        await producer.send_and_wait(names.topic(Kind.CONTENT), content, b"c", partition=0, timestamp_ms=AT)
        await producer.send_and_wait(
            names.topic(Kind.ORGANIZATION), b"{}", b"1", partition=0, timestamp_ms=AT
        )
    return len(made) + 4


def target(settings: Settings, **more: Any) -> Settings:
    return settings.model_copy(
        update={"topic_prefix": f"{settings.topic_prefix}second.", "partitions": 6} | more
    )


async def everything(settings: Settings) -> list[tuple[Kind, bytes | None, bytes | None, int]]:
    names = topics.names(settings)
    return [
        (kind, record.key, record.value, record.timestamp)
        for kind in Kind
        for record in await read(settings, names.topic(kind))
    ]


async def test_a_log_is_copied_whole_each_learner_into_the_own_partition(kafka_settings: Settings) -> None:
    count = await filled(kafka_settings)
    after = target(kafka_settings)
    copied = await copy(after, kafka_settings.topic_prefix)
    assert sum(copied.values()) == count
    assert copied[Kind.SESSION] == 32
    before = await everything(kafka_settings)
    assert sorted(before, key=repr) == sorted(await everything(after), key=repr)
    names = topics.names(after)
    for record in await read(after, names.topic(Kind.SENTIMENT)):
        assert record.partition == partition(int(record.key or b""), 6)
    with pytest.raises(CopyError, match="has records already"):
        await copy(after, kafka_settings.topic_prefix)
    with pytest.raises(CopyError, match="a log is copied into topics of its own"):
        await copy(kafka_settings, kafka_settings.topic_prefix)


async def test_a_copy_follows_what_is_still_published(kafka_settings: Settings) -> None:
    count = await filled(kafka_settings)
    after, enough, heard = target(kafka_settings), asyncio.Event(), list[str]()
    source = kafka_settings.topic_prefix
    copying = asyncio.create_task(copy(after, source, stopped=enough, say=heard.append))
    await until(lambda: bool(heard), 60, "it has caught up")
    assert f"caught up after {count} records" in heard[0]
    assert await _copied(after, count)
    async with publisher(kafka_settings) as producer:
        await publish(kafka_settings, producer, events(30, 30, first=90), AT)
        await until(lambda: _copied(after, count + 30), 60, "what came later is copied")
        # What was published before it is stopped is copied, too, though it may not be read yet.
        await publish(kafka_settings, producer, events(30, 30, first=120), AT)
        enough.set()
    assert sum((await copying).values()) == count + 60
    assert await _copied(after, count + 60)


async def _copied(settings: Settings, count: int) -> bool:
    try:
        return len(await everything(settings)) == count
    except KafkaError:
        return False  # the topics are about to be created


async def test_another_partition_count_gives_the_same_rows_and_predictions(
    settings: Settings,
    postgres: PostgresServer,
    environment: Callable[[Settings], dict[str, str]],
    tmp_path: Path,
) -> None:
    """The runbook's procedure: copied while the old ones work, then served by new ones from a database."""
    files = parts(simulated(tmp_path / "events.jsonl", learners=30, days=30, seed=15), 2)
    second = f"{settings.app_id}_second"
    async with deployed(settings.model_copy(update=QUICK), environment, tmp_path) as old:
        old.fleet.add("worker-old")
        old.fleet.add("sink-old")
        await old.give(files[0])
        url = postgres.create_database(second)
        try:
            after = target(old.settings, app_id=second, database_url=url)
            await asyncio.to_thread(upgrade, url)
            enough = asyncio.Event()
            copying = asyncio.create_task(copy(after, settings.topic_prefix, stopped=enough))
            await old.give(files[1])
            count = len(await everything(old.settings))
            await until(lambda: _copied(after, count), 60, "the log is copied")
            enough.set()
            await copying
            report = await old.verdict()
            assert report.clean, f"before: {report}"
            await old.fleet.stop()

            new = Deployment(after, old.fleet, tmp_path / "clock")
            new.given = files
            variables = {k: v for k, v in environment(after).items() if k.startswith("LYO_")}
            new.fleet.add("worker-new", **variables)
            new.fleet.add("sink-new", **variables)
            report = await new.verdict()
            assert report.clean, str(report)
            await new.fleet.stop()
        finally:
            old.fleet.kill()
            postgres.drop_database(second)

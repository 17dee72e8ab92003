"""What cannot be used goes to the dead letters with a reason, and stops nothing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from lyo.models.events.decode import Kind, partition
from lyo.streams import topic_admin, topics
from lyo.streams.settings import Settings
from tests.support.processes import Environment
from tests.support.worker.running import (
    WorkerProcess,
    all_done,
    counted,
    events,
    expected,
    publish,
    publisher,
    read,
    until,
)

pytestmark = pytest.mark.integration

GOOD = b'{"event_id":"e","user_id":7,"occurred_at":"2026-03-01T12:00:00Z","sentiment":0.5}'
BAD: list[tuple[bytes | None, bytes | None, str | None]] = [
    (b"7", b"\xff\x00 not JSON", None),
    (b"7", GOOD.replace(b'"sentiment":0.5', b'"sentiment":2'), "sentiment"),
    (b"7", GOOD.replace(b"12:00:00Z", b"12:00:00"), "occurred_at"),
    (b"8", GOOD, "user_id"),
    (b"7", None, None),
    (None, GOOD, None),
    (b"\xfe\xff", GOOD, None),
]


async def letters(settings: Settings) -> list[dict[str, Any]]:
    records = await read(settings, topics.names(settings).dead_letters)
    return [json.loads(record.value) for record in records]


async def send_bad(settings: Settings, producer: AIOKafkaProducer) -> None:
    topic = topics.names(settings).topic(Kind.SENTIMENT)
    number = partition(7, settings.partitions)
    for key, value, _ in BAD:
        await producer.send_and_wait(topic, value, key, partition=number)


async def test_bad_events_become_dead_letters_that_say_why_and_good_ones_are_counted(
    kafka_settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    await topic_admin.ensure(kafka_settings)
    made = events(600, users=20)
    async with (
        publisher(kafka_settings) as producer,
        WorkerProcess(environment(kafka_settings), tmp_path / "log") as worker,
    ):
        await publish(kafka_settings, producer, made[:300])
        await send_bad(kafka_settings, producer)
        await publish(kafka_settings, producer, made[300:])
        await all_done(kafka_settings, len(made) + len(BAD))
        assert await worker.stop() == 0
    assert await counted(kafka_settings) == expected(made)
    found = await letters(kafka_settings)
    assert len(found) == len(BAD)
    topic = topics.names(kafka_settings).topic(Kind.SENTIMENT)
    for (key, value, field), letter in zip(BAD, found, strict=True):
        assert (letter["topic"], letter["partition"]) == (topic, partition(7, kafka_settings.partitions))
        assert letter["key"] == (None if key is None else key.decode("utf-8", "backslashreplace"))
        assert letter["value"] == (None if value is None else base64.b64encode(value).decode())
        assert letter["reason"]
        assert letter["failed_at"].endswith("Z")
        if field is not None:
            assert letter["field"] == field
            assert field in letter["reason"]
    offsets = [letter["offset"] for letter in found]
    assert offsets == sorted(set(offsets))


async def test_bad_content_becomes_one_dead_letter_however_many_workers_read_it(
    kafka_settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    await topic_admin.ensure(kafka_settings)
    content = topics.names(kafka_settings).topic(Kind.CONTENT)
    variables = environment(kafka_settings) | {"LYO_SWEEP_SECONDS": "0.1"}

    async def found(count: int) -> None:
        async def there() -> bool:
            return len(await letters(kafka_settings)) >= count

        await until(there, 30, f"{count} dead letters", pause=0.2)

    async with publisher(kafka_settings) as producer:
        await producer.send_and_wait(content, b"{not JSON", b"first", partition=0)
        async with (
            WorkerProcess(variables, tmp_path / "one.log") as one,
            WorkerProcess(variables, tmp_path / "two.log") as two,
        ):
            await found(1)
            await producer.send_and_wait(content, b"{nor this", b"second", partition=0)
            await found(2)
            assert (await one.stop(), await two.stop()) == (0, 0)
        await producer.send_and_wait(content, b"{nor that", b"third", partition=0)
        async with WorkerProcess(variables, tmp_path / "three.log") as three:
            await found(3)
            assert await three.stop() == 0
    assert [letter["key"] for letter in await letters(kafka_settings)] == ["first", "second", "third"]

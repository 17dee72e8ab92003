"""Publishing an event file to a real Kafka: every good line once, in its partition, in order."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord

from lyo.models.events.decode import Kind, partition
from lyo.streams import topic_admin, topics
from lyo.streams.event_files.publisher import publish_file
from lyo.streams.event_files.reader import Piece, check
from lyo.streams.kafka.clients import Unreachable, consumer, partitions_of, read_to_end
from lyo.streams.kafka.input_records import Record
from lyo.streams.producers.producing import Sender, acknowledged
from lyo.streams.settings import Settings
from lyo.streams.topics import TopicError
from lyo.tools.simulation import Plan, generate
from lyo.tools.stack import LocalKafka

pytestmark = pytest.mark.integration

TODAY = time.time_ns() // 86_400_000_000_000 * 86_400_000
Place = tuple[Kind, int]


def simulated(path: Path, *, learners: int = 60, days: int = 20, bad: float = 0.0) -> list[bytes]:
    data = b"".join(generate(Plan(learners, days, 3, TODAY, bad)))
    path.write_bytes(data)
    return data.splitlines()


def good(lines: list[bytes]) -> list[Record]:
    return check(Piece(1, lines, 0), TODAY).records


async def read_all(settings: Settings) -> dict[Place, list[ConsumerRecord]]:
    """Everything in the input topics, by kind and partition, in log order."""
    names = topics.names(settings)
    by_topic = {names.topic(kind): kind for kind in Kind}
    places = await partitions_of(settings, *by_topic)
    found: dict[Place, list[ConsumerRecord]] = defaultdict(list)
    reader = consumer(settings)
    await reader.start()
    try:
        async for place, records in read_to_end(reader, places):
            found[by_topic[place.topic], place.partition] += records
    finally:
        await reader.stop()
    return found


def expected(records: list[Record], count: int) -> dict[Place, list[tuple[bytes, bytes]]]:
    found: dict[Place, list[tuple[bytes, bytes]]] = defaultdict(list)
    for record in records:
        number = partition(record.user, count) if record.user else 0
        found[record.kind, number].append((record.key, record.value))
    return found


def pairs(found: dict[Place, list[ConsumerRecord]]) -> dict[Place, list[tuple[bytes, bytes]]]:
    return {place: [(record.key, record.value) for record in records] for place, records in found.items()}


async def test_every_good_line_is_in_its_partition_in_order(kafka_settings: Settings, tmp_path: Path) -> None:
    lines = simulated(tmp_path / "events.jsonl", bad=0.02)
    await topic_admin.ensure(kafka_settings)
    bad: list[int] = []
    began = time.time_ns() // 1_000_000
    published = await publish_file(
        tmp_path / "events.jsonl", kafka_settings, on_bad=lambda one: bad.append(one.line)
    )
    records = good(lines)
    assert published.records == len(records) > 5_000
    assert published.bad == len(bad) == len(lines) - len(records) > 50
    found = await read_all(kafka_settings)
    assert pairs(found) == expected(records, kafka_settings.partitions)
    stamps = [record.timestamp for some in found.values() for record in some]
    assert began <= min(stamps) <= max(stamps) <= time.time_ns() // 1_000_000


async def test_the_catalogue_is_acknowledged_before_what_comes_after_it(kafka_settings: Settings) -> None:
    await topic_admin.ensure(kafka_settings)
    content = b'{"type":"content","content_id":"c%d","skills":[]}'
    session = b'{"type":"session","event_id":"e%d","user_id":%d,"started_at":"2026-03-01T12:00:00Z"}'
    lines = [line for n in range(1, 11) for line in (session % (n, n), content % n)]
    sender = await Sender.connect(kafka_settings)
    try:
        sent = await sender.send(good(lines))
        # Sessions are on their way when `send` returns, contents are in the log.
        contents = [
            some for (kind, _), some in (await read_all(kafka_settings)).items() if kind is Kind.CONTENT
        ]
        assert [len(some) for some in contents] == [10]
        await acknowledged(sent)
    finally:
        await sender.stop()
    found = await read_all(kafka_settings)
    assert pairs(found) == expected(good(lines), kafka_settings.partitions)
    contents_at = [record.timestamp for record in found[Kind.CONTENT, 0]]
    sessions_at = {
        int(record.key): record.timestamp
        for (kind, _), some in found.items()
        if kind is Kind.SESSION
        for record in some
    }
    assert all(contents_at[n - 1] <= sessions_at[n + 1] for n in range(1, 10))


async def test_a_broker_killed_and_started_again_loses_and_doubles_nothing(
    own_kafka: LocalKafka, tmp_path: Path
) -> None:
    lines = simulated(tmp_path / "events.jsonl", learners=400, days=40)
    settings = Settings(bootstrap_servers=own_kafka.bootstrap_servers, partitions=4)
    await topic_admin.ensure(settings)
    killed = asyncio.Event()

    def on_bytes(done: int, size: int | None) -> None:
        if not killed.is_set() and size is not None and done > size / 3:
            own_kafka.kill()
            killed.set()

    publishing = asyncio.create_task(publish_file(tmp_path / "events.jsonl", settings, on_bytes))
    await asyncio.wait({publishing, asyncio.create_task(killed.wait())}, return_when=asyncio.FIRST_COMPLETED)
    assert killed.is_set()
    assert not publishing.done()
    await asyncio.to_thread(own_kafka.start)
    published = await publishing
    assert published.records == len(lines)
    assert pairs(await read_all(settings)) == expected(good(lines), 4)


async def test_missing_topics_are_named(kafka_settings: Settings, tmp_path: Path) -> None:
    simulated(tmp_path / "events.jsonl", learners=1, days=1)
    with pytest.raises(TopicError, match=rf"{kafka_settings.topic_prefix}[a-z-]+ does not exist"):
        await publish_file(tmp_path / "events.jsonl", kafka_settings)


async def test_another_number_of_partitions_is_refused(kafka_settings: Settings, tmp_path: Path) -> None:
    simulated(tmp_path / "events.jsonl", learners=1, days=1)
    await topic_admin.ensure(kafka_settings)
    with pytest.raises(TopicError, match="partitions"):
        await publish_file(tmp_path / "events.jsonl", kafka_settings.model_copy(update={"partitions": 5}))


async def test_a_kafka_that_is_not_there_is_said(unused_port: int, tmp_path: Path) -> None:
    settings = Settings(bootstrap_servers=f"127.0.0.1:{unused_port}", connect_seconds=0.2)
    with pytest.raises(Unreachable, match=str(unused_port)):
        await publish_file(tmp_path / "events.jsonl", settings)


async def test_the_command_publishes_standard_input_and_tells_what_it_did(
    kafka_settings: Settings, environment: Callable[[Settings], dict[str, str]]
) -> None:
    await topic_admin.ensure(kafka_settings)
    lines = b"".join(generate(Plan(5, 5, 3, TODAY))) + b"oops\n"
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "lyo.cli.main", "publish", "-", "--json"],
        input=lines,
        env=environment(kafka_settings),
        capture_output=True,
        check=False,
    )
    count = lines.count(b"\n")
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"line {count}: ")
    answer = json.loads(done.stdout)
    assert (answer["lines"], answer["records"], answer["bad"]) == (count, count - 1, 1)
    assert sum(len(some) for some in (await read_all(kafka_settings)).values()) == count - 1


async def test_the_command_says_in_one_line_that_kafka_is_not_there(unused_port: int) -> None:
    ours = {"LYO_BOOTSTRAP_SERVERS": f"127.0.0.1:{unused_port}", "LYO_CONNECT_SECONDS": "0.2"}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "lyo.cli.main", "publish", "-"],
        input=b"",
        env=os.environ | ours,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == b""
    assert len(done.stderr.decode().strip().splitlines()) == 1
    assert str(unused_port) in done.stderr.decode()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def test_a_producer_whose_task_has_ended_is_replaced(kafka_settings: Settings, tmp_path: Path) -> None:
    await topic_admin.ensure(kafka_settings)
    records = good(simulated(tmp_path / "events.jsonl"))
    sender = await Sender.connect(kafka_settings)
    try:
        await acknowledged(await sender.send(records[:50]))
        task = sender._producer._sender.sender_task
        task.cancel()
        await asyncio.wait([task])
        await acknowledged(await sender.send(records[50:100]))
    finally:
        await sender.stop()
    found = await read_all(kafka_settings)
    values = {place: [(record.key, record.value) for record in some] for place, some in found.items() if some}
    assert values == expected(records[:100], kafka_settings.partitions)

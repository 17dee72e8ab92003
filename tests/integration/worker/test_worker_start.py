"""What a worker refuses, how it stops, and how soon it answers."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.processes import Environment
from tests.support.worker.running import WorkerProcess, events, publish, publisher

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


def worker(variables: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lyo.cli.main", "worker"],
        env=variables | {"LYO_CONNECT_SECONDS": "1"} | more,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().splitlines()[-1]


async def test_a_wrong_number_of_partitions_is_refused_with_both_numbers(
    kafka_settings: Settings, environment: Environment
) -> None:
    await topic_admin.ensure(kafka_settings)
    done = worker(environment(kafka_settings), LYO_PARTITIONS="6")
    assert done.returncode == 1
    assert "has 4 partitions where the settings say 6" in last_line(done)
    with pytest.raises(topics.TopicError, match=r"4 partitions .* 6"):
        await topic_admin.ensure(kafka_settings.model_copy(update={"partitions": 6}))


async def test_topics_are_created_once_with_their_configurations(kafka_settings: Settings) -> None:
    created = await topic_admin.ensure(kafka_settings)
    assert sorted(created) == sorted(spec.name for spec in topics.specs(kafka_settings))
    assert await topic_admin.ensure(kafka_settings) == []
    async with clients.admin(kafka_settings) as client:
        counts = await clients.partition_counts(client, created)
    assert counts == {spec.name: spec.partitions for spec in topics.specs(kafka_settings)}


def test_no_kafka_is_said_in_one_line(environment: Environment) -> None:
    settings = Settings(bootstrap_servers="127.0.0.1:1", connect_seconds=1)
    done = worker(environment(settings))
    assert done.returncode == 1
    assert last_line(done).startswith("lyo worker: Kafka at 127.0.0.1:1 did not answer within 1 s")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LYO_PARTITIONS", "many"),
        ("LYO_CLOCK", "yesterday"),
        ("LYO_BOOTSTRAP_SERVERS", "somewhere"),
        ("LYO_DROPOUT_MODEL", "nowhere.json"),
    ],
)
def test_a_bad_setting_is_named(environment: Environment, name: str, value: str) -> None:
    done = worker(environment(Settings()), **{name: value})
    assert done.returncode == 2
    assert name in last_line(done)


async def test_an_idle_worker_answers_in_tens_of_milliseconds_and_stops_within_seconds(
    kafka_settings: Settings,
    environment: Environment,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """From before the event is published to the moment when a read-committed consumer has the prediction."""
    await topic_admin.ensure(kafka_settings)
    reader = clients.consumer(kafka_settings)
    await reader.start()
    topic = topics.names(kafka_settings).prediction("dropout-risk")
    reader.assign(await clients.partitions_of(kafka_settings, topic))
    await reader.seek_to_end()
    took: list[float] = []
    try:
        async with (
            publisher(kafka_settings) as producer,
            WorkerProcess(environment(kafka_settings), tmp_path / "log") as running,
        ):
            await running.says("task=", times=kafka_settings.partitions)
            for number in range(40):
                began = time.perf_counter()
                await publish(kafka_settings, producer, events(1, users=50, first=number))
                while not await reader.getmany(timeout_ms=20_000):
                    assert time.perf_counter() - began < 60, "no prediction within a minute"
                took.append(time.perf_counter() - began)
            began = time.perf_counter()
            assert await running.stop() == 0
            assert time.perf_counter() - began < 10
    finally:
        await reader.stop()
    median = statistics.median(took[5:])
    record_property("idle_latency_median_ms", round(median * 1000, 1))
    # The goal is 50 ms on a quiet machine; a busy one gets some air.
    assert median < 0.5

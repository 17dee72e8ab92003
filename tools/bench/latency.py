"""Measures the time (ms) from publishing an event to an idle worker until its prediction is committed."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from lyo.models.events.decode import Kind, partition
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.bench.stack import Waiting, worker

LONGEST = 120.0
WARM_UP = 10


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in milliseconds of ``samples`` events, sent one after the other."""

    samples: int
    median: float
    p95: float
    p99: float


async def measure(settings: Settings, samples: int, folder: Path) -> Latency:
    """Send single sessions of different learners to an idle worker and wait for each dropout risk."""
    await topic_admin.ensure(settings)
    log = folder / "latency.log"
    with worker(settings, log) as child:
        waiting = Waiting(child, log, LONGEST)
        while log.read_bytes().count(b"task=") < settings.partitions:
            waiting.check("opening the tasks")
            await asyncio.sleep(0.02)
        reader = clients.consumer(settings, fetch_max_wait_ms=500)
        producer = clients.producer(settings)
        await reader.start()
        await producer.start()
        try:
            reader.assign(
                await clients.partitions_of(settings, topics.names(settings).prediction("dropout-risk"))
            )
            await reader.seek_to_end()
            taken = [
                await _measure_one(settings, reader, producer, user, waiting)
                for user in range(1, samples + WARM_UP + 1)
            ]
        finally:
            await producer.stop()
            await reader.stop()
    median, p95, p99 = np.percentile(np.array(taken[WARM_UP:]) * 1000, [50, 95, 99]).tolist()
    return Latency(samples, median, p95, p99)


async def _measure_one(
    settings: Settings, reader: AIOKafkaConsumer, producer: AIOKafkaProducer, user: int, waiting: Waiting
) -> float:
    now = datetime.now(UTC).isoformat()
    event = {"event_id": f"b{user}", "user_id": user, "started_at": now, "ended_at": now}
    topic = topics.names(settings).topic(Kind.SESSION)
    began = time.perf_counter()
    await producer.send(
        topic, json.dumps(event).encode(), b"%d" % user, partition=partition(user, settings.partitions)
    )
    while True:
        polled = await reader.getmany(timeout_ms=1_000)
        if any(record.key == b"%d" % user for records in polled.values() for record in records):
            return time.perf_counter() - began
        waiting.check(f"the prediction of learner {user}")

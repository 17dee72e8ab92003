"""Measures events per second of one worker on a backlog, with committed transactions."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from lyo.models.events.decode import decode
from lyo.streams import topic_admin, topics
from lyo.streams.event_files.publisher import publish_file
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.bench.stack import Waiting, worker

LONGEST = 600.0


@dataclass(frozen=True, slots=True)
class Throughput:
    """A worker's run over a backlog, and a bare reader's run over the same topics."""

    events: int
    seconds: float
    cpu_seconds: float
    predictions: dict[str, int]
    rows: int
    resident_bytes: int
    reference_seconds: float

    @property
    def per_second(self) -> float:
        """Events per second, from the worker's first commit to its last."""
        return self.events / self.seconds

    @property
    def against_reference(self) -> float:
        """The worker's rate as a share of the bare reader's."""
        return self.reference_seconds / self.seconds


async def measure(settings: Settings, path: Path, folder: Path) -> Throughput:
    """Publish a file and let one worker fold it; timed from its first open task to its last commit."""
    await topic_admin.ensure(settings)
    await publish_file(path, settings)
    reference, total = await _bare(settings)
    log = folder / "worker.log"
    with worker(settings, log) as child:
        waiting = Waiting(child, log, LONGEST)
        while b"task=" not in log.read_bytes():
            waiting.check("opening the first task")
            await asyncio.sleep(0.02)
        process = psutil.Process(child.pid)
        began, cpu = time.perf_counter(), sum(process.cpu_times()[:2])
        async with clients.admin(settings) as client:
            inputs = topics.names(settings).inputs
            while True:
                committed = await client.list_consumer_group_offsets(settings.app_id)
                if sum(max(at.offset, 0) for tp, at in committed.items() if tp.topic in inputs) >= total:
                    break
                waiting.check("folding the backlog")
                await asyncio.sleep(0.05)
        seconds = time.perf_counter() - began
        cpu = sum(process.cpu_times()[:2]) - cpu
        resident = process.memory_info().rss
    names = topics.names(settings)
    sent = {kind: await _count(settings, topic) for kind, topic in names.predictions.items()}
    rows = await _count(settings, names.learner_rows) + await _count(settings, names.skill_rows)
    return Throughput(total, seconds, cpu, sent, rows, resident, reference)


async def _bare(settings: Settings) -> tuple[float, int]:
    """Seconds that one loop needs to read and decode all input records, and how many there are."""
    inputs = topics.names(settings).inputs
    reader = clients.consumer(settings, max_poll_records=settings.poll_records)
    await reader.start()
    total, began = 0, time.perf_counter()
    try:
        partitions = await clients.partitions_of(settings, *inputs)
        async for tp, records in clients.read_to_end(reader, partitions):
            values = [record.value for record in records]
            decode(inputs[tp.topic], None, values, [-1] * len(values))
            total += len(records)
    finally:
        await reader.stop()
    return time.perf_counter() - began, total


async def _count(settings: Settings, topic: str) -> int:
    reader = clients.consumer(settings)
    await reader.start()
    try:
        partitions = await clients.partitions_of(settings, topic)
        return sum([len(records) async for _, records in clients.read_to_end(reader, partitions)])
    finally:
        await reader.stop()

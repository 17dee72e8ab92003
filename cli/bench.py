"""`lyo bench`: speed, latency and memory of the full job on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cli.benchmark import latency, memory, throughput
from cli.benchmark.stack import broker
from cli.simulate import write
from cli.simulation import Plan
from cli.stack.server import StackError

DAY = 86_400_000
EVENTS_PER_DAY = 5.4  # of a simulated learner, which decides how many days make the events asked for


@click.command(epilog="Example: lyo bench --events 500000 --learners 50000 --json")
@click.option(
    "--events", type=click.IntRange(10_000), default=500_000, show_default=True, help="About so many."
)
@click.option("--learners", type=click.IntRange(100), default=50_000, show_default=True)
@click.option("--samples", type=click.IntRange(20), default=200, show_default=True, help="Of the latency.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def bench(*, events: int, learners: int, samples: int, seed: int, as_json: bool) -> None:
    """Measure the full job: real Kafka, one worker process, simulated events of all types.

    Throughput: a backlog is published first, then one worker folds it, all five kinds of prediction
    evaluated and every transaction committed; a bare loop that only reads and decodes the same records is
    timed beside it.
    Latency: single events to an idle worker. Memory: growth per learner besides skills.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(stderr=True, highlight=False)
    days = max(round(events / learners / EVENTS_PER_DAY), 1)
    end = int(time.time() * 1000) // DAY * DAY
    with tempfile.TemporaryDirectory(prefix="lyo-bench-") as name:
        folder = Path(name)
        path = folder / "events.jsonl"
        try:
            with console.status("Simulating events"):
                write(Plan(learners, days, seed, end), path)
            with broker(folder / "throughput") as settings, console.status("Throughput"):
                speed = asyncio.run(throughput.measure(settings, path, folder))
            with broker(folder / "latency") as settings, console.status("Latency"):
                delay = asyncio.run(latency.measure(settings, samples, folder))
        except (StackError, RuntimeError) as error:
            raise click.ClickException(str(error)) from None
        with console.status("Memory"):
            size = memory.measure(learners, days, seed)
    found = figures(speed, delay, size, learners)
    if as_json:
        click.echo(json.dumps(found))
        return
    for key, value in found.items():
        click.echo(f"{key:32} {value}")


def figures(
    speed: throughput.Throughput, delay: latency.Latency, size: float, learners: int
) -> dict[str, Any]:
    """The measured figures by name."""
    return {
        "events": speed.events,
        "learners": learners,
        "seconds": round(speed.seconds, 2),
        "events_per_second": round(speed.per_second),
        "worker_cpu_seconds": round(speed.cpu_seconds, 2),
        "against_bare_reader": round(speed.against_reference, 3),
        "predictions_sent": sum(speed.predictions.values()),
        "predictions_by_kind": speed.predictions,
        "rows_sent": speed.rows,
        "worker_resident_mb": round(speed.resident_bytes / 1e6),
        "latency_median_ms": round(delay.median, 1),
        "latency_p95_ms": round(delay.p95, 1),
        "latency_p99_ms": round(delay.p99, 1),
        "latency_samples": delay.samples,
        "bytes_per_learner": round(size),
    }

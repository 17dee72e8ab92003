"""`lyo bench`: measures speed, latency and memory of the full job on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from lyo.cli.files.simulate import write
from lyo.tools.bench import api, latency, memory, throughput
from lyo.tools.bench.api import Workload
from lyo.tools.bench.learners import ORIGINALS
from lyo.tools.bench.stack import OTHER_CORES, broker, on_cores, servers
from lyo.tools.simulation import Plan
from lyo.tools.stack.server import StackError

DAY = 86_400_000
SECTIONS = ("throughput", "latency", "memory", "api")
EVENTS_PER_DAY = 5.4  # of a simulated learner; from it follows how many days to simulate


@click.command(epilog="Example: lyo bench --events 500000 --learners 50000 --json")
@click.option(
    "--events",
    type=click.IntRange(10_000),
    default=500_000,
    show_default=True,
    help="Number of events, roughly.",
)
@click.option("--learners", type=click.IntRange(100), default=50_000, show_default=True)
@click.option(
    "--samples", type=click.IntRange(20), default=200, show_default=True, help="Samples of the latency."
)
@click.option(
    "--only",
    type=click.Choice(SECTIONS),
    multiple=True,
    help="Measure only this; may be repeated.",
)
@click.option(
    "--stored",
    type=click.IntRange(1_000),
    default=100_000,
    show_default=True,
    help="Learners in Postgres, for the API.",
)
@click.option(
    "--rate", type=click.IntRange(1), default=200, show_default=True, help="Requests per second to the API."
)
@click.option(
    "--seconds", type=click.IntRange(5), default=30, show_default=True, help="How long to send them."
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def bench(
    *,
    events: int,
    learners: int,
    samples: int,
    only: tuple[str, ...],
    stored: int,
    rate: int,
    seconds: int,
    seed: int,
    as_json: bool,
) -> None:
    """Measure the full job: real Kafka, one worker process, simulated events of all types.

    Throughput: one worker folds a published backlog, computes all kinds of prediction and commits every
    transaction. A bare loop that only reads and decodes the same records is timed for comparison.
    Latency: single events to an idle worker. Memory: growth per learner without skills.
    Api: requests at a constant rate to one `lyo api` with a real Postgres, while a worker and a sink write,
    and how soon an event shows. A few hundred learners are simulated and folded; the others are copies of
    them.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(stderr=True, highlight=False)
    sections = set(only or SECTIONS)
    figures: dict[str, Any] = {}
    try:
        if "throughput" in sections:
            figures |= _throughput(console, events, learners, seed)
        if "latency" in sections:
            figures |= _latency(console, samples)
        if "memory" in sections:
            figures |= _memory(console, events, learners, seed)
        if "api" in sections:
            figures |= _api(
                console, Workload(max(stored // ORIGINALS, 2) * ORIGINALS, rate, seconds, seed=seed)
            )
    except (StackError, RuntimeError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(figures))
        return
    for key, value in figures.items():
        click.echo(f"{key:32} {value}")


def _days(events: int, learners: int) -> int:
    return max(round(events / learners / EVENTS_PER_DAY), 1)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lyo-bench-") as name:
        yield Path(name)


def _throughput(console: Console, events: int, learners: int, seed: int) -> dict[str, Any]:
    end = int(time.time() * 1000) // DAY * DAY
    with _folder() as folder:
        path = folder / "events.jsonl"
        with console.status("Simulating events"):
            write(Plan(learners, _days(events, learners), seed, end), path)
        with broker(folder / "throughput") as settings, console.status("Throughput"):
            speed = asyncio.run(throughput.measure(settings, path, folder))
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
    }


def _latency(console: Console, samples: int) -> dict[str, Any]:
    with _folder() as folder, broker(folder / "latency") as settings, console.status("Latency"):
        delay = asyncio.run(latency.measure(settings, samples, folder))
    return {
        "latency_median_ms": round(delay.median, 1),
        "latency_p95_ms": round(delay.p95, 1),
        "latency_p99_ms": round(delay.p99, 1),
        "latency_samples": delay.samples,
    }


def _memory(console: Console, events: int, learners: int, seed: int) -> dict[str, Any]:
    with console.status("Memory"):
        return {"bytes_per_learner": round(memory.measure(learners, _days(events, learners), seed))}


def _api(console: Console, workload: Workload) -> dict[str, Any]:
    with _folder() as folder, on_cores(OTHER_CORES), servers(folder) as settings, console.status("API"):
        return api.measure(settings, workload, folder).figures()

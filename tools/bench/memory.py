"""Measures bytes of memory per learner without skills, with an engine in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import psutil

from lyo.models.engine import Engine
from lyo.models.events.decode import Kind, decode
from lyo.models.state.catalogue import Catalogue
from lyo.streams.kafka.input_records import CATALOGUE
from lyo.tools.simulation import Plan, generate

END = 1_776_643_200_000  # 2026-04-20T00:00:00Z
BATCH = 8_000


def measure(learners: int, days: int, seed: int) -> float:
    """Bytes per learner: the growth of a process that folds simulated events without their skills."""
    done = subprocess.run(
        [sys.executable, "-m", "lyo.tools.bench.memory", str(learners), str(days), str(seed)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def _events(plan: Plan) -> Iterator[dict[str, Any]]:
    for piece in generate(plan, lambda _: None):
        for line in piece.splitlines():
            event = json.loads(line)
            if event["type"] not in {*CATALOGUE, Kind.STRUGGLE_REQUEST}:
                yield event | ({"skills": []} if "skills" in event else {})


def _fold(engine: Engine, events: list[dict[str, Any]]) -> None:
    lines: dict[Kind, list[bytes]] = {}
    for event in events:
        lines.setdefault(Kind(event["type"]), []).append(json.dumps(event).encode())
    batches = [decode(kind, None, values, [-1] * len(values))[0] for kind, values in lines.items()]
    engine.commit(engine.apply(batches))


def _grow(learners: int, days: int, seed: int) -> float:
    engine = Engine(Catalogue())
    # Time zones, caches and the memory for working on a batch are not counted for the learners.
    warm = _events(Plan(10_000, days, seed, END, first_user=10_000_000))
    while some := list(islice(warm, BATCH)):
        _fold(engine, some)
    before, resident = len(engine.state.learners), _resident()
    events = _events(Plan(learners, days, seed, END))
    while some := list(islice(events, BATCH)):
        _fold(engine, some)
    return (_resident() - resident) / (len(engine.state.learners) - before)


def _resident() -> int:
    """Resident bytes of the process, without freed memory that the C library keeps."""
    gc.collect()
    with suppress(AttributeError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    sys.stdout.write(f"{_grow(*map(int, sys.argv[1:]))}\n")

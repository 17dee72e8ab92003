"""Event files cut into parts, and published at a pace, each event acknowledged once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from lyo.cli.files.simulate import write
from lyo.evaluation.replay import FOREVER, Replay
from lyo.models.predictions.records import texts
from lyo.streams.event_files.publisher import publish_file
from lyo.streams.event_files.reader import Piece, check, opened
from lyo.streams.kafka.input_records import Record
from lyo.streams.producers.producing import Sender, Sent, acknowledged
from lyo.streams.settings import Settings
from lyo.tools.simulation import Plan

APRIL = 1_776_643_200_000  # 2026-04-20T00:00:00Z
AT_ONCE = 500


def simulated(path: Path, learners: int, days: int, seed: int = 11) -> Path:
    """An event file of simulated learners with every type of event, some late and some sent twice."""
    write(Plan(learners=learners, days=days, seed=seed, end=APRIL, bad=0.0, first_user=1), path)
    return path


def parts(path: Path, count: int) -> list[Path]:
    """The file's lines, in order, in so many files beside it."""
    lines = path.read_bytes().splitlines(keepends=True)
    bounds = np.linspace(0, len(lines), count + 1).astype(int).tolist()
    made = []
    for number, (start, end) in enumerate(pairwise(bounds)):
        made.append(path.with_suffix(f".{number:02d}.jsonl"))
        made[-1].write_bytes(b"".join(lines[start:end]))
    return made


def newest(paths: Sequence[Path]) -> int:
    """The time of the newest event of some files (ms)."""
    replay = Replay()
    for path in paths:
        replay.read(path, None, None, None)
    return replay.newest


def moment(at: int) -> str:
    """RFC 3339 text of an instant in ms."""
    return texts(np.array([at]))[0]


async def publish(path: Path, settings: Settings) -> int:
    """Publish a whole file; gives the number of its records."""
    published = await publish_file(path, settings)
    assert published.bad == 0
    return published.records


def records_of(path: Path, at_once: int = AT_ONCE) -> Iterator[list[Record]]:
    """A file's records, so many at a time."""
    with opened(path) as file:
        for piece in file.pieces():
            for start in range(0, len(piece.lines), at_once):
                lines = piece.lines[start : start + at_once]
                yield check(Piece(piece.first + start, lines, piece.position), FOREVER).records


class Paced:
    """Publishes a file evenly over so many seconds; `done` records are acknowledged."""

    def __init__(self, path: Path, settings: Settings, seconds: float) -> None:
        self.done = 0
        self.total = sum(len(some) for some in records_of(path))
        self._path, self._settings, self._seconds = path, settings, seconds

    async def run(self, patience: float = 300.0) -> int:
        """Publish everything; gives the number of records."""
        sender = await Sender.connect(self._settings, patience=patience)
        began = time.monotonic()
        waiting: list[Sent] = []
        try:
            for some in records_of(self._path):
                waiting = [*waiting, *await sender.send(some)]
                if len(waiting) > 200:
                    await acknowledged(waiting, patience)
                    waiting = []
                self.done += len(some)
                ahead = self.done / self.total * self._seconds - (time.monotonic() - began)
                await asyncio.sleep(max(ahead, 0.0))
            await acknowledged(waiting, patience)
        finally:
            await sender.stop()
        return self.done


def outcomes_aside(path: Path) -> tuple[Path, list[bytes]]:
    """The file without its outcomes, and those, for the outbox."""
    kept: list[bytes] = []
    outcomes: list[bytes] = []
    for line in path.read_bytes().splitlines(keepends=True):
        (outcomes if json.loads(line)["type"] == "outcome" else kept).append(line)
    rest = path.with_suffix(".rest.jsonl")
    rest.write_bytes(b"".join(kept))
    return rest, outcomes

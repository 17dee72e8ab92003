"""The events that the demo shows: simulated learners, or a file as of its last event."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from lyo.models.arrays.zones import DAY
from lyo.models.events.decode import Columns, Kind, decode
from lyo.streams.event_files.progress_bars import OnBytes
from lyo.streams.event_files.reader import EventFileError, check, opened
from lyo.streams.kafka.input_records import CATALOGUE, Record
from lyo.tools.demo.children import DemoError
from lyo.tools.demo.requests_made import FROM_FILE, INVENTED, Encounter, newest, requests
from lyo.tools.simulation import Plan, generate


@dataclass(frozen=True, slots=True)
class Source:
    """A file to publish.

    `clock` is the time at which a real file is shown, None: the system's clock. `requests` are lines of
    struggle requests that the demo adds to a file without any.
    """

    path: Path
    title: str
    clock: str | None = None
    requests: tuple[str, ...] = ()
    about: str = ""  # what the requests are about


def simulated(
    path: Path, learners: int, days: int, seed: int, on_day: Callable[[int], None] | None = None
) -> Source:
    """Write a file of simulated learners up to today (UTC)."""
    plan = Plan(learners, days, seed, time.time_ns() // 1_000_000 // DAY * DAY)
    with path.open("wb") as file:
        for piece in generate(plan, on_day):
            file.write(piece)
    return Source(path, f"{learners:,} simulated learners over {days} days up to today, seed {seed}")


@dataclass(slots=True)
class _Scan:
    """What is read from a file before it is published; times in ms."""

    last: int = -1
    has_requests: bool = False
    users: set[int] = field(default_factory=set)
    completed: list[Encounter] = field(default_factory=list)  # the newest ones
    other: list[Encounter] = field(default_factory=list)  # the newest events of other kinds

    def add(self, kind: Kind, columns: Columns) -> None:
        if not len(columns.at):
            return
        self.users.update(np.unique(columns.user).tolist())
        ends = columns.at if columns.end is None else np.maximum(columns.at, columns.end)
        self.last = max(self.last, int(ends.max()))
        self.has_requests = self.has_requests or kind is Kind.STRUGGLE_REQUEST
        if kind is Kind.LESSON_COMPLETION:
            self.completed = newest(self.completed, columns)
        else:
            self.other = newest(self.other, columns)


def from_file(path: Path, on_bytes: OnBytes | None = None) -> Source:
    """Read an event file's learners, its last event, and contents to request predictions for.

    Raises:
        DemoError: the file cannot be read, or holds no event.
    """
    try:
        scan = _scanned(path, on_bytes)
    except EventFileError as error:
        raise DemoError(str(error)) from None
    if scan.last < 0:
        raise DemoError(f"{path} holds no event (lyo publish --dry-run {path} says what is wrong with it)")
    clock = instant(scan.last)
    own = () if scan.has_requests else tuple(requests(scan.completed or scan.other, clock))
    about = FROM_FILE if scan.completed else INVENTED
    return Source(path, f"{path.name}: {len(scan.users):,} learners", clock, own, about)


def _scanned(path: Path, on_bytes: OnBytes | None) -> _Scan:
    now = time.time_ns() // 1_000_000
    scan = _Scan()
    with opened(path) as file:
        for piece in file.pieces():
            for kind, records in _by_kind(check(piece, now).records).items():
                columns, _ = decode(kind, None, [record.value for record in records], [now] * len(records))
                scan.add(kind, columns)
            if on_bytes is not None:
                on_bytes(piece.position, file.size)
    return scan


def instant(at: int) -> str:
    """An instant in ms as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _by_kind(records: list[Record]) -> dict[Kind, list[Record]]:
    by_kind: dict[Kind, list[Record]] = defaultdict(list)
    for record in records:
        if record.kind not in CATALOGUE and record.kind is not Kind.ERASURE:
            by_kind[record.kind].append(record)
    return by_kind

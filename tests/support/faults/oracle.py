"""The oracle of every fault: the same events folded once, in order, in one process, compared key by key.

Totals alone say nothing, since a loss and a double count cancel: every row is compared byte by byte, and an
event that is missing or counted twice is found by its id from what the row says it has applied.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.replay import FOREVER, Replay
from lyo.models.arrays.coefficients import Hazard
from lyo.models.engine import Engine
from lyo.models.events.identity import event_id_hash
from lyo.models.predictions.records import IDENTITY_FREE
from lyo.models.state import layout
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.learner import RING_KINDS
from lyo.streams.event_files.reader import check, opened
from lyo.streams.settings import Settings
from tests.support.faults import agreement
from tests.support.faults.agreement import Fields, Predictions
from tests.support.faults.found import Found, Rows, applied, look, shown

Events = dict[int, list[str]]

SHOWN: Final = 5
_WHOLE: Final = 1 << 64
_MOST: Final = 2  # events lost, and events doubled, that are looked for by name in one learner's row


@dataclass(slots=True)
class Expected:
    """What the events make, folded once."""

    rows: Rows
    predictions: Predictions
    published: int = 0
    closed: set[tuple[str, str]] = field(default_factory=set)
    """Struggle requests that no longer follow the learner: they only have to be there."""
    paths: tuple[Path, ...] = ()

    def events(self, users: set[int]) -> Events:
        """Ids of the events that count towards ``applied``, by learner."""
        return event_ids(self.paths, users)


@dataclass(slots=True)
class Report:
    """Differences by what they are; of events their ids where the rows tell them."""

    published: int
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)
    stored_rows: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    older: list[str] = field(default_factory=list)
    compared: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing differs at all."""
        return not any(texts for _, texts in self._parts())

    def _parts(self) -> list[tuple[str, list[str]]]:
        return [
            ("lost", self.lost),
            ("counted twice", self.twice),
            ("rows that differ", self.rows),
            ("predictions that differ", self.predictions),
            ("rows in Postgres that differ", self.stored_rows),
            ("predictions in Postgres that differ", self.stored),
            ("ids with two contents", self.ambiguous),
            ("records older than the one before", self.older),
        ]

    def __str__(self) -> str:
        lines = [f"events published: {self.published:,}"]
        for name, texts in self._parts():
            lines.append(f"{name}: {len(texts):,}")
            lines += [f"    {text[:300]}" for text in texts[:SHOWN]]
        lines.append("compared: " + ", ".join(f"{count:,} {name}" for name, count in self.compared.items()))
        return "\n".join(lines)


# ------------------------------------------------------------ what is expected


def expect(
    paths: Iterable[Path], at: int, write_layout: int = layout.LAYOUT, hazard: Hazard | None = None
) -> Expected:
    """Fold event files once, in order, as of ``at`` (ms); with rows of a layout, by fitted coefficients."""
    paths = tuple(paths)
    replay = Replay(Engine(Catalogue(hazard), with_interventions=False))
    for path in paths:
        replay.read(path, at, None, None)
    replay.settle(at)
    closed = set().union(*(agreement.asked_about(path) for path in paths))
    rows = agreement.rows(replay.engine, write_layout)
    return Expected(rows, agreement.predicted(replay), replay.events, closed, paths)


def event_ids(paths: Iterable[Path], users: set[int]) -> Events:
    """Ids of the sessions, completions and sentiments of some learners in event files."""
    found: Events = defaultdict(list)
    for path in paths:
        with opened(path) as file:
            for piece in file.pieces():
                for record in check(piece, FOREVER).records:
                    if record.user in users and record.kind in RING_KINDS:
                        found[record.user].append(json.loads(record.value)["event_id"])
    return dict(found)


# ------------------------------------------------------------ what there is


# ------------------------------------------------------------ the comparison


def compare(expected: Expected, found: Found) -> Report:
    """Every difference between what was to be and what is."""
    report = Report(expected.published, ambiguous=list(found.ambiguous), older=list(found.older))
    report.rows = unlike_rows(expected.rows, found.rows)
    report.lost, report.twice = _miscounted(expected, found.rows)
    comparable = {
        key: {name: value for name, value in fields.items() if name not in IDENTITY_FREE}
        for key, fields in found.predictions.items()
    }
    report.predictions = agreement.differences(expected.predictions, comparable, expected.closed)
    report.compared = {"rows": len(expected.rows), "predictions": len(expected.predictions)}
    if found.stored_rows is not None:
        report.stored_rows = unlike_rows(found.rows, found.stored_rows)
        report.compared["rows in Postgres"] = len(found.stored_rows)
    if found.stored is not None:
        report.stored = _unlike_postgres(found.predictions, found.stored)
        report.compared["predictions in Postgres"] = len(found.stored)
    return report


def _unlike_postgres(topics_: Predictions, stored: Predictions) -> list[str]:
    """Contents that differ, and current rows that come from another prediction than the topic's newest."""
    said = agreement.differences(topics_, stored)
    for key in topics_.keys() & stored.keys():
        wanted, is_ = topics_[key]["prediction_id"], stored[key].get("prediction_id")
        if _is_current(key[0], topics_[key]) and is_ != wanted:
            said.append(f"{key} comes from prediction {is_}, the topic's newest is {wanted}")
    return sorted(said)


def _is_current(kind: str, record: Fields) -> bool:
    return kind not in agreement.EPISODIC or bool(record.get("episodes"))


def unlike_rows(wanted: Mapping[bytes, bytes], found: Mapping[bytes, bytes]) -> list[str]:
    """Rows that are missing, too much, or differ in a byte; with the columns that do."""
    said = [f"{shown(key)} is missing" for key in wanted.keys() - found.keys()]
    said += [f"{shown(key)} is too much" for key in found.keys() - wanted.keys()]
    said += [
        f"{shown(key)} differs in {', '.join(_columns(key, value, found[key]))}"
        for key, value in wanted.items()
        if key in found and found[key] != value
    ]
    return sorted(said)


def _columns(key: bytes, one: bytes, other: bytes) -> list[str]:
    """The names of the columns in which two stored rows differ."""
    if one[:1] != other[:1]:
        return ["layout"]
    topics: list[str | None] = [None, None]
    if b"|" in key:
        rows, topics = layout.decode_skills([one, other])
    else:
        rows = layout.decode_learners([one, other])
    return list(_unlike(rows)) + (["topic"] if topics[0] != topics[1] else [])


def _unlike(rows: NDArray[np.void]) -> Iterator[str]:
    """The columns in which two rows differ; of a record with columns of its own, as ``now.peak``."""
    for name in rows.dtype.names or ():
        if rows[0][name].tobytes() != rows[1][name].tobytes():
            within = rows[name].dtype.names and rows[name].ndim == 1
            yield from (f"{name}.{inner}" for inner in _unlike(rows[name])) if within else (name,)


# ------------------------------------------------------------ which events


def _miscounted(expected: Expected, found: Rows) -> tuple[list[str], list[str]]:
    """Events that are lost and events that are counted twice, by learner and id."""
    wrong = {key for key in expected.rows.keys() | found.keys() if b"|" not in key}
    wrong = {key for key in wrong if expected.rows.get(key) != found.get(key)}
    if not wrong:
        return [], []
    ids = expected.events({int(key) for key in wrong})
    lost: list[str] = []
    twice: list[str] = []
    for key in sorted(wrong):
        names = ids.get(int(key), [])
        missing, doubled = miscounted(expected.rows.get(key), found.get(key), names)
        lost += [f"learner {key.decode()}: {name}" for name in missing]
        twice += [f"learner {key.decode()}: {name}" for name in doubled]
    return lost, twice


def miscounted(
    wanted: bytes | None, found: bytes | None, ids: Sequence[str]
) -> tuple[Sequence[str], Sequence[str]]:
    """Which of a learner's events the found row lacks, and which it has twice.

    A row holds how many events it has applied and the sum of their ids' hashes: two sums, so a loss and a
    double count that cancel in the one do not in the other. Where no few events explain them, unnamed ones
    are given: at least so many.
    """
    count = applied(found)[0] - applied(wanted)[0]
    total = (applied(found)[1] - applied(wanted)[1]) % _WHOLE
    if count == 0 and total == 0:
        return [], []
    if found is None:
        return list(dict.fromkeys(ids)), []
    by_hash = {event_id_hash(name): name for name in ids}
    explained = _explained(count, total, by_hash)
    if explained is not None:
        return explained
    unnamed = "an event that cannot be named"
    if count == 0:
        return [unnamed], [unnamed]
    return [unnamed] * max(-count, 0), [unnamed] * max(count, 0)


def _explained(count: int, total: int, by_hash: Mapping[int, str]) -> tuple[list[str], list[str]] | None:
    """The fewest events, doubled and lost, whose hashes make up the difference; None if too many would."""
    hashes = list(by_hash)
    for doubled in range(max(count, 0), _MOST + 1):
        lost = doubled - count
        if lost > _MOST:
            break
        sums = {sum(some): some for some in combinations(hashes, lost)}
        for more in combinations(hashes, doubled):
            some = sums.get((sum(more) - total) % _WHOLE)
            if some is not None and not set(some) & set(more):
                return [by_hash[one] for one in some], [by_hash[one] for one in more]
    return None


# ------------------------------------------------------------ waiting for the quiet moment


async def settled(
    expected: Expected, settings: Settings, *, postgres: bool = True, seconds: float = 60.0
) -> Report:
    """Compare until nothing differs any more, at most for so long; gives the last report.

    Only a difference that stays counts: with everything read and stored, sweeps may still be under way.
    """
    end = time.monotonic() + seconds
    while True:
        report = compare(expected, await look(settings, postgres=postgres))
        if report.clean or time.monotonic() > end:
            return report
        await asyncio.sleep(1)

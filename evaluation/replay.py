"""Folds event files once, in order, in one process; every other way of running must agree with it.

They are folded as history, all of it before anybody is judged, or as if they came live: each event at its own
time, each learner's day ended before the next begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from lyo.models.arrays.zones import HOUR
from lyo.models.engine import Changes, Engine
from lyo.models.erasure import marker_of
from lyo.models.events.decode import Columns, Kind, decode
from lyo.models.state.catalogue import Catalogue
from lyo.streams.event_files.progress_bars import OnBytes
from lyo.streams.event_files.reader import Bad, Checked, Piece, check, opened
from lyo.streams.kafka.input_records import CATALOGUE

FOREVER = 1 << 62

OnBad = Callable[[Bad], None]


@dataclass(slots=True)
class Replay:
    """An engine that has folded event files, with what was read.

    Attributes:
        engine: it decides about interventions only if it was created so.
        live: fold each event at its own time, when `settle` is called; else as history, at once.
        decisions: the newest record of each intervention that was decided, by key.
    """

    engine: Engine = field(default_factory=lambda: Engine(Catalogue(), with_interventions=False))
    live: bool = False
    decisions: dict[bytes, bytes] = field(default_factory=dict)
    _hours: dict[int, list[Columns]] = field(default_factory=dict)
    _lines: int = 0
    events: int = 0
    bad: int = 0
    newest: int = 0  # ms, of the events folded

    def read(self, path: Path, until: int | None, on_bytes: OnBytes | None, on_bad: OnBad | None) -> None:
        """Fold a file's events up to ``until`` (ms, all if None), after all of its catalogue and erasures.

        From standard input, which can be read only once, these count from where they stand.
        """
        if str(path) != "-":
            for piece in self._pieces(path, None):
                self._learn(_catalogue_only(piece), until)
        for piece in self._pieces(path, on_bytes):
            checked = check(piece, FOREVER)
            self.bad += len(checked.bad)
            for one in checked.bad:
                if on_bad is not None:
                    on_bad(one)
            if str(path) == "-":
                self._learn(checked, until)
            self._fold(checked, until, piece, on_bad)

    def settle(self, at: int) -> None:
        """End every learner's day up to ``at`` (ms)."""
        if self._hours:
            for hour in range(min(self._hours), at // HOUR + 1):
                self._apply(self._hours.pop(hour, []))
                self._sweep(min((hour + 1) * HOUR - 1, at))
        self._sweep(at)

    def _sweep(self, limit: int) -> None:
        while self.engine.due(limit):
            self._take(self.engine.sweep(limit))

    def _take(self, changes: Changes) -> None:
        self.engine.commit(changes)
        self.decisions |= {key: value for key, value in changes.interventions if value is not None}

    def predictions(self) -> list[tuple[str, bytes, bytes]]:
        """Every current prediction as (kind, key, value), ordered by kind, user and skill or content."""
        return sorted(self.engine.current(), key=lambda prediction: (prediction[0], *_order(prediction[1])))

    def decided(self) -> list[bytes]:
        """The newest record of every intervention that was decided, ordered by user, time and id."""
        records = [(msgspec.json.decode(value), value) for value in self.decisions.values()]
        records.sort(key=lambda one: (one[0]["user_id"], one[0]["as_of"], one[0]["intervention_id"]))
        return [value for _, value in records]

    def _pieces(self, path: Path, on_bytes: OnBytes | None) -> Iterator[Piece]:
        with opened(path) as file:
            for piece in file.pieces():
                yield piece
                if on_bytes is not None:
                    on_bytes(piece.position, file.size)

    def _learn(self, checked: Checked, until: int | None) -> None:
        for record in checked.records:
            if record.kind in CATALOGUE:
                self.engine.state.catalogue.put(record.kind, record.key, record.value)
            elif record.kind is Kind.ERASURE:
                self._marker(record.value, until)

    def _marker(self, value: bytes, until: int | None) -> None:
        """Erase a learner, as if the erasure had been known from the beginning."""
        columns, _ = decode(Kind.ERASURE, None, [value], [-1])
        if until is not None and int(columns.at[0]) > until:
            return
        user = int(columns.user[0])
        self.engine.erasing.markers.add(user, marker_of(columns.rows[0]), on_topic=True)
        self.engine.commit(self.engine.erase(self.engine.pending(0, 1)))

    def _fold(self, checked: Checked, until: int | None, piece: Piece, on_bad: OnBad | None) -> None:
        values: dict[Kind, list[tuple[int, bytes]]] = {}
        for place, record in enumerate(checked.records):
            if record.kind not in CATALOGUE and record.kind is not Kind.ERASURE:
                values.setdefault(record.kind, []).append((place, record.value))
        batches = [self._columns(kind, lines, until) for kind, lines in values.items()]
        self._lines += len(checked.records)
        self.events += sum(len(batch.user) for batch in batches)
        if self.live:
            self._keep(batches)
            return
        for reason in self._apply(batches):
            if on_bad is not None:
                on_bad(Bad(piece.first, f"in the lines from here on: {reason}"))

    def _apply(self, batches: list[Columns]) -> list[str]:
        """Fold columns; gives why some events were refused."""
        if not batches:
            return []
        changes = self.engine.apply(batches)
        self._take(changes)
        self.bad += len(changes.rejected)
        return [rejected.reason for _, rejected in changes.rejected]

    def _keep(self, batches: list[Columns]) -> None:
        """Keep columns by the hours of their events, to be folded later."""
        for batch in batches:
            hours = batch.at // HOUR
            for hour in np.unique(hours).tolist():
                self._hours.setdefault(hour, []).append(batch.take(np.flatnonzero(hours == hour)))

    def _columns(self, kind: Kind, lines: list[tuple[int, bytes]], until: int | None) -> Columns:
        """The columns of lines of one kind, each with its place in the file, up to an instant."""
        columns, _ = decode(kind, None, [line for _, line in lines], [-1] * len(lines))
        columns.turn = self._lines + np.array([place for place, _ in lines], np.int64)[columns.index]
        if until is not None and (columns.at > until).any():
            columns = columns.take(np.flatnonzero(columns.at <= until))
        if len(columns.at):
            ends = columns.at if columns.end is None else np.maximum(columns.at, columns.end)
            self.newest = max(self.newest, int(ends.max()))
        return columns


def _catalogue_only(piece: Piece) -> Checked:
    wanted = (b'"content"', b'"organization"', b'"erasure"')
    lines = [line for line in piece.lines if any(name in line for name in wanted)]
    return check(Piece(piece.first, lines, piece.position), FOREVER)


def _order(key: bytes) -> tuple[int, bytes]:
    user, _, rest = key.partition(b"|")
    return int(user), rest

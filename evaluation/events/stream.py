"""Reads event files as one stream in time order, without events that the product refuses or ignores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lyo.models.erasure import ErasureMarker, marker_of
from lyo.models.events.decode import Columns, EventError, Kind, decode, decode_content, decode_organization
from lyo.models.state.catalogue import Catalogue
from lyo.streams.event_files.progress_bars import OnBytes
from lyo.streams.event_files.reader import Bad, Piece, by_type, opened
from lyo.streams.kafka.input_records import CATALOGUE

__all__ = ["Events", "OnBad", "read"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
OnBad = Callable[[Path, Bad], None]

ACTIVITY = (Kind.LESSON_COMPLETION, Kind.SESSION, Kind.SENTIMENT)
FOLDED = (*ACTIVITY, Kind.OUTCOME, Kind.PREFERENCES)
"""Kinds that change rows. Struggle requests are left out: the tasks ask their own questions."""


@dataclass(slots=True)
class Events:
    """Events of each kind in the order of time; of those of one millisecond the first line comes first.

    ``turn`` is each event's place among the events of all kinds.
    """

    columns: dict[Kind, Columns]
    turn: dict[Kind, Ints]
    when: dict[Kind, Ints]
    """When each event became known (ms); a session when it ended."""
    catalogue: Catalogue
    bad: int = 0
    repeated: int = 0
    first: int = 0  # ms
    last: int = 0

    def __len__(self) -> int:
        """The number of events."""
        return sum(len(columns.user) for columns in self.columns.values())

    @property
    def completions(self) -> Columns:
        """The lesson completions."""
        return self.columns[Kind.LESSON_COMPLETION]


@dataclass(slots=True)
class _Read:
    catalogue: Catalogue = field(default_factory=Catalogue)
    markers: dict[int, ErasureMarker] = field(default_factory=dict)
    columns: dict[Kind, list[Columns]] = field(default_factory=lambda: {kind: [] for kind in FOLDED})
    lines: dict[Kind, list[Ints]] = field(default_factory=lambda: {kind: [] for kind in FOLDED})
    bad: int = 0


def read(paths: Iterable[Path], on_bad: OnBad | None = None, on_bytes: OnBytes | None = None) -> Events:
    """Read event files as one stream. The whole catalogue and all erasures hold from the beginning.

    Raises:
        lyo.streams.event_files.reader.EventFileError: a file cannot be read.
    """
    state = _Read()
    start = end = 0
    for path in paths:
        for piece in _pieces(path, on_bytes):
            bad = _take(state, piece, start)
            state.bad += len(bad)
            for line in bad:
                if on_bad is not None:
                    on_bad(path, line)
            end = start + piece.first + len(piece.lines)
        start = end
    return _ordered(state)


def _pieces(path: Path, on_bytes: OnBytes | None) -> Iterator[Piece]:
    with opened(path) as file:
        for piece in file.pieces():
            yield piece
            if on_bytes is not None:
                on_bytes(piece.position, file.size)


def _take(state: _Read, piece: Piece, start: int) -> list[Bad]:
    """Decode a piece and return its bad lines; `start` is added to line numbers for the order."""
    typed, bad = by_type(piece)
    for kind, positions in typed.items():
        lines = [piece.lines[position] for position in positions]
        if kind in CATALOGUE:
            bad += _learn(state.catalogue, kind, lines, [piece.first + position for position in positions])
            continue
        columns, refused = decode(kind, None, lines, [-1] * len(lines))
        bad += [Bad(piece.first + positions[position.index], position.reason) for position in refused]
        if kind is Kind.ERASURE:
            for user, row in zip(columns.user.tolist(), columns.rows, strict=True):
                known = state.markers.get(user)
                state.markers[user] = marker_of(row) if known is None else known.merged(marker_of(row))
        elif kind in FOLDED:
            state.columns[kind].append(columns)
            state.lines[kind].append(start + piece.first + np.array(positions, np.int64)[columns.index])
    return sorted(bad, key=lambda position: position.line)


def _learn(catalogue: Catalogue, kind: Kind, lines: list[bytes], numbers: list[int]) -> list[Bad]:
    bad = []
    for line, number in zip(lines, numbers, strict=True):
        try:
            if kind is Kind.CONTENT:
                key = decode_content(None, line).content_id.encode()
            else:
                key = b"%d" % decode_organization(None, line).organization_id
        except EventError as error:
            bad.append(Bad(number, error.reason))
        else:
            catalogue.put(kind, key, line)
    return bad


def _ordered(state: _Read) -> Events:
    columns, lines, repeated = {}, {}, 0
    for kind in FOLDED:
        joined = join(kind, state.columns[kind])
        line = np.concatenate([np.zeros(0, np.int64), *state.lines[kind]])
        keep = _let_in(joined, state.markers)
        if kind in ACTIVITY:
            again = ~_first_of_id(joined)
            repeated += int((keep & again).sum())
            keep &= ~again
        which = np.flatnonzero(keep)
        columns[kind], lines[kind] = joined.take(which), line[which]
    when = {kind: _when(columns_) for kind, columns_ in columns.items()}
    sizes = [len(when[kind]) for kind in FOLDED]
    times = np.concatenate([when[kind] for kind in FOLDED])
    order = np.lexsort((np.concatenate([lines[kind] for kind in FOLDED]), times))
    turn = np.empty(len(order), np.int64)
    turn[order] = np.arange(len(order))
    events = Events({}, {}, {}, state.catalogue, state.bad, repeated)
    if len(times):
        events.first, events.last = int(times.min()), int(times.max())
    for kind, part in zip(FOLDED, np.split(turn, np.cumsum(sizes)[:-1]), strict=True):
        by_turn = np.argsort(part)
        events.columns[kind] = reordered(columns[kind], by_turn)
        events.turn[kind], events.when[kind] = part[by_turn], when[kind][by_turn]
    return events


def _when(columns: Columns) -> Ints:
    return columns.at if columns.end is None else np.maximum(columns.at, columns.end)


def _let_in(columns: Columns, markers: dict[int, ErasureMarker]) -> Bools:
    """Which events no erasure excludes."""
    keep = np.ones(len(columns.user), bool)
    for user, marker in markers.items():
        mine = np.flatnonzero(columns.user == user)
        keep[mine] = marker.lets(columns.at[mine])
    return keep


def _first_of_id(columns: Columns) -> Bools:
    """Which events are the first of their learner with their id."""
    order = np.lexsort((columns.id, columns.user))
    user, number = columns.user[order], columns.id[order]
    first = np.ones(len(order), bool)
    first[1:] = (user[1:] != user[:-1]) | (number[1:] != number[:-1])
    found = np.zeros(len(order), bool)
    found[order[first]] = True
    return found


def join(kind: Kind, parts: list[Columns]) -> Columns:
    """Columns of one kind, one after another."""
    if not parts:
        return decode(kind, None, [], [])[0]
    whole = parts[0]
    if len(parts) == 1:
        return whole
    names = [name for name in COLUMN_NAMES if getattr(whole, name) is not None]
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    result = Columns(kind, rows=[row for part in parts for row in part.rows], **joined)
    if whole.skill_of is not None:
        starts = np.cumsum([0, *(len(part.user) for part in parts)])
        result.skill_of = np.concatenate(
            [
                part.skill_of + start
                for part, start in zip(parts, starts, strict=False)
                if part.skill_of is not None
            ]
        ).astype(np.int32)
        result.skills = [name for part in parts for name in part.skills or ()]
    return result


COLUMN_NAMES = ("index", "user", "org", "at", "id", "score", "struggled", "duration", "end", "sentiment")


def reordered(columns: Columns, order: Ints) -> Columns:
    """All of the columns, in another order ``(n,)``."""
    names = [name for name in COLUMN_NAMES if getattr(columns, name) is not None]
    result = Columns(
        columns.kind,
        rows=[columns.rows[one] for one in order.tolist()],
        **{name: getattr(columns, name)[order] for name in names},
    )
    if columns.skill_of is not None and columns.skills is not None:
        place = np.empty(len(order), np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        by_event = np.argsort(place[columns.skill_of], kind="stable")
        result.skill_of = place[columns.skill_of][by_event]
        result.skills = [columns.skills[one] for one in by_event.tolist()]
    return result


def sliced(columns: Columns, start: int, stop: int) -> Columns:
    """The events ``[start, stop)``, as views."""
    names = [name for name in COLUMN_NAMES if getattr(columns, name) is not None]
    result = Columns(
        columns.kind,
        rows=columns.rows[start:stop],
        **{name: getattr(columns, name)[start:stop] for name in names},
    )
    if columns.skill_of is not None and columns.skills is not None:
        first, last = np.searchsorted(columns.skill_of, [start, stop]).tolist()
        result.skill_of = columns.skill_of[first:last] - np.int32(start)
        result.skills = columns.skills[first:last]
    return result

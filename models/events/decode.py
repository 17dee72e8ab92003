"""Decodes input records into columns, and refuses every bad record with the name of its field."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, known
from lyo.models.events.checks import (
    NO_TIMESTAMP,
    TIMESTAMP,
    Placed,
    check_consents,
    check_keys,
    check_partitions,
    check_times,
    check_zones,
    session_ends,
    times,
)
from lyo.models.events.identity import event_id_hash, event_id_hashes, partition
from lyo.models.events.refusals import REFUSALS, SHALLOW, TOO_DEEP, explain, is_too_deep, shown, text_fault
from lyo.models.events.types import (
    INPUTS,
    Content,
    Erasure,
    Event,
    Kind,
    LessonCompletion,
    Organization,
    Outcome,
    OutcomeKind,
    Preferences,
    QuietHours,
    Sentiment,
    Session,
    StruggleRequest,
)

__all__ = [
    "Columns",
    "Content",
    "Erasure",
    "Event",
    "EventError",
    "Kind",
    "LessonCompletion",
    "Organization",
    "Outcome",
    "OutcomeKind",
    "Preferences",
    "QuietHours",
    "Rejected",
    "Sentiment",
    "Session",
    "StruggleRequest",
    "decode",
    "decode_content",
    "decode_organization",
    "event_id_hash",
    "milliseconds",
    "partition",
    "time_field",
]

SCALE = 10_000

_TIMES = {kind: input_.time for kind, input_ in INPUTS.items() if input_.time is not None}
_DECODE: dict[Kind, Callable[[bytes], Any]] = {
    kind: msgspec.json.Decoder(INPUTS[kind].record).decode for kind in _TIMES
}
_CONTENT: Callable[[bytes], Content] = msgspec.json.Decoder(Content).decode
_ORGANIZATION: Callable[[bytes], Organization] = msgspec.json.Decoder(Organization).decode
_Record = TypeVar("_Record", Content, Organization)


_BY_RECORD = (
    "index",
    "user",
    "org",
    "at",
    "id",
    "score",
    "struggled",
    "duration",
    "end",
    "sentiment",
    "turn",
    "history",
)


@dataclass(slots=True)
class Rejected:
    """A record that cannot be used: its position in the list, the reason, and the field at fault, if any."""

    index: int
    reason: str
    field: str | None


@dataclass(slots=True)
class Columns:
    """Accepted records of one kind in arrival order; every array has shape (n,) unless said otherwise.

    Times are milliseconds since the epoch, UTC. Scores and sentiment are in 1/10000.
    """

    kind: Kind
    index: NDArray[np.int32]  # position in the list given to `decode`
    user: NDArray[np.int64]
    org: NDArray[np.int64]  # 0 = none
    at: NDArray[np.int64]
    id: NDArray[np.uint64]  # 48-bit hash of the event or request id
    rows: list[Any]  # the structs
    score: NDArray[np.int16] | None = None  # completions: 0..10000, -1 none
    struggled: NDArray[np.int8] | None = None  # completions: 0, 1, or -1: nothing said, nothing scored
    duration: NDArray[np.int32] | None = None  # completions: seconds, -1 none
    skill_of: NDArray[np.int32] | None = None  # completions: (k,) row of these columns that names the skill
    skills: list[str] | None = None  # completions: (k,)
    end: NDArray[np.int64] | None = None  # sessions: ms, -1 = open
    sentiment: NDArray[np.int16] | None = None  # sentiment: -10000..10000
    turn: NDArray[np.int64] | None = None  # place in the order over all kinds: see lyo.models.events.order
    history: NDArray[np.int64] | None = None  # record time (ms) of an event that is history, 0 of others

    def take(self, which: NDArray[np.int64]) -> "Columns":
        """The chosen records, by their places ``(m,)``, ascending."""
        columns = {name: column[which] for name in _BY_RECORD if (column := getattr(self, name)) is not None}
        chosen = replace(self, rows=[self.rows[number] for number in which.tolist()], **columns)
        if self.skill_of is not None and self.skills is not None:
            place = np.full(len(self.user), -1, np.int32)
            place[which] = np.arange(len(which), dtype=np.int32)
            kept = np.flatnonzero(place[self.skill_of] >= 0)
            chosen.skill_of = place[self.skill_of[kept]]
            chosen.skills = [self.skills[number] for number in kept.tolist()]
        return chosen


class EventError(ValueError):
    """A record that cannot be used; `field` is the one at fault, if any."""

    def __init__(self, reason: str, field: str | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field


def milliseconds(moment: datetime) -> int:
    """Return an aware time in milliseconds since the epoch, to the nearest."""
    return round(moment.timestamp() * 1000)


def time_field(kind: Kind) -> str:
    """Return the name of the field that says when a record of `kind` happened."""
    return _TIMES[kind]


def decode(
    kind: Kind,
    keys: Sequence[bytes | None] | None,
    values: Sequence[bytes | None],
    timestamps: Sequence[int],
    placed: Placed | None = None,
    marked: Sequence[bool] | None = None,
) -> tuple[Columns, list[Rejected]]:
    """Decode records of one input topic into columns, and say what is wrong with each of the others.

    `keys` are the Kafka keys, or None where there are none to compare (event files). `timestamps` are the
    records' own, in ms: a time more than a day later is refused, and so is a record of Kafka without one
    (negative): nothing else would bound its times. `placed` says which partition each record is in: one that
    its key does not belong to is refused. `marked` says which records are history by a header; of the others,
    those are that happened more than a day before their record's time. No content of `values` raises.
    """
    index, rows, rejected = _structs(kind, values)
    user = np.fromiter(map(attrgetter("user_id"), rows), np.int64, len(rows))
    at = times(map(attrgetter(_TIMES[kind]), rows), len(rows))
    bad: dict[int, tuple[str, str]] = {}
    if keys is not None:
        check_keys(keys, index, user, bad)
    stamps = np.asarray(timestamps, np.int64)
    stamps = stamps if len(rows) == len(stamps) else stamps[index]
    if keys is not None:
        for row in np.flatnonzero(stamps < 0).tolist():
            bad.setdefault(row, (NO_TIMESTAMP, TIMESTAMP))
    if placed is not None:
        check_partitions(placed, index, user, bad)
    check_times(_TIMES[kind], at, stamps, bad)
    end = session_ends(rows, at, stamps, bad) if kind is Kind.SESSION else None
    if kind is Kind.PREFERENCES:
        check_zones(rows, bad)
    elif kind is Kind.ERASURE:
        check_consents(rows, at, stamps, bad)
    if bad:
        rejected += [Rejected(int(index[row]), reason, field) for row, (reason, field) in bad.items()]
        rejected.sort(key=attrgetter("index"))
        keep = np.array([row for row in range(len(rows)) if row not in bad], np.int64)
        index, user, at, stamps = index[keep], user[keep], at[keep], stamps[keep]
        end = None if end is None else end[keep]
        rows = [rows[row] for row in keep]
    columns = Columns(kind, index, user, _organizations(rows), at, _ids(kind, rows), rows, end=end)
    columns.history = _history(at, stamps, None if marked is None else np.asarray(marked, bool)[index])
    if kind is Kind.LESSON_COMPLETION:
        _complete(columns)
    elif kind is Kind.SENTIMENT:
        columns.sentiment = _fixed(np.array([row.sentiment for row in rows], np.float64))
    return columns, rejected


def decode_content(key: bytes | None, value: bytes) -> Content:
    """Return one content of the catalogue; `key`, if given, must be its id. Raises EventError."""
    content = _record(_CONTENT, value)
    if key is not None and key != content.content_id.encode():
        raise EventError(f"content_id: the key {shown(key)} does not match", "content_id")
    return content


def decode_organization(key: bytes | None, value: bytes) -> Organization:
    """Return one organization; `key`, if given, must be its id. Raises EventError."""
    organization = _record(_ORGANIZATION, value)
    if key is not None and key != b"%d" % organization.organization_id:
        raise EventError(f"organization_id: the key {shown(key)} does not match", "organization_id")
    if organization.timezone is not None and not known(organization.timezone):
        raise EventError("timezone: not an IANA time zone", "timezone")
    return organization


def _record(decoder: Callable[[bytes], _Record], value: bytes) -> _Record:
    try:
        record = decoder(value)
    except REFUSALS as error:
        raise EventError(*explain(error, value)) from None
    fault = (TOO_DEEP, None) if is_too_deep(value) else text_fault(record, value)
    if fault is not None:
        raise EventError(*fault)
    return record


def _structs(
    kind: Kind, values: Sequence[bytes | None]
) -> tuple[NDArray[np.int32], list[Any], list[Rejected]]:
    """Decode each value by itself: the positions and structs of the good ones, and the others."""
    decoder: Callable[[Any], Any] = _DECODE[kind]
    plain = _is_plain(values)
    deep = _too_deep(values)
    if plain and not deep:
        try:  # nearly always all are good, and one call for all is fastest
            return np.arange(len(values), dtype=np.int32), list(map(decoder, values)), []
        except REFUSALS:
            pass
    rows: list[Any] = []
    rejected: list[Rejected] = []
    for position, value in enumerate(values):
        try:
            row = decoder(value)
        except REFUSALS as error:
            rejected.append(Rejected(position, *explain(error, value)))
            continue
        fault: tuple[str, str | None] | None = (TOO_DEEP, None) if position in deep else None
        if fault is None and not plain and value is not None:
            fault = text_fault(row, value)
        if fault is None:
            rows.append(row)
        else:
            rejected.append(Rejected(position, *fault))
    index = np.arange(len(values), dtype=np.int32)
    if rejected:
        index = np.delete(index, [bad.index for bad in rejected])
    return index, rows, rejected


def _too_deep(values: Sequence[bytes | None]) -> set[int]:
    """Positions of values nested so deeply that decoders differ in whether they can read them."""
    return {
        position
        for position, value in enumerate(values)
        if value is not None and len(value) >= SHALLOW and is_too_deep(value)
    }


def _is_plain(values: Sequence[bytes | None]) -> bool:
    """Whether no value can hold a NUL or invalid UTF-8; one check of all is cheaper than one of each."""
    joined = b"".join([value for value in values if value is not None])
    return joined.isascii() and b"\\u0000" not in joined


def _history(
    at: NDArray[np.int64], stamps: NDArray[np.int64], marked: NDArray[np.bool_] | None
) -> NDArray[np.int64] | None:
    """Record times (ms) of events that are history, 0 of others ``(n,)``; None: none is."""
    old = (stamps >= 0) & (at < stamps - DAY)
    if marked is not None:
        old |= marked
    return np.where(old, np.maximum(stamps, 1), 0) if old.any() else None


def _organizations(rows: list[Any]) -> NDArray[np.int64]:
    return np.fromiter([row.organization_id or 0 for row in rows], np.int64, len(rows))


def _ids(kind: Kind, rows: list[Any]) -> NDArray[np.uint64]:
    field = "request_id" if kind is Kind.STRUGGLE_REQUEST else "event_id"
    return event_id_hashes(map(attrgetter(field), rows))


def _fixed(numbers: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.rint(numbers * SCALE).astype(np.int16)


def _complete(columns: Columns) -> None:
    """Fill the columns that only lesson completions have."""
    rows: list[LessonCompletion] = columns.rows
    score = np.array([row.score for row in rows], np.float64)  # None becomes NaN
    columns.score = np.where(np.isnan(score), -1, np.rint(score * SCALE)).astype(np.int16)
    seconds = np.array([row.duration_seconds for row in rows], np.float64)
    columns.duration = np.where(np.isnan(seconds), -1, np.rint(seconds)).astype(np.int32)
    columns.struggled = _struggled(rows, columns.score)
    named = [_unique(row.skills) for row in rows]
    columns.skill_of = np.repeat(
        np.arange(len(rows), dtype=np.int32), np.fromiter(map(len, named), np.int64, len(rows))
    )
    columns.skills = list(chain.from_iterable(named))


def _struggled(rows: list[LessonCompletion], score: NDArray[np.int16]) -> NDArray[np.int8]:
    """Whether each learner struggled: gave up, else what is said, else a score under a half; -1 unknown."""
    reported = np.fromiter(
        [1 if row.gave_up else -1 if row.struggled is None else row.struggled for row in rows],
        np.int8,
        len(rows),
    )
    return np.where((reported < 0) & (score >= 0), score < SCALE // 2, reported).astype(np.int8)


def _unique(names: list[str]) -> list[str]:
    return names if len(names) < 2 else list(dict.fromkeys(names))

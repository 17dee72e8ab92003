"""Events that the API records: checked as the worker checks them, and sent through the outbox."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.events.decode import EventError, Kind, decode, event_id_hash, time_field
from lyo.models.events.types import StruggleRequest
from lyo.models.state.struggle_requests import Request
from lyo.predictive.answers.reading import LearnerSnapshot
from lyo.predictive.answers.responses import text_of
from lyo.storage.outbox import queue
from lyo.storage.outbox.queue import Outgoing
from lyo.streams.topics import COMPACTION_LAG_MS, DELETE_RETENTION_MS, Names

__all__ = ["Event", "event", "new_id", "outcomes", "progress", "record", "struggle_request", "write"]

_ID_FIELD: Final = {Kind.STRUGGLE_REQUEST: "request_id"}
ERASED: Final = "Nothing is recorded: the learner is erased and has not consented since."
KEPT: Final = (
    "the erasure marker: the user id and the times of the erasure and of a consent",
    "the learner's events in the input topics, as long as those keep records; they are never folded again",
    "the ids of removed rows in removed_rows, for subscribers, for LYO_REMOVED_DAYS",
)
"""What an erasure leaves, in sentences for the answer."""
_MESSAGES: Final = {
    "not_requested": "Nobody has asked for this learner's erasure.",
    "requested": "The request is stored and waits to be sent to the log.",
    "sent": "The request is in the log; what is listed as remaining is still to be erased, and the topics.",
    "done": "Nothing of this learner is stored or current any more; older bytes go with compaction.",
}


@dataclass(frozen=True, slots=True)
class Event:
    """An event that the worker will accept.

    Attributes:
        kind: its kind.
        id: its event or request id.
        at: when it happened, ms.
        value: its UTF-8 JSON.
        row: the decoded record.
    """

    kind: Kind
    id: str
    at: int
    value: bytes
    row: Any

    def outgoing(self, names: Names) -> Outgoing:
        """The event as a row of the outbox."""
        return Outgoing(names.topic(self.kind), self.row.user_id, self.value, self.row.organization_id)

    def request(self) -> Request:
        """The request, of a struggle request."""
        row: StruggleRequest = self.row
        number = event_id_hash(row.request_id)
        return Request(row.request_id, row.content_id, self.at, number, row.content_metadata)


def new_id() -> str:
    """A new event or request id."""
    return uuid.uuid4().hex


def event(
    kind: Kind,
    user_id: int,
    organization: int | None,
    event_id: str,
    at: int,
    fields: Mapping[str, Any],
    now: int,
) -> Event:
    """An event that happened at ``at`` (ms), checked with ``now`` (ms) as its Kafka timestamp.

    Raises:
        EventError: the contract refuses it; `field` is to blame.
    """
    document = {
        _ID_FIELD.get(kind, "event_id"): event_id,
        "user_id": user_id,
        "organization_id": organization,
        time_field(kind): text_of(at),
        **{name: value for name, value in fields.items() if value is not None},
    }
    value = msgspec.json.encode(document)
    columns, rejected = decode(kind, [b"%d" % user_id], [value], [now])
    for refused in rejected:
        raise EventError(refused.reason, refused.field)
    return Event(kind, event_id, at, value, columns.rows[0])


def struggle_request(
    user_id: int, organization: int | None, request_id: str, at: int, metadata: Mapping[str, Any]
) -> Event:
    """A struggle request; see `event`."""
    fields = {"content_metadata": metadata}
    return event(Kind.STRUGGLE_REQUEST, user_id, organization, request_id, at, fields, at)


async def record(
    db: AsyncSession,
    kind: Kind,
    learner: LearnerSnapshot,
    fields: Mapping[str, Any],
    *,
    names: Names,
    commit: bool,
    event_id: str | None = None,
) -> tuple[str, bool]:
    """Write an event of a learner, at the moment asked about, into the outbox.

    Returns its id, and whether the learner is erased. Nothing is written of an erased learner, nor of a
    learner of another organization.

    Raises:
        EventError: the contract refuses it; `field` is to blame.
    """
    query = learner.query
    new = event(kind, query.user_id, learner.owner, event_id or new_id(), query.at, fields, query.now)
    return new.id, await write(db, learner, [new], names=names, commit=commit)


def outcomes(learner: LearnerSnapshot, fields: Sequence[Mapping[str, Any]]) -> list[Event]:
    """Outcomes of a learner, in order, from their fields: `event_id`, `occurred_at` (ms) and the others.

    Raises:
        EventError: the contract refuses one; `field` names its place, too.
    """
    query, events = learner.query, []
    for place, of_one in enumerate(fields):
        rest = {name: value for name, value in of_one.items() if name not in ("event_id", "occurred_at")}
        number, at = of_one["event_id"], of_one["occurred_at"]
        try:
            events.append(event(Kind.OUTCOME, query.user_id, learner.owner, number, at, rest, query.now))
        except EventError as error:
            reason = error.reason.removeprefix(f"{error.field}: ")
            raise EventError(reason, f"outcomes[{place}].{error.field or ''}".rstrip(".")) from None
    return events


async def write(
    db: AsyncSession, learner: LearnerSnapshot, events: Sequence[Event], *, names: Names, commit: bool
) -> bool:
    """Write events of a learner into the outbox, all or none; gives whether the learner is erased.

    Nothing is written of an erased learner, nor of a learner of another organization.
    """
    if learner.foreign:
        return False
    written = await queue.add(db, [event.outgoing(names) for event in events])
    if commit:
        await db.commit()
    return not written


def progress(
    user_id: int,
    row: Mapping[str, Any] | None,
    remaining: Mapping[str, int],
    marker: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The progress of an erasure, from its row in the outbox, the remaining rows and the erasure marker."""
    request: dict[str, Any] = {} if row is None else msgspec.json.decode(row["value"])
    times: Mapping[str, Any] = marker or dict.fromkeys(("erased_at", "epoch", "stored_at", "topics_at"))
    if row is None and marker is None:
        status = "not_requested"
    elif row is not None and row["sent_at"] is None:
        status = "requested"
    elif times["topics_at"] is None or (remaining and not _is_open(times)) or _is_newer(request, times):
        status = "sent"
    else:
        status = "done"
    return {
        "user_id": user_id,
        "status": status,
        "requested_at": request.get(time_field(Kind.ERASURE)) or text_of(times["erased_at"]),
        "sent_at": None if row is None else text_of(row["sent_at"]),
        "event_id": request.get("event_id"),
        "remaining": dict(remaining),
        "message": _MESSAGES[status],
        **_removal(times),
    }


def _is_newer(request: Mapping[str, Any], marker: Mapping[str, Any]) -> bool:
    """Whether the erasure was requested after the one that the marker records."""
    at = request.get(time_field(Kind.ERASURE))
    return (
        at is not None and "consented_at" not in request and datetime.fromisoformat(at) > marker["erased_at"]
    )


def _is_open(marker: Mapping[str, Any]) -> bool:
    """Whether a consent followed: rows stored since then are not to be erased."""
    return marker["epoch"] is not None and marker["epoch"] > marker["erased_at"]


def _removal(marker: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say what was removed where, and until when compaction may keep its bytes."""
    gone_at = marker["topics_at"]
    compacted = None if gone_at is None else gone_at + timedelta(milliseconds=COMPACTION_LAG_MS)
    until = None if compacted is None else compacted + timedelta(milliseconds=DELETE_RETENTION_MS)
    return {
        "removed": _counts(marker.get("removed")),
        "removed_at": text_of(marker["stored_at"]),
        "topics_removed": _counts(marker.get("topics")),
        "topics_removed_at": text_of(gone_at),
        "compacted_by": text_of(compacted),
        "tombstones_until": text_of(until),
        "fence_at": text_of(marker["erased_at"]),
        "consented_at": text_of(marker["epoch"]),
        "kept": list(KEPT),
    }


def _counts(stored: Any) -> dict[str, int]:
    return dict(msgspec.json.decode(stored) if isinstance(stored, str) else stored or {})

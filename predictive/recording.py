"""Events that the API records: made to the contract, checked as the worker checks, sent by the outbox."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from models.event_types import StruggleRequest
from models.events import EventError, Kind, decode, event_id_hash, time_field
from models.questions import Request
from predictive.shapes import text_of
from storage import lookups, outbox
from storage.outbox import Outgoing
from streams.topics import Names

__all__ = ["Event", "event", "new_id", "progress", "question", "record"]

_ID_FIELD: Final = {Kind.STRUGGLE_REQUEST: "request_id"}
_MESSAGES: Final = {
    "not_requested": "Nobody has asked for this learner's erasure.",
    "requested": "The request is stored and waits to be sent to the log.",
    "sent": "The request is in the log; what is listed as remaining is still to be erased.",
    "done": "Nothing of this learner is stored any more.",
}


@dataclass(frozen=True, slots=True)
class Event:
    """An event that the worker will accept.

    Attributes:
        kind: what it is.
        id: its event or request id.
        at: when it happened, ms.
        value: its UTF-8 JSON.
        row: the same, decoded.
    """

    kind: Kind
    id: str
    at: int
    value: bytes
    row: Any

    def outgoing(self, names: Names) -> Outgoing:
        """The event as it stands in the outbox."""
        return Outgoing(names.topic(self.kind), self.row.user_id, self.value, self.row.organization_id)

    def request(self) -> Request:
        """The question of a struggle request."""
        asked: StruggleRequest = self.row
        number = event_id_hash(asked.request_id)
        return Request(asked.request_id, asked.content_id, self.at, number, asked.content_metadata)


def new_id() -> str:
    """An id that no event has."""
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
    """An event that happened at an instant in ms.

    Raises:
        EventError: the contract refuses it; `field` is to blame.
    """
    said = {
        _ID_FIELD.get(kind, "event_id"): event_id,
        "user_id": user_id,
        "organization_id": organization,
        time_field(kind): text_of(at),
        **{name: value for name, value in fields.items() if value is not None},
    }
    value = msgspec.json.encode(said)
    columns, rejected = decode(kind, [b"%d" % user_id], [value], [now])
    for refused in rejected:
        raise EventError(refused.reason, refused.field)
    return Event(kind, event_id, at, value, columns.rows[0])


def question(
    user_id: int, organization: int | None, request_id: str, at: int, metadata: Mapping[str, Any]
) -> Event:
    """A struggle request; see `event`."""
    fields = {"content_metadata": metadata}
    return event(Kind.STRUGGLE_REQUEST, user_id, organization, request_id, at, fields, at)


async def record(
    db: AsyncSession,
    kind: Kind,
    user_id: int,
    organization: int | None,
    fields: Mapping[str, Any],
    *,
    at: int,
    now: int,
    names: Names,
    commit: bool,
    event_id: str | None = None,
) -> Event:
    """An event, written into the outbox; nothing is written of a learner of another organization.

    Raises:
        EventError: the contract refuses it; `field` is to blame.
    """
    _, rows = await lookups.learners(db, [user_id], organization, now, ())
    owner = next((row["organization_id"] for row in rows if row["mine"]), None) or organization
    made = event(kind, user_id, owner, event_id or new_id(), at, fields, now)
    if not any(row["foreign"] for row in rows):
        await outbox.add(db, [made.outgoing(names)])
        if commit:
            await db.commit()
    return made


def progress(user_id: int, asked: Mapping[str, Any] | None, remaining: Mapping[str, int]) -> dict[str, Any]:
    """How far an erasure has come, from its row in the outbox and what is stored."""
    said: dict[str, Any] = {} if asked is None else msgspec.json.decode(asked["value"])
    sent_at = None if asked is None else asked["sent_at"]
    if asked is None:
        status = "not_requested"
    elif sent_at is None:
        status = "requested"
    else:
        status = "sent" if remaining else "done"
    return {
        "user_id": user_id,
        "status": status,
        "requested_at": said.get(time_field(Kind.ERASURE)),
        "sent_at": text_of(sent_at),
        "event_id": said.get("event_id"),
        "remaining": dict(remaining),
        "message": _MESSAGES[status],
    }

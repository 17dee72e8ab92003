"""The smallest valid record of each kind, and what `decode` makes of a changed one."""

import json
from typing import Any

from lyo.models.events.decode import Columns, Kind, Rejected, decode

NOON = "2026-03-01T12:00:00Z"
NOON_MS = 1_772_366_400_000
LATER = NOON_MS + 1_000

VALID: dict[Kind, dict[str, Any]] = {
    Kind.LESSON_COMPLETION: {
        "event_id": "e1",
        "user_id": 7,
        "occurred_at": NOON,
        "content_id": "c1",
        "skills": ["s1"],
    },
    Kind.SESSION: {"event_id": "e1", "user_id": 7, "started_at": NOON},
    Kind.SENTIMENT: {"event_id": "e1", "user_id": 7, "occurred_at": NOON, "sentiment": -0.25},
    Kind.OUTCOME: {"event_id": "e1", "user_id": 7, "occurred_at": NOON, "kind": "returned"},
    Kind.PREFERENCES: {"event_id": "e1", "user_id": 7, "updated_at": NOON},
    Kind.STRUGGLE_REQUEST: {
        "request_id": "r1",
        "user_id": 7,
        "requested_at": NOON,
        "content_metadata": {"content_id": "c1"},
    },
    Kind.ERASURE: {"event_id": "e1", "user_id": 7, "requested_at": NOON},
}
TIME = {kind: next(name for name in fields if name.endswith("_at")) for kind, fields in VALID.items()}


def encode(kind: Kind, /, **changes: Any) -> bytes:
    fields = VALID[kind] | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def read(
    kind: Kind, value: bytes, key: bytes | None = b"7", stamp: int = LATER
) -> tuple[Columns, list[Rejected]]:
    return decode(kind, [key], [value], [stamp])


def accept(kind: Kind, /, **changes: Any) -> Columns:
    key = str(changes.get("user_id", 7)).encode()
    columns, rejected = read(kind, encode(kind, **changes), key)
    assert rejected == []
    assert len(columns.rows) == 1
    return columns


def refuse(kind: Kind, field: str | None, /, **changes: Any) -> str:
    columns, rejected = read(kind, encode(kind, **changes))
    assert columns.rows == []
    assert [(one.index, one.field) for one in rejected] == [(0, field)]
    assert field is None or field in rejected[0].reason
    return rejected[0].reason

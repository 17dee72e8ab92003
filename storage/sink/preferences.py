"""Preferences: the newest value of each field, in whatever order the events arrive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import time
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from lyo.models.events.decode import Kind, Preferences, decode
from lyo.storage.times import instant

if TYPE_CHECKING:
    from lyo.storage.sink.records import Record

FIELDS: Final = {
    "timezone": ("timezone",),
    "language": ("language",),
    "quiet_hours": ("quiet_from", "quiet_to"),
    "max_nudges_per_day": ("max_nudges_per_day",),
}
"""The columns of each field of the event."""

_KINDS: Final = {"quiet_from": "time", "quiet_to": "time", "max_nudges_per_day": "int4"}
_HEAD: Final = {"user_id": "int8", "organization_id": "int8", "updated_at": "timestamptz"}
_LOG: Final = {"log_partition": "int4", "log_offset": "int8"}


def _columns() -> dict[str, str]:
    columns = dict(_HEAD)
    for field, names in FIELDS.items():
        columns |= {name: _KINDS.get(name, "text") for name in names}
        columns |= {f"{field}_at": "timestamptz", f"{field}_event": "int8"}
    return columns | _LOG


COLUMNS: Final = _columns()


def _newest(field: str, name: str) -> str:
    newer = (
        f"excluded.{field}_at IS NOT NULL AND (t.{field}_at IS NULL OR "
        f"(excluded.{field}_at, excluded.{field}_event) > (t.{field}_at, t.{field}_event))"
    )
    return f"{name} = CASE WHEN {newer} THEN excluded.{name} ELSE t.{name} END"


def _sql() -> str:
    names = ", ".join(COLUMNS)
    arrays = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(COLUMNS.values(), 1))
    updates = [
        "organization_id = coalesce(t.organization_id, excluded.organization_id)",
        "updated_at = greatest(t.updated_at, excluded.updated_at)",
        "log_partition = excluded.log_partition",
        "log_offset = greatest(t.log_offset, excluded.log_offset)",
    ]
    for field, columns in FIELDS.items():
        updates += [_newest(field, name) for name in (*columns, f"{field}_at", f"{field}_event")]
    return (
        f"INSERT INTO preferences AS t ({names}) SELECT {names} FROM unnest({arrays}) AS n({names}) "
        f"ON CONFLICT (user_id) DO UPDATE SET {', '.join(updates)}"
    )


WRITE_SQL: Final = _sql()
TENANTS_SQL: Final = "SELECT user_id, organization_id FROM preferences WHERE user_id = ANY($1::int8[])"


def values(event: Preferences) -> dict[str, tuple[Any, ...]]:
    """The column values of each field that the event names; null clears the field."""
    named: dict[str, tuple[Any, ...]] = {}
    for field in ("timezone", "language", "max_nudges_per_day"):
        value = getattr(event, field)
        if value is not UNSET:
            named[field] = (value,)
    hours = event.quiet_hours
    if hours is None:
        named["quiet_hours"] = (None, None)
    elif hours is not UNSET:
        named["quiet_hours"] = (time.fromisoformat(hours.start), time.fromisoformat(hours.end))
    return named


def merge(row: dict[str, Any], event: Preferences, at: int, event_id: int) -> None:
    """Fold an event into a learner's row: the newest value of each field wins, by time, then by event."""
    moment = instant(at)
    row["updated_at"] = max(row.get("updated_at", moment), moment)
    if row.get("organization_id") is None:
        row["organization_id"] = event.organization_id
    for field, columns in values(event).items():
        before = (row.get(f"{field}_at"), row.get(f"{field}_event"))
        if before[0] is None or (moment, event_id) > before:
            row |= dict(zip(FIELDS[field], columns, strict=True))
            row |= {f"{field}_at": moment, f"{field}_event": event_id}


async def write_preferences(connection: Any, records: Sequence[Record]) -> None:
    """Store preference records; one of another organization than the learner's first changes nothing.

    Records that the contract refuses are left out: the worker reads them too and writes the dead letters.
    """
    columns, _ = decode(
        Kind.PREFERENCES,
        [r.key for r in records],
        [r.value for r in records],
        [r.timestamp for r in records],
    )
    users = sorted(set(columns.user.tolist()))
    if not users:
        return
    tenants = {row["user_id"]: row["organization_id"] for row in await connection.fetch(TENANTS_SQL, users)}
    rows: dict[int, dict[str, Any]] = {}
    for index, event, at, event_id in zip(
        columns.index.tolist(), columns.rows, columns.at.tolist(), columns.id.tolist(), strict=True
    ):
        user, tenant = event.user_id, event.organization_id
        if tenant is not None and (tenants.get(user) or tenant) != tenant:
            continue
        tenants[user] = tenants.get(user) or tenant
        record = records[index]
        row = rows.setdefault(user, {"user_id": user})
        row |= {"log_partition": record.partition, "log_offset": record.offset}
        merge(row, event, at, event_id)
    if rows:
        await connection.execute(WRITE_SQL, *([row.get(name) for row in rows.values()] for name in COLUMNS))

"""Erased learners in Postgres: their erasure markers, what is deleted, and what is no longer stored.

A sink reads the erasures topic whole before it stores anything, and its new records before every batch. So
nothing is stored that a known marker excludes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson

from lyo.models.erasure import ERASED_KEY, AppliedErasure, ErasureMarker, decode_applied
from lyo.models.events.decode import Kind, decode
from lyo.models.state import layout
from lyo.storage.times import instant

if TYPE_CHECKING:
    from lyo.storage.sink.merges import Plan
    from lyo.storage.sink.records import Item, Record

CLOSED: Final = "(f.epoch IS NULL OR f.epoch <= f.erased_at)"
"""Condition on a row `f` of `erasure_fences`: no event of the learner counts."""

PLAIN: Final = ("learner_rows", "skill_rows", "preferences", "outcome_facts", "content_outcomes")
"""Tables whose rows of a learner are deleted without telling subscribers."""

_KNOWN_SQL: Final = """
SELECT user_id, erased_at, epoch FROM erasure_fences WHERE user_id = ANY($1::int8[])
"""
# A consent keeps what is recorded about the erasure before it.
_AGAIN: Final = (
    "excluded.erased_at > t.erased_at AND (excluded.epoch IS NULL OR excluded.epoch <= excluded.erased_at)"
)
_PUT_SQL: Final = f"""
INSERT INTO erasure_fences AS t (user_id, organization_id, erased_at, epoch, removed)
SELECT n.*, '{{}}' FROM unnest($1::int8[], $2::int8[], $3::timestamptz[], $4::timestamptz[]) AS n
ON CONFLICT (user_id) DO UPDATE SET
    organization_id = coalesce(excluded.organization_id, t.organization_id),
    topics_at = CASE WHEN {_AGAIN} THEN NULL ELSE t.topics_at END,
    topics = CASE WHEN {_AGAIN} THEN NULL ELSE t.topics END,
    removed = CASE WHEN {_AGAIN} THEN '{{}}' ELSE t.removed END,
    stored_at = CASE WHEN {_AGAIN} THEN now() ELSE t.stored_at END,
    erased_at = greatest(t.erased_at, excluded.erased_at),
    epoch = greatest(t.epoch, excluded.epoch)
"""
_COUNT_SQL: Final = """
UPDATE erasure_fences t SET removed = t.removed || jsonb_build_object(n.name, n.rows
    + coalesce((t.removed ->> n.name)::int8, 0))
FROM unnest($1::int8[], $2::text[], $3::int8[]) AS n(user_id, name, rows) WHERE t.user_id = n.user_id
"""
_MARK_SQL: Final = """
UPDATE erasure_fences t SET topics_at = n.done_at, topics = n.removed
FROM unnest($1::int8[], $2::timestamptz[], $3::timestamptz[], $4::jsonb[])
    AS n(user_id, erased_at, done_at, removed)
WHERE t.user_id = n.user_id AND n.erased_at >= t.erased_at AND t.topics_at IS NULL
"""
_OUTBOX_SQL: Final = """
WITH gone AS (DELETE FROM outbox WHERE key = ANY($1::text[]) AND topic <> $2 RETURNING key)
SELECT key::int8 AS user_id, count(*) AS rows FROM gone GROUP BY key
"""


_ASTRAY: Final = " AND t.log_partition <> k.number"
"""Condition on a row: it was written from another partition than the learner's."""


def _plain_sql(table: str, only: str = "") -> str:
    return (
        f"WITH gone AS (DELETE FROM {table} t USING unnest($1::int8[], $2::int4[]) AS k(user_id, number) "
        f"WHERE t.user_id = k.user_id{only} RETURNING t.user_id) "
        "SELECT user_id, count(*) AS rows FROM gone GROUP BY user_id"
    )


def _told_sql(plan: Plan, only: str = "") -> str:
    """Delete the rows of learners $1 of partitions $2 and tell the subscribers of topic $3.

    A removal gets the offset of the topic's next record, which no cursor has passed yet.
    """
    key = ", ".join(f"'{name}', t.{name}" for name in (*plan.key, "id"))
    return (
        f"WITH gone AS (DELETE FROM {plan.table.name} t "
        f"USING unnest($1::int8[], $2::int4[]) AS k(user_id, number) WHERE t.user_id = k.user_id{only} "
        f"RETURNING t.user_id, t.organization_id, jsonb_build_object({key}) AS key, k.number), "
        "told AS (INSERT INTO removed_rows "
        "(topic, user_id, organization_id, key, log_partition, log_offset) "
        "SELECT $3::text, g.user_id, g.organization_id, g.key, g.number, coalesce(s.next_offset, 0) "
        "FROM gone g LEFT JOIN sink_offsets s ON s.topic = $3::text AND s.partition = g.number) "
        "SELECT user_id, count(*) AS rows FROM gone GROUP BY user_id"
    )


def _moment(at: int) -> datetime | None:
    return instant(at) if at > 0 else None


async def changed(connection: Any, markers: Mapping[int, ErasureMarker]) -> dict[int, ErasureMarker]:
    """The erasure markers that are newer than those in Postgres."""
    rows = await connection.fetch(_KNOWN_SQL, list(markers))
    known = {row["user_id"]: (row["erased_at"], row["epoch"]) for row in rows}
    return {user: marker for user, marker in markers.items() if _says_more(marker, known.get(user))}


def _says_more(marker: ErasureMarker, known: tuple[datetime, datetime | None] | None) -> bool:
    """Whether a part of a marker is newer than in Postgres; compaction may have removed the other part."""
    if known is None:
        return True
    erased_at, consented_at = known
    return instant(max(marker.erased_at, 0)) > erased_at or (
        marker.consented_at > 0 and (consented_at is None or instant(marker.consented_at) > consented_at)
    )


async def put(connection: Any, markers: Mapping[int, ErasureMarker]) -> None:
    """Write erasure markers, in the caller's transaction."""
    await connection.execute(
        _PUT_SQL,
        list(markers),
        [marker.organization or None for marker in markers.values()],
        [instant(max(marker.erased_at, 0)) for marker in markers.values()],
        [_moment(marker.consented_at) for marker in markers.values()],
    )


async def remove(
    connection: Any, numbers: Mapping[int, int], plans: Mapping[str, Plan], erasures: str
) -> int:
    """Delete every row of learners, given with their partition numbers; gives how many rows.

    The marker records how many rows of each table were deleted. In the outbox the erasure requests stay.
    """
    users = list(numbers)
    removed: list[tuple[int, str, int]] = []
    for table in PLAIN:
        rows = await connection.fetch(_plain_sql(table), users, list(numbers.values()))
        removed += [(row["user_id"], table, row["rows"]) for row in rows]
    for topic, plan in plans.items():
        rows = await connection.fetch(_told_sql(plan), users, list(numbers.values()), topic)
        removed += [(row["user_id"], plan.table.name, row["rows"]) for row in rows]
    rows = await connection.fetch(_OUTBOX_SQL, [str(user) for user in users], erasures)
    removed += [(row["user_id"], "outbox", row["rows"]) for row in rows]
    # An UPDATE takes only one source row per target row, so the tables are counted one by one.
    by_table: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
    for count in removed:
        by_table[count[1]].append(count)
    for of_table in by_table.values():
        await connection.execute(_COUNT_SQL, *map(list, zip(*of_table, strict=True)))
    return sum(rows for _, _, rows in removed)


async def remove_astray(connection: Any, numbers: Mapping[int, int], plans: Mapping[str, Plan]) -> int:
    """Delete the rows of learners that were written from another partition than theirs; gives how many."""
    users, homes = list(numbers), list(numbers.values())
    count = 0
    for table in ("learner_rows", "skill_rows"):
        rows = await connection.fetch(_plain_sql(table, _ASTRAY), users, homes)
        count += sum(row["rows"] for row in rows)
    for topic, plan in plans.items():
        rows = await connection.fetch(_told_sql(plan, _ASTRAY), users, homes, topic)
        count += sum(row["rows"] for row in rows)
    return count


async def write_applied(connection: Any, records: Iterable[Record]) -> None:
    """Record with the markers what the workers have deleted from the topics."""
    erasures: list[AppliedErasure] = [
        decode_applied(record.value) for record in records if record.value is not None
    ]
    if erasures:
        await connection.execute(
            _MARK_SQL,
            [applied.user_id for applied in erasures],
            [instant(max(applied.erased_at, 0)) for applied in erasures],
            [instant(applied.done_at) for applied in erasures],
            [orjson.dumps(applied.removed).decode() for applied in erasures],
        )


def is_applied(record: Record) -> bool:
    """Whether a record of the learners' changelog is an applied erasure that a worker can have written."""
    if record.key is None or not record.key.startswith(ERASED_KEY) or record.value is None:
        return False
    try:
        return decode_applied(record.value).user_id > 0
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


class Gate:
    """Selects what may be stored despite erasure markers.

    Args:
        markers: of the learners of a batch.
    """

    def __init__(self, markers: Mapping[int, ErasureMarker]) -> None:
        self._markers = markers

    def items(self, items: Sequence[Item], time_of: Any) -> list[Item]:
        """Rows and predictions that may be stored: all tombstones, and others by their time."""
        return [
            item
            for item in items
            if item.record.value is None
            or (marker := self._markers.get(item.user)) is None
            or (marker.is_open and time_of(item.record.value) >= marker.consented_at)
        ]

    def events(self, kind: Kind, records: Sequence[Record]) -> list[Record]:
        """Events that may be stored."""
        return [record for record in records if self._lets(kind, record)]

    def _lets(self, kind: Kind, record: Record) -> bool:
        marker = self._markers.get(int(record.key)) if record.key and record.key.isdigit() else None
        if marker is None:
            return True
        columns, _ = decode(kind, [record.key], [record.value], [record.timestamp])
        return bool(len(columns.at)) and bool(marker.lets(columns.at)[0])


class _AsOf(msgspec.Struct, gc=False):
    as_of: datetime


_as_of = msgspec.json.Decoder(_AsOf).decode


def prediction_time(value: bytes) -> int:
    """The `as_of` time (ms) of a prediction or an intervention; 0 if it has none."""
    try:
        return round(_as_of(value).as_of.timestamp() * 1000)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0


def learner_time(value: bytes) -> int:
    """The time (ms) of the newest event in a learner's row; 0 if this version cannot read it."""
    try:
        return int(layout.decode_learners([value])["newest"][0])
    except layout.LayoutError:
        return 0


def skill_time(value: bytes) -> int:
    """The time (ms) of a skill's last practice in its row; 0 if this version cannot read it."""
    try:
        return int(layout.decode_skills([value])[0]["now"]["last_at"][0])
    except (layout.LayoutError, UnicodeDecodeError):
        return 0


def users_of(items: Iterable[Sequence[Item]], events: Iterable[Sequence[Record]]) -> Collection[int]:
    """The learners of a batch."""
    of_items = {item.user for of_topic in items for item in of_topic}
    return of_items | {
        int(record.key) for of_topic in events for record in of_topic if record.key and record.key.isdigit()
    }

"""The changes after a cursor: one page, read in one snapshot of Postgres.

The sink writes each partition of a topic in the order of its offsets, and advances `sink_offsets` in the same
transaction. So a snapshot contains every row below a partition's `next_offset` and none above: reading a
partition up to `next_offset` misses nothing, even while sinks write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import orjson

from lyo.storage.faults import SinkError
from lyo.storage.sink.sources import Source, origin
from lyo.storage.subscription.cursor import Cursor, Key, Position, Stage, below

Operation = Literal["changed", "removed", "reset"]

_STATE_SQL: Final = """
SELECT e.epoch, e.forgotten_before, now() AS now,
       coalesce((SELECT json_agg(json_build_array(topic, partition, next_offset)) FROM sink_offsets), '[]')
           AS offsets
FROM stream_epoch e
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change for a subscriber.

    Attributes:
        kind: of prediction or intervention, such as `dropout-risk`; None for a reset.
        operation: `changed`: the row is new or has a new state; `removed`: the row is deleted, perhaps before
            this subscriber saw it; `reset`: drop all rows, every row follows again.
        cursor: pass it as `after` to continue behind this change.
        user_id, organization_id: of the row.
        subject: the row's skill, content or intervention, if the kind has one.
        key: the columns that identify the row permanently, and its `id`, which a rebuild or a restore
        changes.
        row: all its columns as JSON types; None unless changed.
        log_partition, log_offset: the place in the kind's topic of the record that changed or removed the
        row.
        reason: of a reset.
    """

    kind: str | None
    operation: Operation
    cursor: str
    user_id: int | None = None
    organization_id: int | None = None
    subject: str | None = None
    key: dict[str, Any] = field(default_factory=dict)
    row: dict[str, Any] | None = None
    log_partition: int | None = None
    log_offset: int | None = None
    reason: str | None = None

    def json(self) -> bytes:
        """The change as one line of JSON, without a newline."""
        return orjson.dumps(self)


class Page(NamedTuple):
    """Changes in order, and whether they are all changes of the snapshot."""

    changes: list[Change]
    complete: bool


class _State(NamedTuple):
    """The generation of the tables' contents in the snapshot, and the stored offsets."""

    generation: UUID
    forgotten_before: datetime | None
    now: int
    offsets: Mapping[Key, int]
    topics: Mapping[str, str]


def _page_sql(source: Source, organization: bool) -> str:
    """Removals and rows of one kind after a position, partition by partition.

    $1: partitions; $2: offsets; $3 and $4: the last delivered ids of removals and rows at those offsets; $5:
    the topic; $6: the most per partition; $7: the organization.
    """
    tenant = " AND {0}.organization_id = $7" if organization else ""
    removed = (
        "SELECT 0 AS stage, r.id, r.log_offset, r.user_id, r.organization_id, r.key::text AS body "
        "FROM removed_rows r WHERE r.topic = $5 AND r.log_partition = c.log_partition "
        f"AND (r.log_offset, r.id) > (c.log_offset, c.removed_after){tenant.format('r')} "
        "ORDER BY r.log_offset, r.id LIMIT $6"
    )
    changed = (
        "SELECT 1, t.id, t.log_offset, t.user_id, t.organization_id, row_to_json(t)::text "
        f"FROM {source.table.name} t WHERE t.log_partition = c.log_partition "
        f"AND (t.log_offset, t.id) > (c.log_offset, c.changed_after){tenant.format('t')} "
        "ORDER BY t.log_offset, t.id LIMIT $6"
    )
    return (
        "SELECT c.log_partition, b.* FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::int8[]) "
        "AS c(log_partition, log_offset, removed_after, changed_after), "
        f"LATERAL (({removed}) UNION ALL ({changed}) ORDER BY log_offset, stage, id LIMIT $6) b "
        "ORDER BY c.log_partition, b.log_offset, b.stage, b.id"
    )


class Reader:
    """Reads pages of changes and advances its cursor."""

    def __init__(
        self,
        sources: Sequence[Source],
        after: Cursor | None,
        *,
        organization: int = 0,
        most: int,
    ) -> None:
        self._sources = {source.kind: source for source in sources}
        self._cursor = None if after is None else after.widened(self._sources)
        self._organization = organization
        self._most = most
        self._sql = {source.kind: _page_sql(source, organization != 0) for source in sources}
        self._last: Key = ("", -1)
        # If a kind of the cursor is not followed now, its removals are missed, so `seen_at` must not move.
        self._follows_all = after is None or set(after.kinds) <= set(self._sources)

    @property
    def cursor(self) -> str | None:
        """The cursor after the pages read so far; None before the first."""
        return None if self._cursor is None else self._cursor.encode()

    async def page(self, connection: Any) -> Page:
        """The next changes, at most a page.

        Raises:
            lyo.storage.faults.SinkError: the tables have no generation, or rows of several prefixes.
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: see `lyo.storage.faults.judge`.
        """
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            state = await self._state(connection)
            reason = self._why_reset(state)
            if reason is not None:
                return self._reset(state, reason)
            cursor = self._begun(state)
            behind = [
                key
                for key, end in state.offsets.items()
                if key[0] in self._sources and cursor.position(key).offset < end
            ]
            keys = self._turn(behind)
            rows = await self._rows(connection, state, cursor, keys)
        # The snapshot has ended. Nothing below fails, so the cursor moves with the whole page or not at all.
        return self._deliver(state, cursor, rows, everything=len(keys) == len(behind))

    async def _state(self, connection: Any) -> _State:
        row = await connection.fetchrow(_STATE_SQL)
        if row is None:
            raise SinkError("table stream_epoch is empty: run `lyo migrate`, then `lyo sink --rebuild`")
        offsets, topics = _stored(orjson.loads(row["offsets"]))
        return _State(row["epoch"], row["forgotten_before"], _ms(row["now"]), offsets, topics)

    # ------------------------------------------------------------ where a page begins

    def _why_reset(self, state: _State) -> str | None:
        cursor = self._cursor
        if cursor is None:
            return None
        if cursor.generation != state.generation:
            return "the tables were rebuilt, or this is another database, since the cursor was given"
        if state.forgotten_before is not None and cursor.seen_at < _ms(state.forgotten_before):
            return "the cursor is older than what is remembered of removed rows"
        # If the same records are stored again, the rows are the same but their ids differ.
        if any(position > below(state.offsets.get(key, 0)) for key, position in cursor.positions.items()):
            return "the tables are behind the cursor: the database was restored, or a replica took over"
        return None

    def _reset(self, state: _State, reason: str) -> Page:
        self._cursor = None
        self._follows_all = True
        cursor = self._begun(state)
        return Page(
            [Change(kind=None, operation="reset", cursor=cursor.encode(), reason=reason)], complete=False
        )

    def _begun(self, state: _State) -> Cursor:
        if self._cursor is None:
            self._cursor = Cursor(self._sources, state.generation, state.now, self._organization)
        return self._cursor

    # ------------------------------------------------------------ rows

    def _turn(self, behind: list[Key]) -> list[Key]:
        """At most a page's number of topic-partitions, beginning after the last one served."""
        if len(behind) <= self._most:
            return behind
        later = [key for key in behind if key > self._last]
        turn = (later + behind)[: self._most]
        self._last = turn[-1]
        return turn

    async def _rows(
        self, connection: Any, state: _State, cursor: Cursor, keys: Sequence[Key]
    ) -> dict[Key, list[Any]]:
        limit = self._most // max(len(keys), 1)
        rows: dict[Key, list[Any]] = {key: [] for key in keys}
        for kind, of_kind in groupby(keys, key=lambda key: key[0]):
            numbers = [number for _, number in of_kind]
            places = [cursor.position((kind, number)) for number in numbers]
            arguments = [
                numbers,
                [place.offset for place in places],
                [place.removed_after for place in places],
                [place.changed_after for place in places],
                state.topics[kind],
                limit,
            ]
            if self._organization:
                arguments.append(self._organization)
            for row in await connection.fetch(self._sql[kind], *arguments):
                rows[kind, row["log_partition"]].append(row)
        return rows

    def _deliver(
        self, state: _State, cursor: Cursor, rows: Mapping[Key, list[Any]], *, everything: bool
    ) -> Page:
        """Move the cursor change by change; a topic-partition with fewer rows than the limit has no more."""
        limit = self._most // max(len(rows), 1)
        drained = {key for key, of_key in rows.items() if len(of_key) < limit}
        complete = everything and len(drained) == len(rows)
        for key in drained:
            if not rows[key]:
                cursor.move(key, below(state.offsets[key]))
        steps = [
            (key, row, key in drained and row is of_key[-1]) for key, of_key in rows.items() for row in of_key
        ]
        changes = []
        for number, (key, row, last) in enumerate(steps, 1):
            here = Position(row["log_offset"], Stage(row["stage"]), row["id"])
            cursor.move(key, below(state.offsets[key]) if last else here)
            if complete and number == len(steps):
                self._saw_all(state, cursor)
            changes.append(self._change(key, row, cursor.encode()))
        if complete:
            self._saw_all(state, cursor)
        return Page(changes, complete)

    def _saw_all(self, state: _State, cursor: Cursor) -> None:
        if self._follows_all:
            cursor.seen_at = state.now

    def _change(self, key: Key, row: Any, cursor: str) -> Change:
        source = self._sources[key[0]]
        body = orjson.loads(row["body"])
        changed = row["stage"] == Stage.CHANGED
        return Change(
            kind=source.kind,
            operation="changed" if changed else "removed",
            cursor=cursor,
            user_id=row["user_id"],
            organization_id=row["organization_id"],
            subject=body[source.subject] if source.subject else None,
            key={name: body[name] for name in (*source.key, "id")},
            row=body if changed else None,
            log_partition=key[1],
            log_offset=row["log_offset"],
        )


def _stored(places: Iterable[tuple[str, int, int]]) -> tuple[dict[Key, int], dict[str, str]]:
    """The next offsets of every kind's topic-partitions, followed or not, and the topics by kind.

    Raises:
        lyo.storage.faults.SinkError: topics have several prefixes, whose rows cannot be distinguished.
    """
    offsets, topics, prefixes = {}, {}, set()
    for topic, number, end in places:
        if (place := origin(topic)) is not None:
            prefix, kind = place
            offsets[kind, number] = end
            topics[kind] = topic
            prefixes.add(prefix)
    if len(prefixes) > 1:
        raise SinkError(
            f"the database holds topics of several prefixes ({', '.join(sorted(prefixes))}), whose rows "
            "cannot be told apart: run `lyo sink --rebuild` with the one that it is for"
        )
    return dict(sorted(offsets.items())), topics


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)

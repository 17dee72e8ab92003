"""The sink's offsets: in Postgres, moved in the transaction that stores the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from lyo.storage.faults import SinkError


class Place(NamedTuple):
    """A topic-partition."""

    topic: str
    partition: int


@dataclass(slots=True)
class Position:
    """This sink's next offset of a topic-partition, and the number of its claim on it."""

    next_offset: int
    claim: int


class Stolen(SinkError):
    """Another sink has claimed a partition that this one writes."""

    def __init__(self, places: Iterable[Place]) -> None:
        named = ", ".join(f"{place.topic}-{place.partition}" for place in sorted(places))
        super().__init__(
            f"another sink has taken over {named}; this one stops (start it again to share the work)"
        )


CREATED_AGAIN: Final = (
    "the topic was created again. If a worker that is started refuses it, too, run lyo rebuild; else rebuild "
    "the tables alone: lyo sink --rebuild (docs/rebuild.md)"
)
_CLAIM_SQL: Final = """
INSERT INTO sink_offsets AS t (topic, partition, next_offset, epoch, topic_id)
SELECT topic, partition, first, 1, topic_id
FROM unnest($1::text[], $2::int4[], $3::int8[], $4::text[]) AS n(topic, partition, first, topic_id)
ORDER BY topic, partition
ON CONFLICT (topic, partition) DO UPDATE
    SET epoch = t.epoch + 1, topic_id = coalesce(t.topic_id, excluded.topic_id), updated_at = now()
RETURNING topic, partition, next_offset, epoch, topic_id
"""
_ADVANCE_SQL: Final = """
UPDATE sink_offsets t SET next_offset = n.next_offset, updated_at = now()
FROM unnest($1::text[], $2::int4[], $3::int8[], $4::int8[], $5::int8[])
    AS n(topic, partition, expected, next_offset, epoch)
WHERE t.topic = n.topic AND t.partition = n.partition AND t.next_offset = n.expected AND t.epoch = n.epoch
RETURNING t.topic, t.partition
"""
_READ_SQL: Final = """
SELECT t.topic, t.partition, t.next_offset, t.epoch
FROM unnest($1::text[], $2::int4[]) AS n(topic, partition) JOIN sink_offsets t USING (topic, partition)
"""
# Transactions of one partition number run one after another: each sees what those of other topics stored,
# so an outcome always finds the row that it is about, or the row the outcome.
_LOCK_SQL: Final = "SELECT pg_advisory_xact_lock($1, n) FROM unnest($2::int4[]) AS n"
_LOCKS: Final = 1_819_897_709  # an arbitrary constant that no other program uses


async def lock(connection: Any, partitions: Iterable[int]) -> None:
    """Wait for the transactions that write the same partition numbers, until this one ends."""
    await connection.execute(_LOCK_SQL, _LOCKS, sorted(set(partitions)))


async def claim(
    connection: Any, first: Mapping[Place, int], ids: Mapping[str, str] | None = None
) -> dict[Place, Position]:
    """Take over topic-partitions; earlier owners are refused from now on.

    Args:
        connection: in a transaction.
        first: where to begin a topic-partition that has no stored offset.
        ids: the topics' ids, as far as Kafka tells them.

    Raises:
        SinkError: the stored offset belongs to another topic of that name.
    """
    known = ids or {}
    rows = await connection.fetch(
        _CLAIM_SQL,
        [p.topic for p in first],
        [p.partition for p in first],
        list(first.values()),
        [known.get(p.topic) for p in first],
    )
    for row in rows:
        topic_id = known.get(row["topic"], row["topic_id"])
        if topic_id != row["topic_id"]:
            raise SinkError(
                f"{row['topic']}-{row['partition']} has the id {topic_id}, but what was stored up to offset "
                f"{row['next_offset']} is of {row['topic_id']}: {CREATED_AGAIN}"
            )
    return _positions(rows)


async def advance(connection: Any, positions: Mapping[Place, Position], target: Mapping[Place, int]) -> bool:
    """Advance the offsets in the caller's transaction; False if an earlier attempt has done so.

    Raises:
        Stolen: another sink has claimed one of them.
    """
    places = sorted(target)
    moved = await connection.fetch(
        _ADVANCE_SQL,
        [place.topic for place in places],
        [place.partition for place in places],
        [positions[place].next_offset for place in places],
        [target[place] for place in places],
        [positions[place].claim for place in places],
    )
    if len(moved) == len(places):
        return True
    rows = await connection.fetch(
        _READ_SQL, [place.topic for place in places], [place.partition for place in places]
    )
    stored = _positions(rows)
    wanted = {place: Position(target[place], positions[place].claim) for place in places}
    if not moved and stored == wanted:
        # The connection broke after the commit and before its answer.
        return False
    raise Stolen(
        place
        for place in places
        if stored.get(place) != Position(positions[place].next_offset, positions[place].claim)
    )


def _positions(rows: Iterable[Any]) -> dict[Place, Position]:
    return {Place(row["topic"], row["partition"]): Position(row["next_offset"], row["epoch"]) for row in rows}


def check_range(place: Place, next_offset: int, first: int, end: int) -> None:
    """Refuse an offset outside of the log.

    Raises:
        SinkError: the topic was deleted and created again, or records that were never read are gone.
    """
    if next_offset > end:
        raise SinkError(
            f"{place.topic}-{place.partition} ends at offset {end}, but {next_offset} was stored: "
            f"{CREATED_AGAIN}"
        )
    if next_offset < first:
        raise SinkError(
            f"{place.topic}-{place.partition} begins at offset {first}, but {next_offset} is next: "
            "records were deleted unread. Rebuild the tables from the topics: lyo sink --rebuild"
        )

"""Writes one batch of records of any topics to Postgres, in one transaction with its offsets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from lyo.models.erasure import ErasureMarker, ErasureMarkers
from lyo.models.events.decode import Kind, partition
from lyo.storage.sink import erasures, outcomes, preferences, rows, struggle_outcomes
from lyo.storage.sink.merges import INTERVENTIONS, PLANS, Plan, delete_sql, merge_sql
from lyo.storage.sink.offsets import Place, Position, advance, lock
from lyo.storage.sink.records import (
    BY_CONTENT,
    BY_SKILL,
    BY_USER,
    Item,
    Record,
    Refusal,
    screen_predictions,
    screen_rows,
)
from lyo.streams.failpoints import Failpoints
from lyo.streams.topics import Names

CHANNEL: Final = "lyo_changes"
_NOTIFY_SQL: Final = f"SELECT pg_notify('{CHANNEL}', said) FROM unnest($1::text[]) AS said"


class Connection(Protocol):
    """The methods of an asyncpg connection that are used."""

    async def execute(self, query: str, *args: Any) -> str: ...  # noqa: D102
    async def fetch(self, query: str, *args: Any) -> list[Any]: ...  # noqa: D102
    def transaction(self) -> Any: ...  # noqa: D102


@dataclass(slots=True)
class Batch:
    """Records to store by topic, and records that are refused before Postgres sees them."""

    items: dict[str, list[Item]] = field(default_factory=dict)
    events: dict[str, list[Record]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    applied: list[Record] = field(default_factory=list)
    partitions: set[int] = field(default_factory=set)

    @property
    def stored(self) -> int:
        """The number of records that reach Postgres."""
        return sum(map(len, self.items.values())) + sum(map(len, self.events.values()))


class Writer:
    """Writes the records of each topic to its tables."""

    def __init__(self, names: Names, tenant_of: rows.TenantOf, failpoints: Failpoints | None = None) -> None:
        self._tenant_of = tenant_of
        self._failpoints = failpoints or Failpoints()
        self.plans: dict[str, Plan] = {names.prediction(kind): plan for kind, plan in PLANS.items()}
        self.plans[names.interventions] = INTERVENTIONS
        self._merge = {topic: merge_sql(plan) for topic, plan in self.plans.items()}
        self._delete = {topic: delete_sql(plan) for topic, plan in self.plans.items()}
        self._learners, self._skills = names.learner_rows, names.skill_rows
        self._outcomes, self._preferences = names.topic(Kind.OUTCOME), names.topic(Kind.PREFERENCES)
        self._kinds = {self._outcomes: Kind.OUTCOME, self._preferences: Kind.PREFERENCES}
        self._erasures = names.topic(Kind.ERASURE)
        self._contents, self._organizations = names.topic(Kind.CONTENT), names.topic(Kind.ORGANIZATION)

    @property
    def topics(self) -> list[str]:
        """All topics that are stored."""
        return [
            *self.plans,
            self._learners,
            self._skills,
            self._outcomes,
            self._preferences,
            self._contents,
            self._organizations,
        ]

    def prepare(self, records: Iterable[Record]) -> Batch:
        """Select the newest record per key of each topic, and refuse records that cannot be decoded."""
        by_topic: dict[str, list[Record]] = defaultdict(list)
        batch = Batch()
        for record in records:
            by_topic[record.topic].append(record)
            batch.partitions.add(record.partition)
        for topic, of_topic in by_topic.items():
            if topic in self.plans:
                screened = screen_predictions(of_topic, self.plans[topic].subject)
            elif topic in {self._learners, self._skills}:
                screened = screen_rows(of_topic, BY_USER if topic == self._learners else BY_SKILL)
                batch.applied += filter(erasures.is_applied, of_topic)
            else:
                batch.events[topic] = of_topic
                continue
            batch.items[topic] = screened.items
            batch.refused += screened.refused
        return batch

    async def store(
        self,
        connection: Connection,
        batch: Batch,
        positions: Mapping[Place, Position],
        target: Mapping[Place, int],
        markers: ErasureMarkers | None = None,
    ) -> bool:
        """Store a batch and advance the offsets to `target`; False if an earlier attempt has done so.

        What `markers` exclude is not stored.

        Raises:
            lyo.storage.sink.offsets.Stolen: another sink has claimed one of the partitions.
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: see `lyo.storage.faults.judge`.
        """
        async with connection.transaction():
            await lock(connection, batch.partitions)
            self._failpoints("sink_begun")
            if not await advance(connection, positions, target):
                return False
            self._failpoints("sink_offsets")
            await self._write(connection, batch if markers is None else self._admitted(batch, markers))
            self._failpoints("sink_rows")
            lines = [f"{place.topic} {place.partition} {offset}" for place, offset in target.items()]
            await connection.execute(_NOTIFY_SQL, [line for line in lines if not self._internal(line)])
            self._failpoints("sink_notified")
        self._failpoints("sink_committed")
        return True

    async def erase(
        self, connection: Connection, markers: Mapping[int, ErasureMarker], partitions: int
    ) -> int:
        """Write markers and delete every row of their learners, in one transaction; gives how many rows."""
        numbers = {user: partition(user, partitions) for user in markers}
        async with connection.transaction():
            await lock(connection, numbers.values())
            await erasures.put(connection, markers)
            return await erasures.remove(connection, numbers, self.plans, self._erasures)

    async def put_right(
        self, connection: Connection, records: Sequence[Record], numbers: Mapping[int, int]
    ) -> int:
        """Write the newest records of learners' own partitions over what was stored from others.

        What only others had is deleted; gives how many rows were. ``numbers``: the learners' own.
        """
        batch = self.prepare(records)
        async with connection.transaction():
            await lock(connection, numbers.values())
            await self._write(connection, batch)
            return await erasures.remove_astray(connection, numbers, self.plans)

    def _admitted(self, batch: Batch, markers: ErasureMarkers) -> Batch:
        """The batch without what erasure markers exclude."""
        users = erasures.users_of(batch.items.values(), (batch.events.get(name, ()) for name in self._kinds))
        of_batch = {user: marker for user in users if (marker := markers.get(user)) is not None}
        if not of_batch:
            return batch
        gate = erasures.Gate(of_batch)
        items = {name: gate.items(of_topic, self._time_of(name)) for name, of_topic in batch.items.items()}
        events = {
            name: gate.events(self._kinds[name], of_topic) if name in self._kinds else of_topic
            for name, of_topic in batch.events.items()
        }
        return replace(batch, items=items, events=events)

    def _time_of(self, topic: str) -> Callable[[bytes], int]:
        times = {self._learners: erasures.learner_time, self._skills: erasures.skill_time}
        return times.get(topic, erasures.prediction_time)

    def _internal(self, line: str) -> bool:
        return line.split(" ", 1)[0] in {self._learners, self._skills}

    async def _write(self, connection: Connection, batch: Batch) -> None:
        touched: set[int] = set()
        answered: set[tuple[int, str]] = set()
        learners = batch.items.get(self._learners, [])
        await rows.write_learners(connection, learners, self._tenant_of)
        await rows.write_skills(connection, batch.items.get(self._skills, []))
        for topic in self.plans:
            if batch.items.get(topic):
                written = await self._predictions(connection, topic, batch.items[topic])
                touched |= {user for user, _ in written}
                if self.plans[topic].subject == BY_CONTENT:
                    answered |= written
        if self._outcomes in batch.events:
            told = outcomes.facts(batch.events[self._outcomes])
            touched |= await outcomes.write_facts(connection, told.facts)
            answered |= await struggle_outcomes.write(connection, told.of_contents)
        await outcomes.derive(connection, touched)
        await struggle_outcomes.derive(connection, answered)
        if self._preferences in batch.events:
            await preferences.write_preferences(connection, batch.events[self._preferences])
        await erasures.write_applied(connection, batch.applied)
        if self._contents in batch.events:
            await rows.write_contents(connection, batch.events[self._contents])
        if self._organizations in batch.events:
            await rows.write_organizations(connection, batch.events[self._organizations])

    async def _predictions(
        self, connection: Connection, topic: str, items: Sequence[Item]
    ) -> set[tuple[int, str]]:
        """Write a topic's predictions; gives the learners and subjects of those that are not deleted."""
        plan = self.plans[topic]
        kept = [item for item in items if item.record.value is not None]
        # An episode that the newest record lacks is deleted; rows of other tables only by tombstones.
        gone = items if plan.episode else [item for item in items if item.record.value is None]
        if kept:
            together = b"[" + b",".join([item.record.value or b"" for item in kept]) + b"]"
            await connection.execute(self._merge[topic], together.decode(), *_places(kept))
        if gone:
            users, subjects = [item.user for item in gone], [item.subject for item in gone]
            await connection.execute(self._delete[topic], users, subjects, *_places(gone), topic)
        return {(item.user, item.subject) for item in kept}


def _places(items: Sequence[Item]) -> tuple[list[int], list[int]]:
    return [item.record.partition for item in items], [item.record.offset for item in items]

"""Looks at the broker and Postgres again and again, never at the workers, and keeps what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import asyncpg
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from lyo.ops.monitor import composing, lag
from lyo.ops.monitor.ages import Ages
from lyo.ops.monitor.broker import Broker, Group, Logs
from lyo.ops.monitor.composing import Said, Tracks, Watched
from lyo.ops.monitor.dead_letters import DeadLetterFollower
from lyo.ops.monitor.history import History
from lyo.ops.monitor.reading import Waiting
from lyo.ops.monitor.restores import Openings
from lyo.ops.monitor.snapshot import GroupLag, Member, Reached, Snapshot, Stored
from lyo.storage.reads import monitoring
from lyo.storage.sink.offsets import Place
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from lyo.streams import topics
from lyo.streams.clock import Clock
from lyo.streams.kafka.client_ids import sink_group
from lyo.streams.kafka.security import SecurityError
from lyo.streams.log import logger
from lyo.streams.settings import Settings

T = TypeVar("T")

WORKERS: Final = "workers"
SINK: Final = "sink"
LONGEST_LOOK_SECONDS: Final = 60.0
AWAY: Final = (KafkaError, SecurityError, OSError, TimeoutError)
AWAY_POSTGRES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

log = logger("monitor")


def watched(settings: Settings) -> list[Watched]:
    """The groups of a deployment: the workers' and the sinks', with the topics of each."""
    names = topics.names(settings)
    stored = Writer(names, tenant_of).topics
    return [
        Watched(WORKERS, settings.app_id, tuple(names.inputs)),
        Watched(SINK, sink_group(settings), tuple(stored)),
    ]


def rules(settings: Settings) -> lag.Rules:
    """The limits of the statuses, from the settings."""
    return lag.Rules(
        lagging_ms=round(settings.monitor_lagging_seconds * 1000),
        stalled_ms=round(settings.monitor_stalled_seconds * 1000),
        transaction_ms=settings.transaction_timeout_ms,
    )


@dataclass(slots=True)
class _FromKafka:
    """What the broker said in one look."""

    reached: Reached
    logs: Logs | None = None
    groups: dict[str, Group] = field(default_factory=dict)


@dataclass(slots=True)
class _FromPostgres:
    """What Postgres said in one look."""

    reached: Reached
    offsets: dict[Place, int] | None = None
    stored: Stored = field(default_factory=Stored)


class Monitor:
    """Holds the connections and the past; `look` is one look."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.watched = watched(settings)
        self.history = History(settings.monitor_history_minutes * 60_000)
        self.newest: Snapshot | None = None
        self.looked_at: float | None = None
        self._names = topics.names(settings)
        self._specs = {spec.name: spec.partitions for spec in topics.specs(settings)}
        self._clock = Clock(settings.clock)
        self._tracks = Tracks(rules(settings))
        self._openings = Openings(settings.monitor_restore_rate)
        self._ages = Ages(self._names.predictions)
        self._dead_letters = DeadLetterFollower(settings, self._names.dead_letters)
        self._broker: Broker | None = None
        self._connection: Any = None
        self._survey: monitoring.Survey | None = None
        self._surveying: asyncio.Task[None] | None = None
        self._next_survey = 0.0

    # ------------------------------------------------------------ looking

    async def run(self, stop: asyncio.Event) -> None:
        """Look at the settings' interval until stopped; a look that fails in any way is only logged."""
        while not stop.is_set():
            began = time.monotonic()
            try:
                async with asyncio.timeout(LONGEST_LOOK_SECONDS):
                    await self.look()
            except Exception:
                log.exception("a look failed")
                await self.close()
            pause = began + self.settings.monitor_interval_seconds - time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(pause, 0.05))

    async def look(self) -> Snapshot:
        """Ask everything once; what does not answer is unknown in the snapshot."""
        began = time.monotonic()
        told, stored = await asyncio.gather(self._ask_kafka(), self._ask_postgres())
        saids = {one.role: await self._said(one, told, stored) for one in self.watched}
        await self._beside(told)
        now = self._clock.now()
        groups = [self._group(one, saids[one.role], now) for one in self.watched]
        tally = composing.committed_counts(self.watched[0], saids[WORKERS])
        snapshot = Snapshot(
            at=now,
            took_seconds=time.monotonic() - began,
            kafka=told.reached,
            postgres=stored.reached,
            groups=tuple(groups),
            members=tuple(self._members(saids, now)),
            predictions=self._ages.ages(now, told.logs),
            sink_delay_seconds=next(group.seconds for group in groups if group.role == SINK),
            late=None if tally is None else tally.late,
            duplicates=None if tally is None else tally.duplicates,
            dead_letters=self._dead_letters.dead_letters,
            stored=stored.stored,
        )
        self._note(snapshot)
        return snapshot

    async def close(self) -> None:
        """Let go of every connection."""
        if self._surveying is not None:
            self._surveying.cancel()
            await asyncio.wait([self._surveying])
        await self._drop_broker()
        self._drop_postgres()

    def _note(self, snapshot: Snapshot) -> None:
        before = {} if self.newest is None else {group.group: group.status for group in self.newest.groups}
        for group in snapshot.groups:
            if before.get(group.group) != group.status:
                log.info("group=%s status=%s why=%s", group.group, group.status.value, group.why)
        self.newest, self.looked_at = snapshot, time.monotonic()
        self.history.remember(snapshot)

    # ------------------------------------------------------------ Kafka

    async def _ask_kafka(self) -> _FromKafka:
        try:
            broker = await self._open_broker()
            logs = await broker.logs(self._specs)
            groups = {one.name: await broker.group(one.name) for one in self.watched}
        except AWAY as error:
            await self._drop_broker()
            return _FromKafka(Reached(ok=False, why=_why(error)))
        return _FromKafka(Reached(ok=True), logs, groups)

    async def _open_broker(self) -> Broker:
        if self._broker is None:
            broker = Broker(self.settings)
            try:
                await broker.start()
            except BaseException:
                await broker.stop()
                raise
            self._broker = broker
        return self._broker

    async def _drop_broker(self) -> None:
        broker, self._broker = self._broker, None
        await self._dead_letters.stop()
        if broker is not None:
            await broker.stop()

    async def _beside(self, told: _FromKafka) -> None:
        """Read what is shown beside the lags; what fails stays as old as it is."""
        if self._broker is None or told.logs is None:
            return
        with contextlib.suppress(*AWAY):
            await self._ages.look(self._broker.reader, told.logs)
            await self._dead_letters.look(told.logs)

    # ------------------------------------------------------------ Postgres

    async def _ask_postgres(self) -> _FromPostgres:
        try:
            connection = await self._open_postgres()
            offsets = await monitoring.stored(connection)
            stored = await self._ask_stored(connection)
        except AWAY_POSTGRES as error:
            self._drop_postgres()
            return _FromPostgres(Reached(ok=False, why=_why(error)))
        return _FromPostgres(Reached(ok=True), offsets, stored)

    async def _ask_stored(self, connection: Any) -> Stored:
        outbox = await monitoring.outbox(connection)
        self._survey_if_time()
        return Stored(
            overdue=None if self._survey is None else self._survey.overdue,
            learners=None if self._survey is None else self._survey.learners,
            outbox_waiting=outbox.waiting,
            outbox_seconds=outbox.seconds,
            outbox_refused=outbox.refused,
            revision=await monitoring.revision(connection),
        )

    def _survey_if_time(self) -> None:
        """Count overdue learners now and then, beside the looks: it may take longer than they do."""
        if time.monotonic() < self._next_survey or (self._surveying and not self._surveying.done()):
            return
        self._next_survey = time.monotonic() + self.settings.monitor_survey_seconds
        self._surveying = asyncio.create_task(self._take_survey(), name="survey")

    async def _take_survey(self) -> None:
        try:
            connection = await monitoring.connect(self.settings.database_url)
            try:
                self._survey = await monitoring.survey(connection, self._clock.now())
            finally:
                await connection.close(timeout=2)
        except AWAY_POSTGRES as error:
            self._survey = None
            log.warning("overdue learners not counted: %s", _why(error))

    async def _open_postgres(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await monitoring.connect(self.settings.database_url)
        return self._connection

    def _drop_postgres(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    # ------------------------------------------------------------ putting together

    async def _said(self, one: Watched, told: _FromKafka, stored: _FromPostgres) -> Said:
        said = Said(group=told.groups.get(one.name), logs=told.logs)
        said.positions = self._positions(one, said, stored)
        said.waiting = await self._waiting(one, said)
        if one.role == WORKERS:
            names = self._names
            changelogs = (
                names.learner_rows,
                names.skill_rows,
                names.prediction("struggle"),
                names.interventions,
            )
            now = self._clock.now()
            said.openings = composing.openings_of(self._openings, one, said, changelogs, now)
        return said

    def _positions(self, one: Watched, said: Said, stored: _FromPostgres) -> dict[TopicPartition, int]:
        """Where a group stands: the sink's in Postgres, or in its mirror while that is away."""
        if said.logs is None:
            return {}
        if one.role == SINK and stored.offsets is not None:
            known = {TopicPartition(*place): offset for place, offset in stored.offsets.items()}
        elif said.group is not None:
            known = {tp: entry.offset for tp, entry in said.group.committed.items() if entry.offset >= 0}
        else:
            return {}
        ends = said.logs.ends
        # Our groups begin at the beginning of what they have never read.
        return {tp: known.get(tp, ends.first[tp]) for tp in ends.first if tp.topic in one.topics}

    async def _waiting(self, one: Watched, said: Said) -> dict[TopicPartition, Waiting]:
        if self._broker is None or said.logs is None:
            return {}
        reader, ends = self._broker.reader, said.logs.ends
        return await _or_nothing(lambda: reader.waiting(one.name, said.positions, ends))

    def _group(self, one: Watched, said: Said, now: int) -> GroupLag:
        places = {
            TopicPartition(topic, number) for topic in one.topics for number in range(self._specs[topic])
        }
        if said.logs is not None:
            places |= {tp for tp in said.logs.ends.end if tp.topic in one.topics}
        found = [
            composing.partition_lag(one, tp, said, now, self._tracks.of(one.name, tp))
            for tp in sorted(places)
        ]
        return composing.group_lag(one, found, said.group)

    def _members(self, saids: dict[str, Said], now: int) -> list[Member]:
        return [member for one in self.watched for member in composing.members_of(one, saids[one.role], now)]


async def _or_nothing(attempt: Callable[[], Awaitable[dict[TopicPartition, T]]]) -> dict[TopicPartition, T]:
    try:
        return await attempt()
    except AWAY:
        return {}


def _why(error: BaseException) -> str:
    text = " ".join(str(error).split())
    name = type(error).__name__
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return text if name in text else f"{name}: {text}" if text else name

"""The monitor: looks at the broker and Postgres periodically, never at the workers, and keeps the results."""

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
from lyo.ops.monitor.composing import GroupAnswers, Tracks, Watched
from lyo.ops.monitor.dead_letters import DeadLetterFollower
from lyo.ops.monitor.lag_series import History
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
        alone_ms=round(max(settings.monitor_stalled_seconds, settings.stalled_seconds) * 1000),
        batch_events=settings.batch_records,
        transaction_ms=settings.transaction_timeout_ms,
    )


@dataclass(slots=True)
class _FromKafka:
    """The broker's answers in one look."""

    reached: Reached
    logs: Logs | None = None
    groups: dict[str, Group] = field(default_factory=dict)


@dataclass(slots=True)
class _FromPostgres:
    """Postgres' answers in one look."""

    reached: Reached
    offsets: dict[Place, int] | None = None
    stored: Stored = field(default_factory=Stored)


class Monitor:
    """Holds the connections and the history; `look` is one look."""

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
        """Look at the settings' interval until stopped; a failed look is only logged."""
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
        """Look once; values without an answer are unknown in the snapshot."""
        began = time.monotonic()
        kafka, stored = await asyncio.gather(self._ask_kafka(), self._ask_postgres())
        answers = {target.role: await self._answers(target, kafka, stored) for target in self.watched}
        await self._read_topics(kafka)
        now = self._clock.now()
        groups = [self._group(target, answers[target.role], now) for target in self.watched]
        counts = composing.committed_counts(self.watched[0], answers[WORKERS])
        snapshot = Snapshot(
            at=now,
            took_seconds=time.monotonic() - began,
            kafka=kafka.reached,
            postgres=stored.reached,
            groups=tuple(groups),
            members=tuple(self._members(answers, now)),
            predictions=self._ages.ages(now, kafka.logs),
            sink_delay_seconds=next(group.seconds for group in groups if group.role == SINK),
            late=None if counts is None else counts.late,
            duplicates=None if counts is None else counts.duplicates,
            dead_letters=self._dead_letters.dead_letters,
            stored=stored.stored,
        )
        self._publish(snapshot)
        return snapshot

    async def close(self) -> None:
        """Close every connection."""
        if self._surveying is not None:
            self._surveying.cancel()
            await asyncio.wait([self._surveying])
        await self._drop_broker()
        self._drop_postgres()

    def _publish(self, snapshot: Snapshot) -> None:
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
            groups = {target.name: await broker.group(target.name) for target in self.watched}
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

    async def _read_topics(self, kafka: _FromKafka) -> None:
        """Read predictions and dead letters; after a failure the earlier results remain."""
        if self._broker is None or kafka.logs is None:
            return
        with contextlib.suppress(*AWAY):
            await self._ages.look(self._broker.reader, kafka.logs)
            await self._dead_letters.look(kafka.logs)

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
        """Count overdue learners from time to time, concurrently with the looks: it may take longer."""
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

    # ------------------------------------------------------------ composing

    async def _answers(self, target: Watched, kafka: _FromKafka, stored: _FromPostgres) -> GroupAnswers:
        answers = GroupAnswers(group=kafka.groups.get(target.name), logs=kafka.logs)
        answers.positions = self._positions(target, answers, stored)
        answers.waiting = await self._waiting(target, answers)
        if target.role == WORKERS:
            names = self._names
            changelogs = (
                names.learner_rows,
                names.skill_rows,
                names.prediction("struggle"),
                names.interventions,
            )
            now = self._clock.now()
            answers.openings = composing.openings_of(self._openings, target, answers, changelogs, now)
        return answers

    def _positions(
        self, target: Watched, answers: GroupAnswers, stored: _FromPostgres
    ) -> dict[TopicPartition, int]:
        """A group's offsets: the sink's from Postgres, or from its group while Postgres is away."""
        if answers.logs is None:
            return {}
        if target.role == SINK and stored.offsets is not None:
            known = {TopicPartition(*place): offset for place, offset in stored.offsets.items()}
        elif answers.group is not None:
            known = {tp: entry.offset for tp, entry in answers.group.committed.items() if entry.offset >= 0}
        else:
            return {}
        ends = answers.logs.ends
        # The product's groups read a partition without an offset from its beginning.
        return {tp: known.get(tp, ends.first[tp]) for tp in ends.first if tp.topic in target.topics}

    async def _waiting(self, target: Watched, answers: GroupAnswers) -> dict[TopicPartition, Waiting]:
        if self._broker is None or answers.logs is None:
            return {}
        reader, ends = self._broker.reader, answers.logs.ends
        return await _or_nothing(lambda: reader.waiting(target.name, answers.positions, ends))

    def _group(self, target: Watched, answers: GroupAnswers, now: int) -> GroupLag:
        places = {
            TopicPartition(topic, number) for topic in target.topics for number in range(self._specs[topic])
        }
        if answers.logs is not None:
            places |= {tp for tp in answers.logs.ends.end if tp.topic in target.topics}
        settle = round(self.settings.history_settle_seconds * 1000)
        self._tracks.note(target.name, answers, now)
        lags = [
            composing.partition_lag(target, tp, answers, now, self._tracks.of(target.name, tp), settle)
            for tp in sorted(places)
        ]
        return composing.group_lag(target, lags, answers.group)

    def _members(self, answers: dict[str, GroupAnswers], now: int) -> list[Member]:
        return [
            member
            for target in self.watched
            for member in composing.members_of(target, answers[target.role], now)
        ]


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

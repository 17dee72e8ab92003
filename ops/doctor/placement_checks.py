"""Judges where records lie: in the partition of their learner's key, and with a timestamp."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import msgspec
from aiokafka import ConsumerRecord

from lyo.models.arrays import tzif
from lyo.models.events.checks import PARTITION, TIMESTAMP
from lyo.models.renewal import MODELS_KEY, TZDATA
from lyo.ops.doctor.cluster import Cluster
from lyo.ops.doctor.findings import Finding, error, ok, unknown, warning
from lyo.storage.database import plain_url
from lyo.storage.reads.placement import LEARNERS, astray
from lyo.streams import topics
from lyo.streams.dead_letters import misplaced
from lyo.streams.dead_letters.misplaced import Keys
from lyo.streams.dead_letters.reader import DeadLetterReader
from lyo.streams.settings import Settings

CHECKS: Final = ("placement.events", "placement.timestamps", "placement.rows", "zones.release")
POSTGRES: Final = "placement.postgres"
READ_SECONDS: Final = 20.0
"""For the dead letters and the learners' rows each; what takes longer is looked at in part."""
MOVE: Final = "upgrade every worker and sink, then lyo misplaced --move"


@dataclass(slots=True)
class Placement:
    """What was read of the dead letters and of the learners' rows.

    Attributes:
        refused: dead letters by field and topic.
        keys: rows of learners in wrong partitions.
        unread: what was not read whole.
        zones: by partition number, the release of the time zone database that its predictions were made with;
            None: what a newer one changes is being sent.
    """

    refused: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    keys: Keys = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    zones: dict[int, str | None] = field(default_factory=dict)

    def note_models(self, records: Iterable[ConsumerRecord]) -> None:
        """Take the releases of the time zone database from records of the learners' changelog."""
        for record in records:
            if record.key == MODELS_KEY and record.value is not None:
                with suppress(msgspec.MsgspecError):
                    named = msgspec.json.decode(record.value, type=dict[str, str])
                    self.zones[record.partition] = named.get(TZDATA)


async def look(settings: Settings, cluster: Cluster) -> Placement:
    """Read the dead letters and the learners' rows, as far as there is time.

    Raises:
        aiokafka.errors.KafkaError, OSError: Kafka cannot be reached.
    """
    names, state = topics.names(settings), Placement()
    try:
        async with asyncio.timeout(READ_SECONDS):
            if names.dead_letters in cluster.topics:
                async for letter in DeadLetterReader(settings).read():
                    state.refused[letter.field, letter.topic] += 1
    except TimeoutError:
        state.unread.append(names.dead_letters)
    rows = [tp for tp in cluster.ranges if tp.topic == names.learner_rows]
    if len(rows) == settings.partitions:
        try:
            async with asyncio.timeout(READ_SECONDS):
                async for tp, records in misplaced.read_whole(settings, rows):
                    misplaced.note(state.keys, tp, records, settings.partitions)
                    state.note_models(records)
        except TimeoutError:
            state.unread.append(names.learner_rows)
    return state


def judge(settings: Settings, cluster: Cluster, placement: Placement) -> Iterator[Finding]:
    """All findings about Kafka."""
    yield from _unread(placement)
    yield from _events(placement)
    yield from _timestamps(settings, cluster, placement)
    yield from _rows(settings, placement)
    yield from _zones(placement)


def _unread(placement: Placement) -> Iterator[Finding]:
    for topic in placement.unread:
        found = f"it was not read whole within {READ_SECONDS:g} s"
        yield unknown("placement.rows", topic, found, "lyo misplaced reads it whole")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'} {'was' if count == 1 else 'were'} refused"


def _events(placement: Placement) -> Iterator[Finding]:
    check = "placement.events"
    counts = {topic: count for (field, topic), count in placement.refused.items() if field == PARTITION}
    for topic, count in sorted(counts.items()):
        yield warning(
            check,
            topic,
            f"{_many(count, 'record')}: its client's partitioner put them in other learners' partitions",
            "set partitioner=murmur2_random in the client (docs/publishing.md), then lyo dlq retry --reason "
            f"{PARTITION} --topic {topic}",
        )
    if not counts:
        yield ok(check, "inputs", "no dead letter is about a record in a wrong partition")


def _timestamps(settings: Settings, cluster: Cluster, placement: Placement) -> Iterator[Finding]:
    check = "placement.timestamps"
    counts = {topic: count for (field, topic), count in placement.refused.items() if field == TIMESTAMP}
    for topic, count in sorted(counts.items()):
        yield warning(
            check,
            topic,
            f"{_many(count, 'record')}: they have no timestamp, which CreateTime cannot forbid",
            "let the client set one, or let the broker: kafka-configs.sh --alter --entity-type topics "
            f"--entity-name {topic} --add-config message.timestamp.type=LogAppendTime",
        )
    inputs = [name for name in topics.names(settings).inputs if name in cluster.topics]
    configs = {name: cluster.topics[name].config for name in inputs}
    allow = [
        name
        for name, config in configs.items()
        if name not in counts
        and config is not None
        and config.get("message.timestamp.type", "CreateTime") == "CreateTime"
    ]
    if allow:
        found = "CreateTime, which allows records without a timestamp: none was refused"
        yield ok(check, ", ".join(allow), found)
    elif not counts and all(config is not None for config in configs.values()):
        yield ok(check, "inputs", "the broker gives every record its timestamp")


def _rows(settings: Settings, placement: Placement) -> Iterator[Finding]:
    about = topics.names(settings).learner_rows
    users = {user for keys in placement.keys.values() for user in keys.values()}
    if users:
        found = f"{len(users):,} learners have a row in another partition, which no worker reads any more"
        yield error("placement.rows", about, found, MOVE)
    elif about not in placement.unread:
        yield ok("placement.rows", about, "every row is in its learner's partition")


def _zones(placement: Placement) -> Iterator[Finding]:
    check, about = "zones.release", f"tzdata {tzif.VERSION}"
    others: dict[str, list[int]] = defaultdict(list)
    for number, release in sorted(placement.zones.items()):
        if release != tzif.VERSION:
            others[release or "several, being sent anew"].append(number)
    for release, numbers in sorted(others.items()):
        found = f"predictions of partitions {', '.join(map(str, numbers))} are made with {release}"
        to_do = (
            "run one release of the product everywhere: a worker that starts sends what other data changes"
        )
        yield warning(check, about, found, to_do)
    if not others:
        yield ok(check, about, f"so are the predictions of {len(placement.zones)} partitions")


async def look_postgres(settings: Settings) -> int:
    """How many learners' rows in Postgres come from another partition than theirs.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: it is away, or refuses.
    """
    async with asyncio.timeout(READ_SECONDS):
        connection = await asyncpg.connect(plain_url(settings.database_url), timeout=READ_SECONDS)
        try:
            found = await astray(connection, settings.partitions, (LEARNERS,))
        finally:
            await connection.close(timeout=READ_SECONDS)
    return len(found.get(LEARNERS, ()))


def judge_postgres(count: int) -> Finding:
    """Whether the learners' rows in Postgres come from their own partitions."""
    if count:
        found = f"{count:,} learners' rows come from another partition than theirs"
        return error(POSTGRES, LEARNERS, found, MOVE)
    return ok(POSTGRES, LEARNERS, "every row comes from its learner's partition")

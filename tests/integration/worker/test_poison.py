"""Poison at one per cent of a stream: the bad records in the dead letters, every good one counted."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from lyo.cli.files.simulate import write
from lyo.evaluation.replay import Replay
from lyo.models.events.decode import partition
from lyo.models.predictions.records import texts
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin, topics
from lyo.streams.event_files.reader import Piece, check, opened
from lyo.streams.kafka import clients
from lyo.streams.kafka.input_records import CATALOGUE, Record
from lyo.streams.settings import Settings
from lyo.tools.simulation import Plan
from tests.support.faults import agreement
from tests.support.faults.poison import KINDS_OF_POISON, Bad, bad_catalogue, bad_events, odd_lines
from tests.support.processes import lag, process, wait_for
from tests.support.worker.running import read

pytestmark = [pytest.mark.integration, pytest.mark.slow]

APRIL = 1_776_643_200_000  # 2026-04-20T00:00:00Z
PLAN = Plan(learners=60, days=40, seed=5, end=APRIL, bad=0.0, first_user=1)
FIRST = 1_500
EVERY = 100
LINES_OF_A_LOG = 60

Place = tuple[str, int, int]


def stream(path: Path) -> list[Record]:
    """The good records of an event file, in its order."""
    records: list[Record] = []
    with opened(path) as file:
        for piece in file.pieces():
            checked = check(Piece(piece.first, piece.lines, piece.position), 2 * APRIL)
            assert checked.bad == []
            records += checked.records
    return records


def members(records: list[Record]) -> Iterator[int]:
    """Learners whose organization the records name, again and again."""
    found = {record.user for record in records if record.user and b'"organization_id"' in record.value}
    return chain.from_iterable(sorted(found) for _ in count())


class Stream:
    """Publishes records one by one, each partition in order, and knows where the bad ones went."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self._settings = settings
        self._producer = producer
        self._names = topics.names(settings)
        self._sent: list[tuple[Bad | None, asyncio.Future[Any]]] = []

    async def good(self, record: Record) -> None:
        await self._send(None, record.kind, record.user, record.key, record.value)

    async def bad(self, one: Bad) -> None:
        await self._send(one, one.kind, one.user, one.key, one.value)

    async def _send(self, bad: Bad | None, kind: Any, user: int, key: Any, value: Any) -> None:
        number = partition(user, self._settings.partitions) if user else 0
        answer = await self._producer.send(self._names.topic(kind), value, key, partition=number)
        self._sent.append((bad, answer))
        if kind in CATALOGUE:
            await answer

    async def settled(self) -> dict[Place, Bad]:
        """Where the bad ones are, once all are acknowledged."""
        await asyncio.gather(*(answer for _, answer in self._sent))
        places = ((bad, answer.result()) for bad, answer in self._sent if bad is not None)
        return {(at.topic, at.partition, at.offset): bad for bad, at in places}


async def publish(settings: Settings, records: list[Record], drained: Callable[[], Any]) -> dict[Place, Bad]:
    """The good records, and after each hundred a bad one."""
    producer = clients.producer(settings, max_request_size=20_000_000)
    await producer.start()
    try:
        out = Stream(settings, producer)
        for record in records[:FIRST]:
            await out.good(record)
        await out.settled()
        # Of two organizations that a learner is said to be of, the first one counts: let it be the right one.
        await drained()
        users = members(records[:FIRST])
        poison = chain(bad_catalogue(), bad_events(lambda: next(users)))
        for number, record in enumerate(records[FIRST:]):
            await out.good(record)
            if number % EVERY == 0:
                await out.bad(next(poison))
        places = await out.settled()
        await over_the_limit(settings, producer, next(users))
        return places
    finally:
        await producer.stop()


async def over_the_limit(settings: Settings, producer: AIOKafkaProducer, user: int) -> None:
    """What is larger than the broker takes does not come so far as to be poison."""
    topic = next(iter(topics.names(settings).inputs))
    noise = random.Random(1).randbytes(9_000_000)
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_and_wait(
            topic, noise, b"%d" % user, partition=partition(user, settings.partitions)
        )


async def test_one_per_cent_of_poison_is_told_apart_and_every_good_event_is_counted(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "simulated.jsonl"
    write(PLAN, path)
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in odd_lines()))
    records = stream(path)
    replay = agreement.replayed(path, newest_of(path))
    settings = settings.model_copy(update={"clock": texts(np.array([replay.newest]))[0]})
    await topic_admin.ensure(settings)
    upgrade(settings.database_url)
    logs = tmp_path / "worker.log", tmp_path / "sink.log"

    async def drained() -> None:
        async def nothing_left() -> bool:
            return await lag(settings) == 0 and await behind(settings) == 0

        await wait_for(nothing_left, "everything is processed and stored")

    variables = environment(settings)
    async with process("worker", variables, logs[0]) as worker, process("sink", variables, logs[1]) as sink:
        bad = await publish(settings, records, drained)
        await drained()
        await check_agreement(settings, replay, path)
        await check_letters(settings, bad)
        assert (worker.poll(), sink.poll()) == (None, None)
    assert (worker.returncode, sink.returncode) == (0, 0)
    for log in logs:
        said = log.read_text()
        assert said.count("\n") < LINES_OF_A_LOG, said[:4_000]
        assert "opened anew" not in said


def newest_of(path: Path) -> int:
    """The time (ms) of the newest event of a file."""
    everything = Replay()
    everything.read(path, None, None, None)
    return everything.newest


async def check_agreement(settings: Settings, replay: Any, path: Path) -> None:
    """Rows, topics and Postgres against one process that folded the good events alone."""
    wanted, closed = agreement.predicted(replay), agreement.asked_about(path)
    unlike: dict[str, list[str]] = {}

    async def alike() -> bool:
        on_topics = await agreement.on_topics(settings)
        unlike["topics"] = agreement.differences(wanted, on_topics, closed)
        in_postgres = await agreement.in_postgres(settings.database_url)
        unlike["postgres"] = agreement.differences(on_topics, in_postgres)
        return not any(unlike.values())

    try:
        await wait_for(alike, "the sweep has come to the end of the events", 60)
    except AssertionError:
        said = {name: (len(some), some[: agreement.SHOWN]) for name, some in unlike.items()}
        raise AssertionError(f"{len(wanted)} predictions; differences: {said}") from None
    mine, stored = agreement.rows(replay.engine), await agreement.stored_rows(settings)
    assert mine.keys() == stored.keys()
    assert [key for key, value in mine.items() if stored[key] != value] == []


async def check_letters(settings: Settings, bad: dict[Place, Bad]) -> None:
    """Exactly the bad records, each once, with the field that is to blame."""
    records = await read(settings, topics.names(settings).dead_letters)
    letters = [json.loads(record.value) for record in records]
    found = Counter((letter["topic"], letter["partition"], letter["offset"]) for letter in letters)
    assert found == Counter(list(bad))
    assert {one.name for one in bad.values()} >= set(KINDS_OF_POISON)
    for letter in letters:
        one = bad[letter["topic"], letter["partition"], letter["offset"]]
        assert letter["field"] == one.field, (one.name, letter["reason"])
        assert letter["reason"].startswith(one.field or "")
        assert "\0" not in json.dumps(letter, ensure_ascii=False)

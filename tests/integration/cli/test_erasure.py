"""A learner is erased while events keep coming: nothing of the learner is anywhere, whatever happens then."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition

from lyo.models.events.decode import Kind, partition
from lyo.storage.database import plain_url
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.schema.migrate import upgrade
from lyo.storage.schema.tables import STREAM_TABLES, erasure_fences, metadata, outbox
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.runtime import tombstones
from lyo.streams.settings import Settings
from tests.support.faults import agreement
from tests.support.learners.building import iso
from tests.support.processes import ROOT, Environment, lag, process, wait_for
from tests.support.worker.erased import DAY, GONE, HOUR, forget, on_topics
from tests.support.worker.erasing import quick, send, shifted
from tests.support.worker.running import publisher

pytestmark = pytest.mark.integration

OTHERS = (8, 9, 10, 11)


async def bad(settings: Settings, user: int) -> None:
    """Records that the contract refuses, one of them under another learner's key."""
    names = topics.names(settings)
    async with publisher(settings) as producer:
        for key, value in ((user, b'{"user_id":%d,"mood":"private"}'), (OTHERS[0], b'{"user_id":%d}')):
            await producer.send_and_wait(
                names.topic(Kind.SENTIMENT),
                value % user,
                b"%d" % key,
                partition=partition(key, settings.partitions),
            )


async def test_what_is_written_and_not_decided_yet_is_waited_for(kafka_settings: Settings) -> None:
    await topic_admin.ensure(kafka_settings)
    row = topics.names(kafka_settings).skill_rows
    tp = TopicPartition(row, partition(GONE, kafka_settings.partitions))
    producer = clients.producer(kafka_settings, f"{kafka_settings.app_id}-held")
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(row, b"row", b"%d|algebra" % GONE, partition=tp.partition)
        looking = asyncio.create_task(
            tombstones.stored_keys(kafka_settings, topics.names(kafka_settings), [tp], {GONE})
        )
        # Long enough to read an empty partition to its end many times over; it must not be taken for one.
        await asyncio.wait({looking}, timeout=1.5)
        assert not looking.done()
        await producer.commit_transaction()
        async with asyncio.timeout(30):
            assert (await looking).removed(GONE) == {row: 1}
    finally:
        await producer.stop()


async def in_tables(settings: Settings, user: int) -> dict[str, int]:
    """Rows that Postgres holds of a learner, marker, requests for erasure and keys of removals aside."""
    connection = await asyncpg.connect(plain_url(settings.database_url))
    found = {}
    try:
        for table in metadata.sorted_tables:
            if "user_id" in table.c and table not in (*STREAM_TABLES, erasure_fences):
                found[table.name] = await connection.fetchval(
                    f"SELECT count(*) FROM {table.name} WHERE user_id = $1", user
                )
        found["outbox"] = await connection.fetchval(
            f"SELECT count(*) FROM {outbox.name} WHERE key = $1", str(user)
        )
    finally:
        await connection.close()
    return {name: count for name, count in found.items() if count}


async def marker(settings: Settings, user: int) -> dict[str, Any]:
    connection = await asyncpg.connect(plain_url(settings.database_url))
    try:
        row = await connection.fetchrow("SELECT * FROM erasure_fences WHERE user_id = $1", user)
        return {} if row is None else dict(row)
    finally:
        await connection.close()


def drained(settings: Settings) -> Callable[[], Awaitable[bool]]:
    async def done() -> bool:
        return await lag(settings) == 0 and await behind(settings) == 0

    return done


def is_gone(settings: Settings) -> Callable[[], Awaitable[bool]]:
    async def done() -> bool:
        return not await on_topics(settings, GONE) and not await in_tables(settings, GONE)

    return done


async def others(settings: Settings) -> dict[bytes, bytes]:
    """The rows of everyone else."""
    mine = b"%d" % GONE
    return {k: v for k, v in (await agreement.stored_rows(settings)).items() if k.split(b"|")[0] != mine}


class Run:
    """Processes over one set of topics, and the events of the learner who goes and of those who stay."""

    def __init__(self, settings: Settings, environment: Environment, folder: Path) -> None:
        self.now = time.time_ns() // 1_000_000
        self.settings = quick(settings, self.now)
        self.names = topics.names(self.settings)
        self.variables = environment(self.settings)
        self.folder = folder
        born = self.now // DAY * DAY - 60 * DAY
        self.old = shifted(GONE, range(50), born)
        self.everyone = [event for user in OTHERS for event in shifted(user, range(0, 60, 3), born)]
        self.before: dict[str, int] = {}

    def process(self, name: str, log: str, **more: str) -> AbstractAsyncContextManager[Any]:
        return process(name, self.variables | more, self.folder / log)

    async def settle(self, what: str) -> None:
        await wait_for(drained(self.settings), what)

    async def known(self) -> None:
        """Everything there can be of the learner is there."""
        await send(self.settings, [*self.old, *self.everyone[::2]])
        await bad(self.settings, GONE)
        await self.settle("everything is folded and stored")

        async def decided() -> bool:
            return self.names.interventions in await on_topics(self.settings, GONE)

        await wait_for(decided, "a day has ended and something was decided about the learner")
        await self.settle("that is stored, too")
        self.before = await on_topics(self.settings, GONE)
        kinds = ("dropout-risk", "timing", "struggle")
        rows = (self.names.learner_rows, self.names.skill_rows, self.names.dead_letters)
        assert self.before.keys() >= {*rows, *(self.names.prediction(kind) for kind in kinds)}
        assert self.before[self.names.prediction("struggle")] == 10
        assert self.before[self.names.dead_letters] == 2
        assert len(await in_tables(self.settings, GONE)) >= 7

    async def gone(self) -> None:
        """Nothing is left, the marker tells what was removed, and what is sent again is passed over."""
        await wait_for(is_gone(self.settings), "nothing of the learner is left")
        await send(self.settings, self.old[::-1])
        await bad(self.settings, GONE)
        await self.settle("what was sent again is passed over")
        assert await on_topics(self.settings, GONE) == {}
        assert await in_tables(self.settings, GONE) == {}
        told = await marker(self.settings, GONE)
        removed = json.loads(told["topics"])
        assert removed.keys() >= self.before.keys()
        assert removed[self.names.prediction("struggle")] == 10
        assert json.loads(told["removed"]).keys() >= {"learner_rows", "skill_rows", "outcome_facts"}

    async def begun_anew(self) -> None:
        """After a consent only what came after it counts, and nobody else's rows change."""
        kept = await others(self.settings)
        assert {int(key.split(b"|")[0]) for key in kept} == set(OTHERS)
        await forget(self.settings, GONE, self.now + 1, consent=self.now + 1_000)
        new = shifted(GONE, range(1), self.now + 2_000 - 9 * HOUR)
        await send(self.settings, [*self.old[:30], *new])
        await self.settle("the new learner is folded and stored")
        assert await others(self.settings) == kept
        await self.only_the_new()

    async def only_the_new(self) -> None:
        row = (await agreement.stored_rows(self.settings))[b"%d" % GONE]
        assert counted(row) == {"sessions": 1, "completions": 1, "applied": 3}
        assert (await in_tables(self.settings, GONE))["learner_rows"] == 1
        assert (await on_topics(self.settings, GONE))[self.names.prediction("struggle")] == 1


async def test_a_learner_is_erased_everywhere_and_stays_so(
    settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    await topic_admin.ensure(settings)
    upgrade(settings.database_url)
    run = Run(settings, environment, tmp_path)
    async with run.process("sink", "sink.log"):
        async with run.process("worker", "first.log") as first:
            await run.known()
            # Erased with more of the others coming, and the worker killed.
            keeps_coming = asyncio.create_task(send(run.settings, run.everyone[1::2]))
            await forget(run.settings, GONE, run.now)
            first.kill()
            await keeps_coming
        # The next one ends in the middle of its first transaction, which may be the erasure's.
        async with run.process("worker", "dies.log", LYO_CRASH_AT="rows_sent:1") as dies:
            await asyncio.to_thread(dies.wait, 60)
        async with run.process("worker", "second.log"):
            await run.gone()
            await run.begun_anew()
            known = await agreement.stored_rows(run.settings)
    # All of it from offset 0: the rows are the same, and the old learner is not among them.
    await wait_for(lambda: rebuilt(run.variables), "everything has stopped and is begun anew", 60)
    async with run.process("sink", "sink.again"), run.process("worker", "third.log"):
        await run.settle("the log is folded and stored again")
        assert await agreement.stored_rows(run.settings) == known
        await run.only_the_new()


async def rebuilt(variables: dict[str, str]) -> bool:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "lyo.cli.main", "rebuild", "--yes"],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or "has members" in done.stderr, done.stderr
    return done.returncode == 0


def counted(row: bytes) -> dict[str, int]:
    from lyo.models.state.layout import decode_learners

    [decoded] = decode_learners([row])
    return {name: int(decoded[name]) for name in ("sessions", "completions", "applied")}


async def test_an_older_record_sent_again_is_overruled_on_the_topic(
    kafka_settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    now = time.time_ns() // 1_000_000
    settings = quick(kafka_settings, now)
    await topic_admin.ensure(settings)
    await forget(settings, GONE, now - DAY, consent=now - DAY + 1)
    await forget(settings, GONE, now)
    await forget(settings, GONE, now - DAY, consent=now - DAY + 1)
    async with process("worker", environment(settings), tmp_path / "worker.log"):

        async def overruled() -> bool:
            newest = await agreement.newest(settings, topics.names(settings).topic(Kind.ERASURE))
            said = json.loads(newest[b"%d" % GONE])
            return "consented_at" not in said and said["requested_at"] == iso(now)

        await wait_for(overruled, "the topic says again that the learner is erased", 60)

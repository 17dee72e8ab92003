"""What a client with another partitioner left, as earlier versions counted it, is found, moved and erased."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pytest

from lyo.models.engine import Engine
from lyo.models.events.decode import Kind, decode, partition
from lyo.models.events.identity import homes
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.layout import decode_learners, decode_skills
from lyo.models.state.learner import BOOKKEEPING
from lyo.ops.doctor.examine import examine
from lyo.ops.doctor.findings import Status
from lyo.ops.erasure import check
from lyo.storage.database import plain_url
from lyo.storage.reads.placement import astray
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin, topics
from lyo.streams.dead_letters import misplaced
from lyo.streams.settings import Settings
from tests.support import logs
from tests.support.learners.building import Sent, sentiment
from tests.support.monitor.watching import seen, watching
from tests.support.processes import LONGEST, Environment, lag, lyo, process, wait_for
from tests.support.worker.erased import DAY, on_topics
from tests.support.worker.erasing import quick, shifted
from tests.support.worker.running import publisher

pytestmark = pytest.mark.integration

SPLIT, FOREIGN, SOUND = 7, 9, 8
"""Completions elsewhere; everything elsewhere; everything where it belongs."""


class Run:
    """Processes over one set of topics, and events of which some are put where they do not belong."""

    def __init__(self, settings: Settings, environment: Environment, folder: Path) -> None:
        now = time.time_ns() // 1_000_000
        self.now = now // DAY * DAY
        self.settings = quick(settings, now)
        self.names = topics.names(self.settings)
        self.variables = environment(self.settings)
        self.folder = folder
        users = (SPLIT, FOREIGN, SOUND)
        self.events = [event for user in users for event in shifted(user, range(20), self.now - 25 * DAY)]

    def wrong(self, event: Sent) -> bool:
        user = event.body["user_id"]
        return user == FOREIGN or (user == SPLIT and event.kind is Kind.LESSON_COMPLETION)

    async def send(self, events: list[Sent], *, moved: bool = True) -> None:
        many = self.settings.partitions
        async with publisher(self.settings) as producer:
            for event in events:
                user = event.body["user_id"]
                shift = 1 if moved and self.wrong(event) else 0
                await producer.send(
                    self.names.topic(event.kind),
                    json.dumps(event.body).encode(),
                    b"%d" % user,
                    partition=(partition(user, many) + shift) % many,
                )
            await producer.flush()

    def process(self, name: str, log: str, module: str = "lyo.cli.main") -> AbstractAsyncContextManager[Any]:
        return process(name, self.variables, self.folder / log, module)

    async def settle(self, what: str) -> None:
        async def done() -> bool:
            return await lag(self.settings) == 0 and await behind(self.settings) == 0

        await wait_for(done, what)

    async def earlier(self) -> None:
        """Let an earlier version count everything where it lies."""
        await topic_admin.ensure(self.settings)
        await asyncio.to_thread(upgrade, self.settings.database_url)
        module = "tests.support.worker.earlier"
        async with (
            self.process("sink", "earlier-sink.log", module),
            self.process("worker", "earlier.log", module),
        ):
            await self.send(self.events)
            await self.settle("an earlier version has counted it")

    async def lyo(self, *words: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(lyo, self.variables, *words, seconds=LONGEST)

    async def astray(self) -> tuple[dict[str, int], dict[str, list[int]]]:
        """Keys in wrong partitions by topic, and learners with rows from there in Postgres."""
        partitions = misplaced.derived(self.names, self.settings.partitions)
        keys = misplaced.by_topic(await misplaced.find(self.settings, partitions))
        connection = await asyncpg.connect(plain_url(self.settings.database_url))
        try:
            return dict(keys), await astray(connection, self.settings.partitions)
        finally:
            await connection.close()

    def folded(self, users: set[int]) -> dict[bytes, bytes]:
        """The rows of these learners if all of their events had come to one partition."""
        engine = Engine(Catalogue())
        batches = []
        for kind in {event.kind for event in self.events}:
            values = [
                json.dumps(event.body).encode()
                for event in self.events
                if event.kind is kind and event.body["user_id"] in users
            ]
            batches.append(decode(kind, None, values, [self.now + DAY] * len(values))[0])
        changes = engine.apply(batches)
        rows = {**dict(changes.learner_rows), **dict(changes.skill_rows)}
        return {key: value for key, value in rows.items() if value is not None and not key.startswith(b"#")}


def facts(rows: dict[bytes, bytes]) -> dict[bytes, Any]:
    """Rows without what remembers the order of arrival."""
    plain: dict[bytes, Any] = {}
    for key, value in rows.items():
        if b"|" in key:
            [row], _ = decode_skills([value])
            plain[key] = row["now"].tobytes()
        else:
            [row] = decode_learners([value])
            plain[key] = {
                name: np.asarray(row[name]).tobytes() for name in row.dtype.names if name not in BOOKKEEPING
            }
    return plain


async def on_log(run: Run) -> dict[bytes, bytes]:
    """The rows that each learner's own partition holds; in others are tombstones."""
    rows: dict[bytes, bytes | None] = {}
    for topic in (run.names.learner_rows, run.names.skill_rows):
        for record in await logs.records(run.settings, topic):
            [home] = homes([record.key], run.settings.partitions)
            if home == record.partition and not record.key.startswith(b"#"):
                rows[record.key] = record.value
    return {key: value for key, value in rows.items() if value is not None}


async def stored(settings: Settings) -> dict[bytes, bytes]:
    """The rows that Postgres holds."""
    connection = await asyncpg.connect(plain_url(settings.database_url))
    try:
        learners = await connection.fetch("SELECT user_id, row FROM learner_rows")
        skills = await connection.fetch("SELECT user_id, skill_id, row FROM skill_rows")
    finally:
        await connection.close()
    return {b"%d" % row["user_id"]: row["row"] for row in learners} | {
        f"{row['user_id']}|{row['skill_id']}".encode(): row["row"] for row in skills
    }


async def test_what_lies_in_wrong_partitions_is_found_and_moved(
    settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    run = Run(settings, environment, tmp_path)
    await run.earlier()
    keys, rows = await run.astray()
    assert keys.keys() >= {run.names.learner_rows, run.names.skill_rows, run.names.prediction("dropout-risk")}
    assert rows["learner_rows"]
    assert rows["skill_rows"] == [SPLIT, FOREIGN]

    async with run.process("sink", "sink.log"), run.process("worker", "worker.log"):
        late = sentiment(FOREIGN, run.now - DAY, 0.2, name="late")
        await run.send([late])
        await run.settle("what comes now to a wrong partition is refused")
        await said_by_doctor(run)
        await said_by_monitor(run)
        await said_by_publish(run)
        listed = await run.lyo("misplaced", "--json")
        assert listed.returncode == 1, listed.stderr
        found = json.loads(listed.stdout)
        assert found["keys"] == keys
        assert found["events"][run.names.topic(Kind.LESSON_COMPLETION)] == {"retried": 40}
        assert found["events"][run.names.topic(Kind.SENTIMENT)] == {"retried": 21}

        moved = await run.lyo("misplaced", "--move")
        assert moved.returncode == 0, moved.stderr
        await run.settle("what was moved is counted")
        assert await run.astray() == ({}, {})
        run.events.append(late)
        wanted = facts(run.folded({SPLIT, FOREIGN, SOUND}))
        assert facts(await on_log(run)) == wanted
        assert facts(await stored(run.settings)) == wanted

        again = await run.lyo("misplaced")
        assert again.returncode == 0, again.stdout + again.stderr
        retried = await run.lyo("dlq", "retry", "--reason", "partition", "--json")
        assert [json.loads(line)["status"] for line in retried.stdout.splitlines()] == ["counted"]
    await kept_over_a_restart(run, wanted)


async def kept_over_a_restart(run: Run, wanted: dict[bytes, Any]) -> None:
    log = run.folder / "again.log"

    async def opened() -> bool:
        said = await asyncio.to_thread(log.read_text)
        return said.count(" open rows=") >= run.settings.partitions

    async with run.process("worker", "again.log"):
        await wait_for(opened, "every task is open")
    assert "left out" not in await asyncio.to_thread(log.read_text)
    assert facts(await on_log(run)) == wanted


async def said_by_doctor(run: Run) -> None:
    found = {
        (one.check, one.about): one
        for one in await examine(run.settings)
        if one.check.startswith("placement")
    }
    event = found["placement.events", run.names.topic(Kind.SENTIMENT)]
    assert event.status is Status.WARNING
    assert event.found.startswith("1 record was refused")
    assert "partitioner=murmur2_random" in event.to_do
    row = found["placement.rows", run.names.learner_rows]
    assert row.status is Status.ERROR
    assert row.found.startswith("2 learners")
    assert "lyo misplaced --move" in row.to_do
    assert found["placement.postgres", "learner_rows"].status is Status.ERROR


async def said_by_monitor(run: Run) -> None:
    topic = run.names.topic(Kind.SENTIMENT)
    async with watching(run.settings) as monitor:
        look = await seen(monitor, lambda look: look.dead_letters.total == 1, "all dead letters are read")
    assert look.dead_letters.misplaced == {topic: 1}


async def said_by_publish(run: Run) -> None:
    file = run.folder / "one.jsonl"
    event = sentiment(SOUND, run.now - DAY, 0.3, name="one")
    await asyncio.to_thread(file.write_text, json.dumps({"type": event.kind.value, **event.body}))
    published = await run.lyo("publish", str(file))
    assert published.returncode == 0, published.stderr
    assert f"{run.names.topic(Kind.SENTIMENT)}: 1 records of another client were refused" in published.stderr
    run.events.append(event)


async def test_an_erasure_reaches_every_partition(
    settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    run = Run(settings, environment, tmp_path)
    await run.earlier()
    assert (await run.astray())[0][run.names.skill_rows] == 4
    async with run.process("sink", "sink.log"), run.process("worker", "worker.log"):
        for user in (SPLIT, FOREIGN):
            done = await run.lyo("erase", str(user), "--json")
            assert done.returncode == 0, done.stdout + done.stderr
            receipt = json.loads(done.stdout)
            assert receipt["done"]
            assert receipt["topics_removed"][run.names.skill_rows] == 2
            assert await on_topics(run.settings, user) == {}
        # The events are still in a wrong partition, and stay there: they are not sent again.
        await run.lyo("misplaced", "--move")
        await run.settle("nothing comes back")
        assert await on_topics(run.settings, SPLIT) == await on_topics(run.settings, FOREIGN) == {}
        rows = await stored(run.settings)
        assert {int(key.split(b"|")[0]) for key in rows} == {SOUND}


async def test_a_receipt_is_not_given_while_another_partition_holds_something(
    settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    run = Run(settings, environment, tmp_path)
    await topic_admin.ensure(run.settings)
    await asyncio.to_thread(upgrade, run.settings.database_url)
    wrong = (partition(FOREIGN, run.settings.partitions) + 1) % run.settings.partitions
    topic = run.names.prediction("timing")
    async with run.process("sink", "sink.log"), run.process("worker", "worker.log"):
        assert (await run.lyo("erase", str(FOREIGN))).returncode == 0
        async with publisher(run.settings) as producer:
            await producer.send_and_wait(topic, b"{}", b"%d" % FOREIGN, partition=wrong)
        receipt = await check(run.settings, FOREIGN)
        assert not receipt.done
        assert receipt.misplaced == {topic: 1}
        assert any("lyo misplaced" in line for line in receipt.lines())
        assert (await run.lyo("misplaced", "--move")).returncode == 0
        assert (await check(run.settings, FOREIGN)).done
    assert [record.value for record in await logs.records(run.settings, topic)] == [b"{}", None]

"""A worker that cannot go on says what is wrong and what to do, and `lyo rebuild` mends it."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from lyo.models.events.decode import Kind
from lyo.models.predictions.records import IDENTITY_FREE
from lyo.models.state.catalogue import Catalogue
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.runtime.restore import RestoreError, restore
from lyo.streams.settings import Settings
from tests.support import processes
from tests.support.faults import agreement
from tests.support.learners.building import Sent, Stream, by_kind
from tests.support.processes import lag, process, wait_for
from tests.support.worker.counting_worker import CountingEngine
from tests.support.worker.erasing import quick, send, shifted
from tests.support.worker.running import publisher, until

pytestmark = pytest.mark.integration

DAY = 86_400_000
USERS = (21, 22, 23)


lyo = functools.partial(processes.lyo, seconds=90)


async def refused(variables: dict[str, str], command: str = "worker") -> str:
    """The last line of a worker, or of a sink, that ends by itself."""
    done = await asyncio.to_thread(lyo, variables, command)
    assert done.returncode == 1, done.stderr[-2000:]
    return done.stderr.strip().splitlines()[-1]


async def commit(settings: Settings, offsets: dict[TopicPartition, int]) -> None:
    """Set the group's offsets, as an operator may."""
    client = clients.consumer(settings, group_id=settings.app_id)
    await client.start()
    client.assign(list(offsets))
    await client.commit(offsets)
    await client.stop()


async def put(settings: Settings, topic: str, number: int, key: bytes, value: bytes | None) -> int:
    async with publisher(settings) as producer:
        return int((await producer.send_and_wait(topic, value, key, partition=number)).offset)


async def deleted(settings: Settings, topic: str) -> None:
    async with clients.admin(settings) as client:
        await client.delete_topics([topic])

        async def gone() -> bool:
            return topic not in await client.list_topics()

        await until(gone, 30, f"{topic} is deleted")


def wanted(events: list[Sent], at: int, known: Catalogue | None = None) -> agreement.Predictions:
    """What the same events give, folded once in this process."""
    stream = Stream(known)
    stream.take(by_kind(events))
    stream.sweep(at)
    said = stream.current().items()
    return {
        (kind, key.decode()): {name: v for name, v in one.items() if name not in IDENTITY_FREE}
        for (kind, key), one in said
    }


async def run_until_done(
    settings: Settings, variables: dict[str, str], log: Path, said: agreement.Predictions
) -> dict[bytes, bytes]:
    """Let a worker and a sink do what there is to do, until everyone is predicted so; gives the rows."""
    asked = {("struggle", f"{user}|content-{day}") for user in USERS for day in range(0, 20, 5)}
    async with process("sink", variables, log.with_suffix(".sink")), process("worker", variables, log):

        async def done() -> bool:
            if await lag(settings) or await behind(settings):
                return False
            stored = await agreement.in_postgres(settings.database_url)
            there = await agreement.on_topics(settings)
            return not any(agreement.differences(said, found, asked) for found in (there, stored))

        await wait_for(done, "everything is folded, predicted and stored", 90)
    return await agreement.stored_rows(settings)


async def test_what_a_worker_refuses_and_how_it_is_mended(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    now = time.time_ns() // 1_000_000
    settings, events = await one_number(settings, now)
    variables = environment(settings) | {"LYO_PARTITIONS": "1"}
    names = topics.names(settings)
    await send(settings, events)
    rows = await run_until_done(settings, variables, tmp_path / "first", wanted(events, now))
    assert len(rows) == 3 * len(USERS)

    sessions = TopicPartition(names.topic(Kind.SESSION), 0)
    async with clients.admin(settings) as client:
        stood = (await client.list_consumer_group_offsets(settings.app_id))[sessions].offset
    await commit(settings, {sessions: 3})
    line = await refused(variables)
    assert f"has committed 3, but the rows hold everything up to {stood}" in line
    assert "lyo rebuild" in line
    await commit(settings, {sessions: stood})

    key, value = next((key, value) for key, value in rows.items() if b"|" not in key)
    at = await put(settings, names.learner_rows, 0, key, b"\x09" + value[1:])
    line = await refused(variables)
    assert f"{names.learner_rows}/0 offset {at} cannot be read back" in line
    assert "layout 9: this version reads layouts 1, 2; start the version that wrote it" in line
    await put(settings, names.learner_rows, 0, key, value)

    at = await put(settings, names.prediction("struggle"), 0, b"21|content-0", b"\xff not JSON")
    line = await refused(variables)
    assert f"{names.prediction('struggle')}/0 offset {at} cannot be read back" in line
    assert "lyo rebuild" in line

    await deleted(settings, names.topic(Kind.SENTIMENT))
    await until(lambda: _ensured(settings), 30, "the topics are there again")
    await send(settings, [event for event in events if event.kind is Kind.SENTIMENT])
    await deleted(settings, names.prediction("struggle"))
    await until(lambda: _ensured(settings), 30, "the topics are there again")
    line = await refused(variables)
    assert f"{names.topic(Kind.SENTIMENT)} (id " in line
    assert f"{names.prediction('struggle')} (id " in line
    assert "created again since the rows were written" in line
    assert "lyo rebuild" in line

    await deleted(settings, names.learner_rows)
    line = await refused(variables)
    assert "the changelog of the learners' rows is empty: it was created again" in line

    await rebuilt(variables)
    assert await run_until_done(settings, variables, tmp_path / "again", wanted(events, now)) == rows


async def test_a_topic_made_anew_is_refused_by_name_and_a_rebuild_mends_it(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    now = time.time_ns() // 1_000_000
    settings, events = await one_number(settings, now)
    variables = environment(settings) | {"LYO_PARTITIONS": "1"}
    names = topics.names(settings)
    said = wanted(events, now, await fill(settings))
    await send(settings, events)
    rows = await run_until_done(settings, variables, tmp_path / "first", said)

    await deleted(settings, names.skill_rows)
    # The worker itself makes it again, as every start makes topics that are missing.
    line = await refused(variables)
    assert f"OffsetError: {names.skill_rows} (id " in line
    assert "created again since the rows were written" in line
    assert "lyo rebuild" in line
    line = await refused(variables, "sink")
    assert f"{names.skill_rows}-0 has the id" in line
    assert "lyo rebuild" in line
    await rebuilt(variables)
    assert await run_until_done(settings, variables, tmp_path / "second", said) == rows

    content = TopicPartition(names.topic(Kind.CONTENT), 0)
    await deleted(settings, content.topic)
    await until(lambda: _ensured(settings), 30, "the topics are there again")
    await fill(settings, times=3)
    # Kafka forgets the offsets with the topic; a worker that still ran may say them once more.
    await commit(settings, {content: 99})
    line = await refused(variables)
    assert f"OffsetError: {content.topic} (id " in line
    assert "created again since the rows were written" in line
    await rebuilt(variables)
    assert await run_until_done(settings, variables, tmp_path / "third", said) == rows


async def one_number(settings: Settings, now: int) -> tuple[Settings, list[Sent]]:
    """Topics of one partition with tables, and a month's events for them."""
    settings = quick(settings, now).model_copy(update={"partitions": 1})
    await topic_admin.ensure(settings)
    upgrade(settings.database_url)
    events = [one for user in USERS for one in shifted(user, range(20), now // DAY * DAY - 30 * DAY)]
    return settings, events


async def fill(settings: Settings, times: int = 1) -> Catalogue:
    """Publish content, one record of it bad; gives what is known afterwards."""
    known, content = Catalogue(), topics.names(settings).topic(Kind.CONTENT)
    for _ in range(times):
        for day in range(20):
            key = b"content-%d" % day
            value = json.dumps({"content_id": key.decode(), "skills": ["skill"], "difficulty": 0.5}).encode()
            await put(settings, content, 0, key, value)
            assert known.put(Kind.CONTENT, key, value) is None
        await put(settings, content, 0, b"bad", b"{not JSON")
    return known


async def rebuilt(variables: dict[str, str]) -> None:
    done = await asyncio.to_thread(lyo, variables, "rebuild", "--yes")
    assert done.returncode == 0, done.stderr


async def _ensured(settings: Settings) -> bool:
    try:
        await topic_admin.ensure(settings)
    except topics.TopicError:
        return False
    return True


async def test_a_rebuild_is_refused_while_a_worker_runs(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"session_timeout_ms": 3_000})
    await topic_admin.ensure(settings)
    variables = environment(settings)
    log = tmp_path / "log"
    async with process("worker", variables, log):
        await until(
            lambda: log.read_bytes().count(b" open rows=") == settings.partitions, 60, "tasks are open"
        )
        done = await asyncio.to_thread(lyo, variables, "rebuild", "--yes")
    assert done.returncode == 1
    assert f"group {settings.app_id} has members: stop every worker and sink first" in done.stderr


async def test_a_missing_changelog_is_an_error_and_no_hang(kafka_settings: Settings) -> None:
    await topic_admin.ensure(kafka_settings)
    names = topics.names(kafka_settings)
    await deleted(kafka_settings, names.skill_rows)
    with pytest.raises(RestoreError, match=rf"topic {names.skill_rows} is missing.*lyo rebuild"):
        await restore(kafka_settings, names, 1, CountingEngine())


async def test_a_command_erases_with_a_receipt(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    now = time.time_ns() // 1_000_000
    settings = quick(settings, now).model_copy(update={"clock": None})
    await topic_admin.ensure(settings)
    upgrade(settings.database_url)
    variables = environment(settings)
    variables.pop("LYO_CLOCK", None)
    names = topics.names(settings)
    await send(
        settings, [one for user in USERS for one in shifted(user, range(10), now // DAY * DAY - 20 * DAY)]
    )
    async with (
        process("sink", variables, tmp_path / "sink"),
        process("worker", variables, tmp_path / "worker"),
    ):

        async def done() -> bool:
            return await lag(settings) == 0 and await behind(settings) == 0

        await wait_for(done, "everything is folded and stored", 90)
        told = await asyncio.to_thread(lyo, variables, "erase", "21", "--json")
        assert told.returncode == 0, told.stdout + told.stderr
        receipt = json.loads(told.stdout)
        assert receipt["done"] is True
        # The row, and while they settle the mark that its events of weeks ago are history.
        assert receipt["topics_removed"][names.learner_rows] in {1, 2}
        assert receipt["removed"]["skill_rows"] == 2
        assert (receipt["remaining"], receipt["topics_remaining"]) == ({}, {})
        # Nothing was compacted in these seconds, and the receipt says so.
        assert receipt["to_be_compacted"][names.learner_rows] >= 1
        assert receipt["compacted_by"] > receipt["topics_removed_at"]
        shown = await asyncio.to_thread(lyo, variables, "erase", "21", "--check")
        assert shown.returncode == 0
        assert shown.stdout.startswith("learner 21: erased\n")
        assert "on Kafka's disks until compaction: " in shown.stdout
        consent = await asyncio.to_thread(lyo, variables, "erase", "21", "--consent-from", "2026-11-24")
        assert consent.returncode == 2
    late = await asyncio.to_thread(lyo, variables, "erase", "22", "--wait", "0")
    assert late.returncode == 1
    assert "is a `lyo worker` running?" in late.stdout

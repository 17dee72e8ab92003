"""A Postgres that is there and stores nothing: waited for, named everywhere, and no record's fault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from lyo.models.events.decode import Kind
from lyo.ops.monitor.monitor import SINK, Monitor
from lyo.storage.database import plain_url
from lyo.storage.outbox import relay
from lyo.storage.outbox.relay import Relay
from lyo.storage.schema.migrate import upgrade
from lyo.storage.sink.sink import Sink
from lyo.streams import topic_admin, topics
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalPostgres
from tests.support import logs
from tests.support.faults.deployment import INSERT
from tests.support.faults.refusals import SAID, refused
from tests.support.sink.records import struggle
from tests.support.sink.running import all_stored, fetch, publish, running, sent, until

pytestmark = pytest.mark.integration


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(plain_url(settings.database_url))
    try:
        yield connection
    finally:
        await connection.close()


def lessons(settings: Settings, *users: int, **more: Any) -> list[Any]:
    return [sent(settings, "struggle", struggle(user, f"c{user}", **more)) for user in users]


async def waits(sink: Sink, state: str, task: asyncio.Task[None], drops: int = 3) -> None:
    """Wait until the sink was refused so often, and says so."""

    async def said() -> bool:
        return sink._session.state == state and sink._session.drops >= drops

    await until(said, task)
    (sample,) = [sample for sample in sink.samples() if sample.name == "lyo_sink_waits"]
    assert sample.labels == (state,)


async def seen_by_the_monitor(settings: Settings, reason: str) -> str:
    """Look until the sinks' group has this reason; gives its line."""
    monitor = Monitor(settings.model_copy(update={"monitor_lagging_seconds": 0.1}))
    found = ""

    async def said() -> bool:
        nonlocal found
        found = next(group.why for group in (await monitor.look()).groups if group.role == SINK)
        return reason in found

    try:
        await until(said)
    finally:
        await monitor.close()
    return found


async def letters(settings: Settings) -> list[str]:
    found = await logs.records(settings, topics.names(settings).dead_letters)
    return [json.loads(record.value)["key"] for record in found]


@pytest.mark.parametrize("state", ["54000", "23514"])
async def test_a_server_that_refuses_everything_is_waited_for_and_no_record_is_blamed(
    ready: Settings, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(ready) as (sink, task):
        await publish(ready, lessons(ready, 1))
        await all_stored(ready, task)
        async with refused(ready.database_url, state):
            bad = lessons(ready, 99, content_type="x" * 51)
            await publish(ready, [*lessons(ready, *range(2, 20)), *bad, *lessons(ready, *range(20, 40))])
            await waits(sink, state, task)
            assert SAID in await seen_by_the_monitor(ready, f"SQLSTATE {state}")
            assert SAID in caplog.text
            assert sink.refused == 0
        await all_stored(ready, task)
        assert (sink.refused, sink._session.state) == (1, "")
    assert await letters(ready) == ["99|c99"]
    assert await fetch(ready.database_url, "SELECT count(*) FROM struggle_predictions") == [(39,)]
    await until(lambda: taken_back(ready))


async def taken_back(settings: Settings) -> bool:
    monitor = Monitor(settings)
    try:
        snapshot = await monitor.look()
    finally:
        await monitor.close()
    return all("says" not in lag.why for group in snapshot.groups for lag in group.partitions)


async def test_a_sink_that_starts_while_everything_is_refused_waits_and_says_why(ready: Settings) -> None:
    await publish(ready, lessons(ready, *range(1, 9)))
    async with AsyncExitStack() as stack:
        async with refused(ready.database_url):
            sink, task = await stack.enter_async_context(running(ready))
            await waits(sink, "54000", task)
            await seen_by_the_monitor(ready, "SQLSTATE 54000")
        await all_stored(ready, task)
    assert await letters(ready) == []


async def test_a_server_that_turns_read_only_is_waited_for(ready: Settings) -> None:
    """As a standby before it takes over: it answers, and refuses to write."""
    (name,) = (await fetch(ready.database_url, "SELECT current_database()"))[0]
    async with running(ready) as (sink, task), connected(ready) as connection:
        await publish(ready, lessons(ready, 1))
        await all_stored(ready, task)
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await publish(ready, lessons(ready, *range(2, 9)))
        await waits(sink, "25006", task)
        await connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await all_stored(ready, task)
        assert sink.refused == 0
    assert await letters(ready) == []
    assert await fetch(ready.database_url, "SELECT count(*) FROM struggle_predictions") == [(8,)]


class ShortQueue(LocalPostgres):
    """A Postgres whose queue of notifications is as short as can be set, 64 pages."""

    def settings(self) -> dict[str, str]:
        return super().settings() | {"max_notify_queue_pages": "64"}


async def fill_queue(idle: Any, filling: Any) -> None:
    """Let a session listen and stand idle in a transaction, and another write until nobody can."""
    await idle.execute("LISTEN something")
    await idle.execute("BEGIN")
    await idle.execute("SELECT 1")
    for number in range(10_000):
        try:
            await filling.execute("SELECT pg_notify('else', $1)", f"{number:07999}")
        except asyncpg.ProgramLimitExceededError:
            return
    raise AssertionError("the queue takes everything")


async def test_a_full_queue_of_notifications_is_no_records_fault_and_is_made_short_again(
    kafka_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ShortQueue(tmp_path / "own", durable=False, private=True) as postgres:
        ready = kafka_settings.model_copy(update={"database_url": postgres.database_url})
        await topic_admin.ensure(ready)
        upgrade(ready.database_url)
        async with running(ready) as (sink, task), connected(ready) as idle, connected(ready) as filling:
            await publish(ready, lessons(ready, 1))
            await all_stored(ready, task)
            await fill_queue(idle, filling)
            await publish(ready, lessons(ready, *range(2, 9)))
            await waits(sink, "54000", task)
            assert "the queue of notifications is 100% full" in caplog.text
            assert sink.refused == 0
            await idle.execute("COMMIT")
            await all_stored(ready, task)
        assert await letters(ready) == []
        assert await fetch(ready.database_url, "SELECT count(*) FROM struggle_predictions") == [(8,)]


async def test_a_full_queue_is_made_short_again_though_nothing_is_stored(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    """While it is full nobody can write to the outbox, so no failed write would bring it about."""
    with ShortQueue(tmp_path / "own", durable=False, private=True) as postgres:
        ready = kafka_settings.model_copy(update={"database_url": postgres.database_url})
        await topic_admin.ensure(ready)
        upgrade(ready.database_url)
        relaying = Relay(ready, poll_seconds=0.2)
        task = asyncio.create_task(relaying.run())
        async with connected(ready) as idle, connected(ready) as filling:
            await fill_queue(idle, filling)
            await idle.execute("COMMIT")

            async def written() -> bool:
                try:
                    await filling.execute(INSERT, *event(ready))
                except asyncpg.ProgramLimitExceededError:
                    return False
                return True

            await until(written, task)
        relaying.stop()
        await task


def event(settings: Settings) -> tuple[str, str, str, bytes]:
    value = b'{"event_id":"o1","user_id":7,"occurred_at":"2026-03-01T12:00:00Z","kind":"returned"}'
    return topics.names(settings).topic(Kind.OUTCOME), "7", "7", value


async def test_the_outbox_is_not_sent_again_and_again_to_a_server_that_takes_no_marks(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_PAUSES", (0.05,))
    async with connected(ready) as connection:
        await connection.execute(INSERT, *event(ready))
    relaying = Relay(ready, poll_seconds=0.2)

    async def failing() -> bool:
        return relaying._failures > 5

    async def marked() -> bool:
        return relaying.sent == 1

    async with refused(ready.database_url):
        task = asyncio.create_task(relaying.run())
        await until(failing, task)
    await until(marked, task)
    relaying.stop()
    await task
    found = await logs.records(ready, event(ready)[0])
    assert len(found) <= 2, "once before the server was known to take no marks, and once at the end"

"""The relay when it, Kafka or Postgres dies: every row at least once."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterable

import asyncpg
import pytest

from lyo.storage.database import plain_url
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka, LocalPostgres
from tests.support.processes import Environment
from tests.support.sink.relaying import (
    INSERT,
    NEVER,
    Row,
    arrived,
    expected,
    none_left,
    relaying,
    rows,
    write,
)
from tests.support.sink.running import fetch, until

pytestmark = pytest.mark.integration


def once(
    found: dict[tuple[str, int], list[tuple[str, bytes]]],
) -> dict[tuple[str, int], list[tuple[str, bytes]]]:
    """The first of each record, as who knows event ids sees it."""
    return {place: list(dict.fromkeys(some)) for place, some in found.items()}


async def start(settings: Settings, environment: Environment, **more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lyo.cli.main", "sink"),
        env=environment(settings) | more,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def test_killed_between_sending_and_marking_it_sends_the_same_again(
    ready: Settings, environment: Environment
) -> None:
    quick = ready.model_copy(update={"session_timeout_ms": 2_000})
    some = rows(quick, 40)
    await write(quick.database_url, some)
    process = await start(quick, environment, LYO_CRASH_AT="outbox_sent")
    assert await process.wait() == 137
    assert await fetch(quick.database_url, "SELECT 1 FROM outbox WHERE sent_at IS NOT NULL") == []
    assert await arrived(quick) == expected(quick, some), "it was sent, and not marked"
    process = await start(quick, environment)
    await none_left(quick)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    found = await arrived(quick)
    assert found == {place: some + some for place, some in expected(quick, some).items()}


@pytest.mark.parametrize("step", ["outbox_read", "outbox_marked"])
async def test_killed_elsewhere_it_sends_nothing_twice(
    ready: Settings, environment: Environment, step: str
) -> None:
    some = rows(ready, 20)
    await write(ready.database_url, some)
    process = await start(ready, environment, LYO_CRASH_AT=step)
    assert await process.wait() == 137
    async with relaying(ready):
        await none_left(ready)
    assert await arrived(ready) == expected(ready, some)


async def test_of_two_relays_one_sends_and_the_other_takes_over(
    ready: Settings, environment: Environment
) -> None:
    some = rows(ready, 400)
    process = await start(ready, environment)
    await write(ready.database_url, some[:100])
    await none_left(ready)
    async with relaying(ready, batch_rows=10) as second:
        writing = asyncio.create_task(one_by_one(ready, some[100:300]))

        async def half() -> bool:
            (count,) = (
                await fetch(ready.database_url, "SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")
            )[0]
            return int(count) >= 200

        await until(half)
        leads = second.leading
        assert not leads
        assert second.sent == 0
        process.kill()
        await process.wait()
        await writing
        await one_by_one(ready, some[300:])
        await none_left(ready)
        assert second.leading
        assert second.sent > 0
    assert once(await arrived(ready)) == expected(ready, some)


async def one_by_one(settings: Settings, some: Iterable[Row]) -> None:
    connection = await asyncpg.connect(plain_url(settings.database_url))
    try:
        for row in some:
            await connection.execute(INSERT, *row)
    finally:
        await connection.close()


async def test_kafka_away_is_waited_for(
    kafka_settings: Settings, own_kafka: LocalKafka, database_url: str
) -> None:
    ready = kafka_settings.model_copy(
        update={
            "bootstrap_servers": own_kafka.bootstrap_servers,
            "database_url": database_url,
            "request_timeout_ms": 2_000,
        }
    )
    await topic_admin.ensure(ready)
    upgrade(database_url)
    some = rows(ready, 90)
    async with relaying(ready) as relay:
        await write(database_url, some[:30])
        await none_left(ready)
        own_kafka.kill()
        await write(database_url, some[30:60])

        async def noticed() -> bool:
            return relay._failures > 0

        await until(noticed)
        assert relay.sent == 30
        own_kafka.start()
        await write(database_url, some[60:])
        await none_left(ready)
        assert relay.refused == 0
    assert once(await arrived(ready)) == expected(ready, some)


async def test_it_stops_while_kafka_is_away(kafka_settings: Settings, database_url: str) -> None:
    ready = kafka_settings.model_copy(
        update={"bootstrap_servers": "127.0.0.1:1", "database_url": database_url}
    )
    upgrade(database_url)
    await write(database_url, rows(ready, 3))
    async with relaying(ready) as relay:

        async def noticed() -> bool:
            return relay._failures > 0

        await until(noticed)
    assert await fetch(database_url, "SELECT count(*) FROM outbox WHERE sent_at IS NULL") == [(3,)]


async def test_postgres_away_is_waited_for(kafka_settings: Settings, own_postgres: LocalPostgres) -> None:
    ready = kafka_settings.model_copy(update={"database_url": own_postgres.database_url})
    await topic_admin.ensure(ready)
    upgrade(ready.database_url)
    some = rows(ready, 60)
    async with relaying(ready, poll_seconds=NEVER) as relay:
        await write(ready.database_url, some[:30])
        await none_left(ready)
        own_postgres.kill()

        async def noticed() -> bool:
            return relay._failures > 0

        await until(noticed)
        own_postgres.start()
        await write(ready.database_url, some[30:])
        await none_left(ready)
    assert await arrived(ready) == expected(ready, some)

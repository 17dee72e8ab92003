"""The subscription on real Kafka and Postgres: nothing missed, nothing twice, whatever is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import pytest

from lyo.models.predictions.kinds import BY_NAME
from lyo.storage.subscription.follow import Subscription
from lyo.streams.settings import Settings
from tests.support.processes import Environment
from tests.support.sink.following import NEVER, Following, different
from tests.support.sink.records import plateau, struggle, timing
from tests.support.sink.running import all_stored, fetch, mixture, publish, running, sent, until
from tests.support.sink.subscribing import all_stored as everything
from tests.support.sink.subscribing import (
    in_order,
    take,
)

pytestmark = pytest.mark.integration


COUNT = 600


async def test_every_change_is_told_once_and_in_order_while_two_sinks_write(ready: Settings) -> None:
    following = Following(ready.database_url, page=40)
    async with running(ready, batch_records=20) as (one, first), running(ready, batch_records=30) as (_, two):

        async def shared() -> bool:
            return bool(one.positions)

        await until(shared, first)
        await publish(ready, different(ready, COUNT, first=1_000))
        await publish(ready, mixture(ready, COUNT))
        await all_stored_by(ready, two)
        await following.knows(ready.database_url)
    told_of = [c["user_id"] for c in following.changes if (c["user_id"] or 0) >= 1_000]
    assert sorted(told_of) == list(range(1_000, 1_000 + COUNT))
    assert in_order(following.changes)
    assert {change["operation"] for change in following.changes} == {"changed", "removed"}
    kinds = {change["kind"] for change in following.changes}
    assert kinds == {*BY_NAME, "interventions"}


async def all_stored_by(settings: Settings, task: asyncio.Task[None]) -> None:
    await all_stored(settings, task)


async def test_a_slow_consumer_holds_one_page_and_asks_for_no_more(ready: Settings) -> None:
    await publish(ready, different(ready, 400), at_once=400)
    async with running(ready) as (_, task):
        await all_stored(ready, task)
    async with Subscription(ready.database_url, page=20) as changes:
        seen = [await anext(changes)]
        asked = await last_query(ready)
        for _ in range(19):
            assert await last_query(ready) == asked, "nothing is read before the page is used up"
            seen.append(await anext(changes))
        while len(seen) < 400:
            seen.append(await anext(changes))
            assert len(changes._waiting) < 20
        assert await last_query(ready) > asked
    assert len({change.user_id for change in seen}) == 400


async def last_query(settings: Settings) -> Any:
    """When the subscriber last asked Postgres for something."""
    sql = (
        "SELECT query_start FROM pg_stat_activity "
        "WHERE application_name = 'lyo subscribe' AND datname = current_database()"
    )
    ((at,),) = await fetch(settings.database_url, sql)
    return at


async def test_away_for_a_week_it_is_told_each_row_once_and_as_it_is_now(ready: Settings) -> None:
    users = range(1, 41)
    async with running(ready, batch_records=25) as (_, task):
        await publish(ready, [sent(ready, "timing", timing(user)) for user in users])
        await all_stored(ready, task)
        (*_, last) = await everything(ready.database_url)
        for day in range(7):
            some = [timing(user, sessions_analyzed=day) for user in users if user % 2]
            await publish(ready, [sent(ready, "timing", record) for record in some])
        await publish(ready, [sent(ready, "struggle", struggle(user)) for user in users])
        await publish(ready, [sent(ready, "struggle", struggle(1), tombstone=True)])
        await all_stored(ready, task)
    changes = await everything(ready.database_url, last["cursor"], page=7)
    timings = [change for change in changes if change["kind"] == "timing"]
    assert sorted(change["user_id"] for change in timings) == [user for user in users if user % 2]
    assert {change["row"]["sessions_analyzed"] for change in timings} == {6}
    struggles = [(c["user_id"], c["operation"]) for c in changes if c["kind"] == "struggle"]
    assert sorted(struggles) == [(1, "removed"), *((user, "changed") for user in users if user > 1)]


async def test_it_is_woken_by_the_notification_alone(ready: Settings) -> None:
    async with Subscription(ready.database_url, poll_seconds=NEVER) as changes, running(ready) as (_, task):
        for user in range(1, 6):
            waiting = asyncio.create_task(take(changes, 1))
            await until(lambda: asleep(changes), task)
            await publish(ready, different(ready, 1, user))
            assert (await asyncio.wait_for(waiting, 60))[0]["user_id"] == user


async def asleep(changes: Subscription) -> bool:
    return changes.caught_up


async def test_a_full_pipe_holds_back_neither_notifications_nor_a_stop(
    ready: Settings, environment: Environment
) -> None:
    await publish(ready, different(ready, 300), at_once=300)
    async with running(ready) as (_, task):
        await all_stored(ready, task)
        unread, full = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lyo.cli.main", "subscribe"), env=environment(ready), stdout=full
        )
        os.close(full)

        async def read_a_page() -> bool:
            return await fetch(ready.database_url, LISTENING) == [(1,)]

        await until(read_a_page, task)
        # More than the sockets between us hold.
        many = "SELECT pg_notify('lyo_changes', n || repeat('x', 7000)) FROM generate_series(1, 4000) AS n"
        await fetch(ready.database_url, many)

        async def taken() -> bool:
            return await fetch(ready.database_url, "SELECT pg_notification_queue_usage()") == [(0.0,)]

        await until(taken, task)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 60) == 0
    os.close(unread)


LISTENING = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lyo subscribe' AND state = 'idle' "
    "AND query NOT LIKE 'LISTEN%' AND datname = current_database()"
)


async def test_a_plateau_that_was_undone_is_told(ready: Settings) -> None:
    following = Following(ready.database_url, kinds=["plateaus"])
    async with running(ready) as (_, task):
        await publish(ready, [sent(ready, "plateaus", plateau(1, detected=(0, 100)))])
        await all_stored(ready, task)
        await publish(ready, [sent(ready, "plateaus", plateau(1, detected=(100,)))])
        await all_stored(ready, task)
        await following.knows(ready.database_url)
    (gone,) = [change for change in following.changes if change["operation"] == "removed"]
    assert (gone["user_id"], gone["organization_id"], gone["subject"]) == (1, 7, "algebra")
    assert gone["key"]["detected_at"] == "2026-03-01T12:00:00+00:00"

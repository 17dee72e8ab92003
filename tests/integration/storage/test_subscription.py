"""The subscription on real Kafka and Postgres: nothing missed, nothing twice, whatever is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from lyo.models.predictions.kinds import BY_NAME
from lyo.storage.database import plain_url
from lyo.storage.reads.progress import behind
from lyo.storage.schema.migrate import upgrade
from lyo.storage.schema.rebuild import empty
from lyo.storage.subscription.follow import Subscription, SubscriptionError
from lyo.streams import topic_admin
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalPostgres
from tests.support.sink.records import dropout, plateau, struggle, timing
from tests.support.sink.running import Sent, all_stored, fetch, mixture, publish, running, sent, until
from tests.support.sink.subscribing import (
    Told,
    in_order,
    in_tables,
    take,
    told,
    view,
    without_outcomes,
)
from tests.support.sink.subscribing import all_stored as everything

pytestmark = pytest.mark.integration

Environment = Callable[[Settings], dict[str, str]]
COUNT = 600
NEVER = 100_000.0
"""A poll so slow that only a notification can have woken the subscriber."""


@pytest.fixture
async def ready(settings: Settings) -> Settings:
    """Settings with topics and tables."""
    await topic_admin.ensure(settings)
    upgrade(settings.database_url)
    return settings


class Following:
    """A subscriber at work in the background; `changes` is what it was told."""

    def __init__(self, url: str, **more: Any) -> None:
        self.subscription = Subscription(url, poll_seconds=NEVER, **more)
        self.changes: list[Told] = []
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async with self.subscription as changes:
            async for change in changes:
                self.changes.append(told(change))

    async def knows(self, url: str) -> None:
        """Wait until it holds the rows that there are."""
        expected = without_outcomes(await in_tables(url))

        async def same() -> bool:
            return without_outcomes(view(self.changes)) == expected

        try:
            await until(same, self.task)
        finally:
            self.task.cancel()
            await asyncio.wait([self.task])


def different(settings: Settings, count: int, first: int = 1) -> list[Sent]:
    """A risk of each of so many learners: no two are of one row."""
    return [sent(settings, "dropout-risk", dropout(user)) for user in range(first, first + count)]


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


async def start(
    settings: Settings, environment: Environment, out: Path, *arguments: str
) -> asyncio.subprocess.Process:
    """`lyo subscribe`, appending to a file."""
    with out.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lyo.cli.main", "subscribe", "--poll", str(NEVER), *arguments),
            env=environment(settings),
            stdout=file,
        )


def whole_lines(out: Path) -> list[Told]:
    """What was printed to the end of a line; a line that a kill cut short is not there."""
    text = out.read_bytes() if out.exists() else b""
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


async def test_a_killed_subscriber_goes_on_after_its_last_cursor(
    ready: Settings, environment: Environment, tmp_path: Path
) -> None:
    out = tmp_path / "changes.jsonl"
    async with running(ready, batch_records=15) as (_, task):
        publishing = asyncio.create_task(
            publish(ready, [*different(ready, COUNT, 1_000), *mixture(ready, COUNT)])
        )
        for enough in (40, 200, 500):
            process = await start(ready, environment, out, *after(out))

            async def printed(count: int = enough) -> bool:
                return len(whole_lines(out)) >= count

            await until(printed, task)
            process.kill()
            assert await process.wait() == -signal.SIGKILL
            cut_short(out)
        await publishing
        await all_stored(ready, task)
    process = await start(ready, environment, out, *after(out), "--once")
    assert await process.wait() == 0
    changes = whole_lines(out)
    assert without_outcomes(view(changes)) == without_outcomes(await in_tables(ready.database_url))
    # The cursor of the last line was saved each time, so nothing at all came twice.
    assert in_order(changes)
    users = [change["user_id"] for change in changes if change["user_id"] >= 1_000]
    assert sorted(users) == list(range(1_000, 1_000 + COUNT))


def after(out: Path) -> list[str]:
    lines = whole_lines(out)
    return ["--after", lines[-1]["cursor"]] if lines else []


def cut_short(out: Path) -> None:
    """Take away a line without an end, as whoever reads such a file must."""
    text = out.read_bytes()
    out.write_bytes(text[: text.rfind(b"\n") + 1])


async def test_a_sink_killed_in_between_leaves_no_gap(ready: Settings, environment: Environment) -> None:
    quick = ready.model_copy(update={"session_timeout_ms": 2_000})
    following = Following(ready.database_url)
    publishing = asyncio.create_task(
        publish(quick, [*different(quick, COUNT, 1_000), *mixture(quick, COUNT)])
    )
    for enough in (100, 400):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lyo.cli.main", "sink", "--batch", "10"),
            env=environment(quick),
            stderr=asyncio.subprocess.DEVNULL,
        )

        async def heard(count: int = enough) -> bool:
            return len(following.changes) >= count

        await until(heard, following.task)
        process.kill()
        await process.wait()
    await publishing
    async with running(quick) as (_, task):
        await all_stored(quick, task)
        await following.knows(quick.database_url)
    assert in_order(following.changes)
    users = [c["user_id"] for c in following.changes if (c["user_id"] or 0) >= 1_000]
    assert sorted(users) == list(range(1_000, 1_000 + COUNT))


async def test_a_restart_of_postgres_is_sat_out(
    kafka_settings: Settings, own_postgres: LocalPostgres
) -> None:
    ready = kafka_settings.model_copy(update={"database_url": own_postgres.database_url})
    await topic_admin.ensure(ready)
    upgrade(ready.database_url)
    following = Following(ready.database_url)
    async with running(ready) as (_, task):
        await publish(ready, mixture(ready, COUNT // 2, seed=4))
        await all_stored(ready, task)

        async def heard() -> bool:
            return bool(following.changes)

        await until(heard, following.task)
        own_postgres.kill()
        await publish(ready, mixture(ready, COUNT // 2, seed=5))
        assert not following.task.done()
        own_postgres.start()
        await all_stored(ready, task)
        await following.knows(ready.database_url)
    assert in_order(following.changes)


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


async def test_rebuilt_tables_are_told_as_a_reset_and_then_whole(ready: Settings) -> None:
    following = Following(ready.database_url)
    async with running(ready) as (_, task):
        await publish(ready, mixture(ready, COUNT // 4))
        await all_stored(ready, task)
    before = await everything(ready.database_url)
    await empty(ready.database_url)
    async with running(ready) as (_, task):
        await all_stored(ready, task)
        await following.knows(ready.database_url)
        assert await behind(ready) == 0
    resets = [change for change in following.changes if change["operation"] == "reset"]
    assert len(resets) == 1
    assert "rebuilt" in resets[0]["reason"]
    first, *rest = await everything(ready.database_url, before[-1]["cursor"])
    assert (first["operation"], first["kind"], first["row"]) == ("reset", None, None)
    assert view(rest) == await in_tables(ready.database_url)
    again = await everything(ready.database_url, first["cursor"])
    assert [nameless(change) for change in again] == [nameless(change) for change in rest], (
        "the reset is told once, also when its own cursor was saved"
    )


def nameless(change: Told) -> Told:
    """The change without its cursor, which tells the time."""
    return change | {"cursor": ""}


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


async def test_what_cannot_go_on_says_so_in_one_line(
    ready: Settings, environment: Environment, tmp_path: Path
) -> None:
    async def complaint(wanted: Settings, *arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lyo.cli.main", "subscribe", *arguments),
            env=environment(wanted.model_copy(update={"connect_seconds": 0.5})),
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        _, said = await process.communicate()
        return process.returncode, said.decode()

    code, said = await complaint(ready, "--after", "nonsense")
    assert (code, "no cursor" in said) == (2, True)
    code, said = await complaint(ready, "--kinds", "dropout")
    assert (code, "no kind 'dropout'; there are dropout-risk, timing" in said) == (2, True)
    away = ready.model_copy(update={"database_url": "postgresql://postgres:secret@127.0.0.1:1/lyo"})
    code, said = await complaint(away)
    assert (code, said.count("\n")) == (1, 1)
    assert "cannot use Postgres at postgresql://postgres:***@127.0.0.1:1/lyo" in said
    connection = await asyncpg.connect(plain_url(ready.database_url))
    await connection.execute("DROP TABLE removed_rows, stream_epoch")
    await connection.close()
    with pytest.raises(SubscriptionError, match="run `lyo migrate`"):
        await everything(ready.database_url)


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

"""The subscription when a subscriber, a sink or Postgres dies: nothing missed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import asyncpg
import pytest

from lyo.storage.database import plain_url
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.schema.migrate import upgrade
from lyo.storage.schema.rebuild import empty
from lyo.storage.subscription.follow import SubscriptionError
from lyo.streams import topic_admin
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalPostgres
from tests.support.processes import Environment
from tests.support.sink.following import NEVER, Following, different
from tests.support.sink.running import all_stored, mixture, publish, running, until
from tests.support.sink.subscribing import (
    Told,
    in_order,
    in_tables,
    view,
    without_outcomes,
)
from tests.support.sink.subscribing import all_stored as everything

pytestmark = pytest.mark.integration


COUNT = 600


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

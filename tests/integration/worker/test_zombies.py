"""A worker and a sink frozen in the middle of a transaction, while others take over, and then woken.

One step of each; `make faults` does every step.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from lyo.predictive.api.app import open_engine
from lyo.storage.database import plain_url
from lyo.streams.settings import Settings
from tests.support.faults.deployment import QUICK, deployed
from tests.support.faults.zombies import frozen, rows, woken
from tests.support.learners.published import parts, simulated
from tests.support.processes import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow]


async def test_what_is_frozen_in_a_transaction_writes_nothing_when_it_wakes(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    files = parts(simulated(tmp_path / "events.jsonl", learners=30, days=30), 3)
    async with deployed(settings.model_copy(update=QUICK), environment, tmp_path) as deployment:
        fleet = deployment.fleet
        await deployment.give(files[0])
        worker = fleet.add("worker-1", LYO_CRASH_AT="rows_sent:2:stop")
        sink = fleet.add("sink-1", LYO_CRASH_AT="sink_rows:2:stop")
        await frozen(worker, "rows_sent")
        fleet.add("worker-2")
        await deployment.give(files[1])
        await frozen(sink, "sink_rows")
        fleet.add("sink-2")
        # The successors get on although the frozen ones held a transaction and locks.
        await deployment.quiet()
        before = await rows(deployment)
        await woken(worker)
        await woken(sink)
        assert await rows(deployment) == before, "the zombie has written"
        await deployment.give(files[2])
        report = await deployment.verdict()
        assert report.clean, str(report)
        await fleet.stop()


async def test_an_api_frozen_in_a_transaction_gives_its_rows_back(database_url: str) -> None:
    watching = await asyncpg.connect(plain_url(database_url))
    engine = open_engine(Settings(database_url=database_url, api_statement_seconds=0.5))

    async def ended() -> bool:
        await watching.execute("SELECT pg_stat_clear_snapshot()")
        return not await watching.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lyo api' "
            "AND datname = current_database()"
        )

    async def fallen_silent() -> None:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE held (one int)"))
            assert not await ended()
            # It says nothing more, as one that is frozen.
            await wait_for(ended, "Postgres has ended the session", 30)
            await connection.execute(text("SELECT 1"))

    try:
        with pytest.raises(DBAPIError, match=r"closed|idle-in-transaction"):
            await fallen_silent()
    finally:
        await watching.close()
        await engine.dispose()

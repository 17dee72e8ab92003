"""`lyo dlq retry --dry-run` promises nothing that only a worker can decide."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from lyo.models.events.decode import Kind, partition
from lyo.streams import topic_admin, topics
from lyo.streams.settings import Settings
from tests.support import logs
from tests.support.processes import ROOT, Environment
from tests.support.worker.running import publisher, until

pytestmark = pytest.mark.integration

USER = 7
HEAD = {"user_id": USER, "occurred_at": "2026-03-01T12:00:00Z", "sentiment": 0.5}


async def retried(variables: dict[str, str], *words: str) -> tuple[int, list[dict[str, Any]]]:
    command = [sys.executable, "-m", "lyo.cli.main", "dlq", "retry", "--all", "--json", *words]
    done = await asyncio.to_thread(
        subprocess.run, command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


async def test_a_dry_run_does_not_promise_what_depends_on_the_learners_row(
    kafka_settings: Settings, environment: Environment
) -> None:
    """An event of another organization's learner is refused however often it is sent."""
    await topic_admin.ensure(kafka_settings)
    names, variables = topics.names(kafka_settings), environment(kafka_settings)
    number = partition(USER, kafka_settings.partitions)

    async def letters(count: int) -> list[Any]:
        async def written() -> bool:
            return len(await logs.records(kafka_settings, names.dead_letters)) == count

        await until(written, 60, f"{count} dead letters", pause=0.2)
        return [json.loads(one.value) for one in await logs.records(kafka_settings, names.dead_letters)]

    async with publisher(kafka_settings) as producer:
        for event_id, organization in (("ours", 1), ("theirs", 2)):
            value = json.dumps(HEAD | {"event_id": event_id, "organization_id": organization}).encode()
            await producer.send_and_wait(
                names.topic(Kind.SENTIMENT), value, str(USER).encode(), partition=number
            )
    command = [sys.executable, "-m", "lyo.cli.main", "worker"]
    with subprocess.Popen(command, env=variables, cwd=ROOT, stderr=subprocess.DEVNULL) as worker:
        try:
            await letters(1)
            code, [tried] = await retried(variables, "--dry-run")
            assert (code, tried["status"]) == (1, "unknown")
            assert "the learner belongs to another organization" in tried["detail"]
            code, [tried] = await retried(variables)
            assert (code, tried["status"]) == (0, "retried")
            first, second = await letters(2)
            assert first["reason"] == second["reason"]
        finally:
            worker.terminate()

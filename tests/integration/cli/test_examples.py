"""The examples of `docs/examples`, run as their readers run them, with simulated learners."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from lyo.cli.files.simulate import write
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin
from lyo.streams.event_files.publisher import publish_file
from lyo.streams.settings import Settings
from lyo.tools.simulation import Plan
from tests.support.processes import ROOT, Environment, lag, process, wait_for
from tests.support.sink.running import fetch

pytestmark = [pytest.mark.integration, pytest.mark.slow]

EXAMPLES = ROOT / "docs" / "examples"
APRIL = 1_776_643_200_000  # 2026-04-20T00:00:00Z
LEARNERS = 40


async def run(name: str, variables: dict[str, str], *arguments: str) -> str:
    """What an example prints; it must end well."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(EXAMPLES / name), *arguments),
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await asyncio.wait_for(child.communicate(), 120)
    assert child.returncode == 0, complaint.decode()
    return said.decode()


def test_every_example_is_named_in_the_docs() -> None:
    text = "".join((ROOT / "docs" / name).read_text() for name in ("subscribing.md", "publishing.md"))
    names = [path.name for path in EXAMPLES.glob("*.py")]
    assert len(names) >= 3
    for name in names:
        assert f"examples/{name}" in text, name


async def test_the_three_ways_in(settings: Settings, environment: Environment, tmp_path: Path) -> None:
    settings = settings.model_copy(update={"clock": "2026-04-20T00:00:00Z"})
    await topic_admin.ensure(settings)
    upgrade(settings.database_url)
    path = tmp_path / "events.jsonl.gz"
    write(Plan(learners=LEARNERS, days=60, seed=5, end=APRIL, bad=0.0, first_user=1), path)
    variables = environment(settings)
    async with (
        process("sink", variables, tmp_path / "sink.log"),
        process("worker", variables, tmp_path / "worker.log"),
    ):
        await publish_file(path, settings)

        async def begun() -> bool:
            return b"task=" in (tmp_path / "worker.log").read_bytes()

        await wait_for(begun, "the worker has opened a task")

        async def drained() -> bool:
            return await lag(settings) == 0 and await behind(settings) == 0

        await wait_for(drained, "everything is processed and stored")
    risks = dict(await fetch(settings.database_url, "SELECT user_id, risk_level FROM dropout_risk_scores"))
    assert len(risks) > LEARNERS // 2
    await follow_the_topics(variables, risks)
    await follow_postgres(variables, risks, tmp_path / "known.db")
    if find_spec("lyo.predictive.predictors") is not None:
        await ask_the_predictors(variables, sorted(risks)[:5])


async def follow_the_topics(variables: dict[str, str], risks: dict[int, str]) -> None:
    said = await run("kafka_consumer.py", variables | {"GROUP": variables["LYO_APP_ID"] + "-e"}, "--once")
    newest = {
        int(line["user"]): line["level"]
        for line in map(json.loads, said.splitlines())
        if line["kind"] == "predictions.dropout-risk"
    }
    assert newest == risks
    again = await run("kafka_consumer.py", variables | {"GROUP": variables["LYO_APP_ID"] + "-e"}, "--once")
    assert again == "", "its group has read everything"


async def follow_postgres(variables: dict[str, str], risks: dict[int, str], known: Path) -> None:
    said = await run("subscription.py", variables, str(known), "--once")
    for user, level in risks.items():
        assert f"dropout-risk of learner {user}: {level}\n" in said
    assert await run("subscription.py", variables, str(known), "--once") == "", "nothing comes twice"
    with closing(sqlite3.connect(known)) as own:
        rows = [json.loads(row) for (row,) in own.execute("SELECT row FROM known")]
    kept = {row["user_id"]: row["risk_level"] for row in rows if "risk_level" in row}
    assert kept == risks, "after a restart it knows what it was told before"


async def ask_the_predictors(variables: dict[str, str], users: list[int]) -> None:
    said = await run("predictors.py", variables, *map(str, users))
    for user in users:
        assert f"learner {user}: risk " in said
    assert said.count("would struggle with lesson_42") == len(users)

"""The whole path on the simulated learners and the real files: topics, Postgres and `lyo replay` agree."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lyo.cli.files.simulate import write
from lyo.evaluation.replay import Replay
from lyo.models.predictions.records import texts
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin
from lyo.streams.event_files.publisher import publish_file
from lyo.streams.settings import Settings
from lyo.tools.simulation import Plan
from tests.support.faults import agreement
from tests.support.processes import ROOT, lag, process, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DATA = ROOT.parent / "shared" / "data"
REAL = ("assistments17", "fsrs-user", "oulad", "supermemo-a", "xuetang-a")
APRIL = 1_776_643_200_000  # 2026-04-20T00:00:00Z
KINDS_OF = {
    "simulated": {"dropout-risk", "timing", "plateaus", "regressions", "struggle"},
    "assistments17": {"dropout-risk", "timing", "plateaus", "regressions"},
    "fsrs-user": {"dropout-risk", "timing", "plateaus", "regressions"},
    "oulad": {"dropout-risk", "timing", "plateaus", "regressions"},
    "supermemo-a": {"dropout-risk", "timing", "plateaus", "regressions"},
    "xuetang-a": {"dropout-risk", "timing"},
}
"""The kinds of which each file gives more than neutral answers."""


async def settled(settings: Settings, replay: Replay, path: Path) -> None:
    """Wait until nothing differs any more; what still does after a while fails the test."""
    wanted = agreement.predicted(replay)
    closed = agreement.asked_about(path)
    counts = agreement.informed(wanted)
    print(f"\n{path.name}: {replay.events:,} events, not neutral: {counts}")
    assert set(counts) == KINDS_OF[path.name.partition(".")[0]]
    end = time.monotonic() + 60
    while True:
        on_topics = await agreement.on_topics(settings)
        in_postgres = await agreement.in_postgres(settings.database_url)
        unlike = {
            "topics": agreement.differences(wanted, on_topics, closed),
            "postgres": agreement.differences(on_topics, in_postgres),
        }
        if not any(unlike.values()):
            break
        if time.monotonic() > end:
            said = {name: (len(texts), texts[: agreement.SHOWN]) for name, texts in unlike.items()}
            raise AssertionError(f"{len(wanted)} predictions; differences: {said}")
        await asyncio.sleep(2)
    mine, stored = agreement.rows(replay.engine), await agreement.stored_rows(settings)
    assert mine.keys() == stored.keys()
    assert [key for key, value in mine.items() if stored[key] != value] == []


async def check(
    path: Path, settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    """Publish a file with one worker at work, let a second join halfway, kill the first, and compare."""
    everything = Replay()
    everything.read(path, None, None, None)
    at = everything.newest
    settings = settings.model_copy(
        update={
            "clock": _text(at),
            "session_timeout_ms": 3_000,
            "transaction_timeout_ms": 6_000,
            "poll_records": 1_000,
            "batch_records": 2_000,
        }
    )
    await topic_admin.ensure(settings)
    upgrade(settings.database_url)
    variables = environment(settings)
    async with (
        process("sink", variables, tmp_path / "sink.log"),
        process("worker", variables, tmp_path / "first.log") as first,
    ):
        publishing = asyncio.create_task(publish_file(path, settings))

        async def begun() -> bool:
            return b"task=" in (tmp_path / "first.log").read_bytes() and publishing.done()

        await wait_for(begun, "the first worker has opened a task and all is published")
        async with process("worker", variables, tmp_path / "second.log"):

            async def joined() -> bool:
                return b"task=" in (tmp_path / "second.log").read_bytes()

            await wait_for(joined, "the second worker has opened a task")
            first.kill()

            async def drained() -> bool:
                return await lag(settings) == 0 and await behind(settings) == 0

            await wait_for(drained, "everything is processed and stored")
            published = await publishing
            assert published.records > 0
            await settled(settings, agreement.replayed(path, at), path)


def _text(at: int) -> str:
    return texts(np.array([at]))[0]


async def test_simulated_learners_with_all_event_types(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "simulated.jsonl.gz"
    write(Plan(learners=400, days=70, seed=11, end=APRIL, bad=0.0, first_user=1), path)
    await check(path, settings, environment, tmp_path)


@pytest.mark.parametrize("name", REAL)
async def test_real_events(
    name: str, settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    path = DATA / f"{name}.events.jsonl.gz"
    if not path.exists():
        pytest.skip("no ../shared/data here")
    await check(path, settings, environment, tmp_path)

"""A file of old events through a running system: the decisions are those of `lyo replay --as history`.

In `make test` a slice of each file; `make history` takes the whole files.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lyo.cli.files.simulate import write
from lyo.evaluation.replay import Replay
from lyo.models.engine import Engine
from lyo.models.predictions.records import texts
from lyo.models.state.catalogue import Catalogue
from lyo.streams import topic_admin, topics
from lyo.streams.event_files.publisher import publish_file
from lyo.streams.event_files.reader import opened
from lyo.streams.settings import Settings
from lyo.tools.simulation import Plan
from tests.support import logs
from tests.support.processes import ROOT, lag, process, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DATA = ROOT.parent / "shared" / "data"
WHOLE = bool(os.environ.get("LYO_TEST_HISTORY"))
SLICE = 8_000  # lines
APRIL = 1_776_643_200_000  # 2026-04-20T00:00:00Z
PAUSE = 1.5  # seconds between two parts of the file: sweeps would begin within one
SETTLE = 10.0
Told = list[dict[str, Any]]


def parts_of(path: Path, folder: Path) -> list[Path]:
    """The file, or a slice from its middle, in three parts."""
    with opened(path) as file:
        lines = [line for piece in file.pieces() for line in piece.lines if line]
    if not WHOLE and len(lines) > SLICE:
        some = islice(lines, 0, None, max(len(lines) // 300, 1))
        users = {None, *(json.loads(line).get("user_id") for line in some)}
        lines = [line for line in lines if json.loads(line).get("user_id") in users][:SLICE]
    third = -(-len(lines) // 3)
    found = []
    for number in range(3):
        found.append(folder / f"part-{number}.jsonl")
        found[-1].write_bytes(b"\n".join(lines[number * third : (number + 1) * third]) + b"\n")
    return found


def decided(files: list[Path]) -> tuple[int, dict[str, dict[str, Any]]]:
    """When the files end (ms), and what `lyo replay --interventions --as history` decides by then."""
    replay = Replay(Engine(Catalogue()))
    for path in files:
        replay.read(path, None, None, None)
    replay.settle(replay.newest)
    return replay.newest, {one["intervention_id"]: one for one in map(json.loads, replay.decided())}


async def told(settings: Settings) -> Told:
    """Every record of the interventions topic, in log order."""
    records = await logs.records(settings, topics.names(settings).interventions)
    return [json.loads(record.value) for record in records if record.value is not None]


async def check(
    path: Path, settings: Settings, environment: Callable[[Settings], dict[str, str]], folder: Path
) -> None:
    """Publish the file in parts, kill the worker amid them, and compare what was decided."""
    files = parts_of(path, folder)
    at, wanted = decided(files)
    clock = texts(np.array([at]))[0]
    settings = settings.model_copy(update={"clock": clock, "session_timeout_ms": 3_000})
    await topic_admin.ensure(settings)
    variables = environment(settings) | {"LYO_HISTORY_SETTLE_SECONDS": str(SETTLE)}
    async with AsyncExitStack() as stack:
        for number, part in enumerate(files):
            worker = await stack.enter_async_context(
                process("worker", variables, folder / f"worker-{number}.log")
            )
            await publish_file(part, settings, history=True)
            await asyncio.sleep(PAUSE)
            if number < len(files) - 1:
                worker.kill()
            assert not await told(settings), "decided while more was to come"

        async def drained() -> bool:
            return await lag(settings) == 0

        await wait_for(drained, "everything is processed")

        async def judged() -> bool:
            return len(await told(settings)) >= len(wanted)

        await wait_for(judged, "history has settled and all is decided")
        await asyncio.sleep(PAUSE)
        found = await told(settings)
    assert {one["status"] for one in found} == {"active"}, "nothing was retracted"
    assert len(found) == len(wanted)
    assert {one["intervention_id"]: one for one in found} == wanted
    assert wanted, "nothing was decided: the test says nothing"


async def test_simulated_learners(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "simulated.jsonl.gz"
    plan = Plan(2_000, 60, 1, APRIL, 0.0, 1) if WHOLE else Plan(40, 60, 1, APRIL, 0.0, 1)
    write(plan, path)
    await check(path, settings, environment, tmp_path)


@pytest.mark.parametrize("name", ["oulad", "xuetang-a"])
async def test_real_events(
    name: str, settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    path = DATA / f"{name}.events.jsonl.gz"
    if not path.exists():
        pytest.skip("no ../shared/data here")
    await check(path, settings, environment, tmp_path)

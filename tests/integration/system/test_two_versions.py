"""An upgrade and a way back with events coming in: the version before this one beside this one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lyo.storage.schema.migrate import downgrade, upgrade
from lyo.streams.settings import Settings
from tests.support.faults.deployment import QUICK, deployed
from tests.support.faults.oracle import Report
from tests.support.learners.published import parts, simulated
from tests.support.processes import ROOT, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Moved on with each release, to the release before it.
BEFORE = "93eed902230a6fc2f0702e2f856886a978cf3e48"
OLD = "cli.main"  # where its command is
LAYOUT = 1  # of the rows that it reads and writes
SCHEMA = "phase2_006"  # what its sinks and APIs write to
FORMULAS = (
    *("regressed_since", "right", "hits", "struggles", "stability"),
    *("peak_strength", "plateaus", "regressions"),
)
EPISODES = ("('plateaus'", "('regressions'")


def unpacked(commit: str, folder: Path) -> Path:
    """The files of a commit; skips where the clone's history does not reach back to it."""
    folder.mkdir()
    archive = folder.with_suffix(".tar")
    command = ["git", "archive", "--output", str(archive), commit]
    if subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip(f"this clone's history does not reach back to {commit}")
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)
    return folder


def of_both(report: Report) -> Report:
    """The report without what the two versions make otherwise of the same events.

    Both count events alike; each has formulas of its own for what it makes of a skill's scores, so
    memories, plateaus and regressions differ in value and in when they begin.
    """
    columns = {f"{part}.{name}" for part in ("now", "before") for name in FORMULAS}
    report.rows = [text for text in report.rows if not set(text.rpartition(" in ")[2].split(", ")) <= columns]
    report.predictions = [
        text
        for text in report.predictions
        if text.endswith(("is missing", "is too much")) and not text.startswith(EPISODES)
    ]
    return report


async def test_two_versions_work_side_by_side_and_the_older_takes_over_again(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    before = {"PYTHONPATH": str(unpacked(BEFORE, tmp_path / "before"))}
    place = [sys.executable, "-c", "import streams, storage; print(streams.__file__, storage.__file__)"]
    said = await asyncio.to_thread(subprocess.check_output, place, env=before, cwd=tmp_path, text=True)
    assert all(path.startswith(before["PYTHONPATH"]) for path in said.split())
    files = parts(simulated(tmp_path / "events.jsonl", learners=30, days=30, seed=14), 4)
    async with deployed(
        settings.model_copy(update=QUICK | {"write_layout": LAYOUT}), environment, tmp_path
    ) as deployment:
        fleet = deployment.fleet

        async def migrate(to: Callable[[str, str], None], revision: str) -> None:
            await asyncio.to_thread(to, settings.database_url, revision)

        await migrate(downgrade, SCHEMA)
        old_worker = fleet.add("worker-old", program=OLD, **before)
        old_sink = fleet.add("sink-old", program=OLD, **before)
        await deployment.give(files[0])
        await deployment.quiet()

        await old_sink.stop()
        await migrate(upgrade, "head")
        new_worker, new_sink = fleet.add("worker-new"), fleet.add("sink-new")
        publishing = asyncio.create_task(deployment.give(files[1]))

        async def both() -> bool:
            return new_worker.said("open rows=") > 0 and new_sink.said("claimed") > 0

        await wait_for(both, "the new version has partitions", 90)
        await publishing
        await deployment.quiet()
        for member in (old_worker, new_worker, new_sink):
            assert member.alive, member.tail()

        await old_worker.stop()
        await deployment.give(files[2])
        report = of_both(await deployment.verdict(seconds=20))
        assert report.clean, f"upgraded: {report}"

        fleet.add("worker-old", program=OLD, **before)
        await new_worker.stop()
        await new_sink.stop()
        await migrate(downgrade, SCHEMA)
        fleet.add("sink-old", program=OLD, **before)
        await deployment.give(files[3])
        report = of_both(await deployment.verdict(seconds=20))
        assert report.clean, f"rolled back: {report}"
        await fleet.stop()

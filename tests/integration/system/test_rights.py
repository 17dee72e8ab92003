"""The rights that docs/security.md lists are enough, and one taken away is named and destroys nothing."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lyo.ops.doctor.examine import examine
from lyo.ops.doctor.findings import Status
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin, topics
from lyo.streams.settings import Settings
from lyo.tools.stack.local import default_home
from tests.support.processes import ROOT, Environment, lag, process
from tests.support.servers import broker_tool
from tests.support.servers.guarded_kafka import DENY, LITERAL, TOPIC, USER, GuardedKafka, rule
from tests.support.worker.running import events, publish, publisher, until

pytestmark = pytest.mark.integration

ALL = 2


def documented(settings: Settings) -> list[list[str]]:
    """The arguments of the commands in docs/security.md, for this deployment's names."""
    lines = re.findall(r"^kafka-acls\.sh .+$", (ROOT / "docs/security.md").read_text(), re.MULTILINE)
    names = {"User:app": f"User:{USER}", "lyo.": settings.topic_prefix, "lyo": settings.app_id}
    commands = [shlex.split(line)[3:] for line in lines]
    return [[names.get(word, word) for word in words] for words in commands]


async def last_line(variables: dict[str, str], command: str) -> str:
    """What a worker or a sink ends with by itself."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "lyo.cli.main", command],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr[-2000:]
    return done.stderr.strip().splitlines()[-1]


async def test_the_documented_rights_suffice_and_a_hidden_topic_is_never_called_lost(
    tmp_path: Path, settings: Settings, environment: Environment
) -> None:
    await asyncio.to_thread(upgrade, settings.database_url)
    with GuardedKafka(tmp_path / "guarded", jar_cache=default_home() / "jars", private=True) as guarded:
        root = settings.model_copy(update={"bootstrap_servers": guarded.bootstrap_servers})
        await topic_admin.ensure(root)
        for arguments in documented(root):
            await asyncio.to_thread(broker_tool.allow, guarded.bootstrap_servers, *arguments)
        clerk = guarded.as_clerk(root)
        variables = environment(clerk)

        async def all_well() -> bool:
            # Rules reach the broker a moment after they were taken.
            found = await examine(clerk)
            return not [one for one in found if one.status in {Status.ERROR, Status.UNKNOWN}]

        await until(all_well, 60, "the doctor finds every right", pause=0.5)
        rows = topics.names(root).learner_rows
        log = tmp_path / "worker"
        async with process("sink", variables, tmp_path / "sink"), process("worker", variables, log) as worker:
            async with publisher(clerk) as producer:
                await publish(clerk, producer, events(300, users=20))

                async def stored() -> bool:
                    return await lag(root) == 0 and await behind(root) == 0

                await until(stored, 90, "everything is processed and stored", pause=0.5)
                await rule(root, TOPIC, rows, LITERAL, ALL, DENY)
                # The next transaction fails, and the worker opens its numbers anew.
                await publish(clerk, producer, events(300, users=20, first=300))
            await asyncio.to_thread(worker.wait, 90)
        for said in (
            await last_line(variables, "worker"),
            await last_line(variables, "sink"),
            (tmp_path / "worker").read_text().strip().splitlines()[-1],
        ):
            assert f"may not describe {rows}" in said
            assert "lyo rebuild" not in said
            assert "missing" not in said
        found = {(one.check, one.about): one for one in await examine(clerk)}
        assert found["topics.there", rows].status is Status.UNKNOWN
        assert "rebuild nothing" in found["topics.there", rows].to_do
        assert found["kafka.permissions", f"topic {rows}"].status is Status.ERROR

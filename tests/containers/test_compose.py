"""The real compose file with stand-ins for its base images: up, events in, rows out, kill, scale, down.

One system for the whole module, in the order of a day: each test begins where the one before it ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import jwt
import pytest
from aiokafka.errors import KafkaError

from lyo.models.state import layout
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.simulation import Plan, generate
from tests.support.containers.composing import PARTITIONS, ROOT, SECRET, Compose, sh
from tests.support.containers.engine import engine, why_not
from tests.support.faults.agreement import replayed
from tests.support.processes import wait_for

WANTED = "LYO_TEST_CONTAINERS"
LEARNERS, DAYS, DAY = 60, 10, 86_400_000
LONG_RUNNING = ["worker", "sink", "api", "monitor"]
JOBS = ["topics", "migrate"]
OURS = LONG_RUNNING + JOBS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.environ.get(WANTED) != "1", reason=f"make test-containers sets {WANTED}=1"),
]


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    """An engine with the images; nothing runs yet."""
    if (reason := why_not()) is not None:
        pytest.fail(reason)
    with engine() as host:
        environment = os.environ | {"DOCKER_HOST": host, "DOCKER_BUILDKIT": "0"}
        program = sh(["ops/deploy/containers/compose.sh"], environment).split()
        lines = sh(["ops/deploy/containers/stand-ins.sh"], environment).splitlines()
        running = Compose(host, program, dict(line.split("=", 1) for line in lines))
        running("build", "topics")
        try:
            yield running
        finally:
            print(running("logs", "--no-color", "--tail", "40"))  # seen when a test fails
            running("down", "--volumes", "--timeout", "5")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three files of simulated learners' events, in order of time."""
    now = time.time_ns() // 1_000_000
    lines = b"".join(generate(Plan(LEARNERS, DAYS, 1, now // DAY * DAY))).splitlines(keepends=True)
    folder, third = tmp_path_factory.mktemp("day"), len(lines) // 3 + 1
    files = []
    for number in range(3):
        file = folder / f"{number}.jsonl"
        file.write_bytes(b"".join(lines[number * third : (number + 1) * third]))
        files.append(file)
    return files


def settings(compose: Compose) -> Settings:
    return Settings(bootstrap_servers=compose.lyo["LYO_BOOTSTRAP_SERVERS"], partitions=PARTITIONS)


def publish(compose: Compose, file: Path) -> None:
    sh([sys.executable, "-m", "lyo.cli.main", "publish", str(file)], compose.lyo)


async def stored(compose: Compose) -> dict[str, bytes]:
    """Every learner's row in Postgres, by the learner's id."""
    connection = await asyncpg.connect(compose.database_url)
    try:
        found = await connection.fetch("SELECT user_id, row FROM learner_rows")
    finally:
        await connection.close()
    return {str(row["user_id"]): bytes(row["row"]) for row in found}


def folded(files: list[Path], folder: Path) -> dict[str, bytes]:
    """The same rows, folded here in one process from the files alone."""
    whole = folder / "so-far.jsonl"
    whole.write_bytes(b"".join(file.read_bytes() for file in files))
    engine_ = replayed(whole, time.time_ns() // 1_000_000).engine
    return {key.decode(): value for key, value in layout.encode_learners(engine_.state.learners.rows)}


async def agrees(compose: Compose, files: list[Path], folder: Path) -> None:
    """Wait until Postgres has exactly these events' rows: nothing lost, nothing counted twice."""
    wanted = folded(files, folder)
    assert len(wanted) > LEARNERS // 2

    async def same() -> bool:
        return await stored(compose) == wanted

    await wait_for(same, "Postgres has the rows of what was published", 120)


async def members(compose: Compose) -> int:
    async with clients.admin(settings(compose)) as client:
        (answer,) = await client.describe_consumer_groups(["lyo"])
    _, _, state, _, _, found, *_ = answer.groups[0]
    return len(found) if state == "Stable" else 0


def answer(compose: Compose, path: str, token: str = "") -> tuple[int, Any]:
    url = f"http://127.0.0.1:{compose.ports['API_PORT']}{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


# ---------------------------------------------------------------- in the order of a day


def test_up_brings_everything_up_in_order_and_healthy(compose: Compose) -> None:
    compose("up", "--detach", "--wait", "--wait-timeout", "240", "kafka", "postgres", *LONG_RUNNING)
    for job in JOBS:
        (container,) = compose.inspect(job)
        assert (container["State"]["Status"], container["State"]["ExitCode"]) == ("exited", 0)
    begun = {name: compose.inspect(name)[0]["State"] for name in [*LONG_RUNNING, *JOBS]}
    for name in LONG_RUNNING:
        assert begun[name]["Health"]["Status"] == "healthy"
        assert begun[name]["StartedAt"] > begun["migrate"]["FinishedAt"]
    assert begun["worker"]["StartedAt"] > begun["topics"]["FinishedAt"]


@pytest.mark.parametrize("service", OURS)
def test_our_containers_are_nobody_in_particular_read_only_and_limited(
    compose: Compose, service: str
) -> None:
    (container,) = compose.inspect(service)
    host = container["HostConfig"]
    assert container["Config"]["User"] == "10001:10001"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    # A job that failed is for a person to look at.
    assert host["RestartPolicy"]["Name"] in ({"", "no"} if service in JOBS else {"unless-stopped"})


def test_a_process_inside_cannot_write_its_own_code_or_become_root(compose: Compose) -> None:
    script = (
        "import os; print(os.getuid(), os.access('/lyo', os.W_OK), open('/proc/self/status').read())\n"
        "try: open('/lyo/new', 'w')\n"
        "except OSError as error: print('refused:', error.strerror)"
    )
    said = compose("exec", "-T", "worker", "python", "-c", script)
    assert said.startswith("10001 False")
    assert "refused: Read-only file system" in said
    assert "CapEff:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said


def test_the_image_has_what_runs_and_not_what_tests(compose: Compose) -> None:
    script = (
        "import importlib.util as u; print([n for n in ('pytest', 'mypy', 'playwright') if u.find_spec(n)])"
    )
    assert compose("exec", "-T", "worker", "python", "-c", script).strip() == "[]"
    assert compose("exec", "-T", "worker", "lyo", "--version").startswith("lyo, version")


def test_the_doctor_finds_no_error_from_inside(compose: Compose) -> None:
    found = json.loads(compose("exec", "-T", "worker", "lyo", "doctor", "--json"))
    assert found["ok"], found


async def test_events_in_rows_in_postgres_and_answers_from_the_api(
    compose: Compose, day: list[Path], tmp_path: Path
) -> None:
    publish(compose, day[0])
    await agrees(compose, day[:1], tmp_path)
    assert answer(compose, "/readyz")[0] == 200
    connection = await asyncpg.connect(compose.database_url)
    user, tenant = await connection.fetchrow(
        "SELECT user_id, organization_id FROM dropout_risk_scores LIMIT 1"
    )
    await connection.close()
    claims = {"sub": str(user), "aud": "lyo", "exp": int(time.time()) + 3_600}
    claims |= {} if tenant is None else {"org": tenant}
    status, body = answer(compose, "/api/v1/predictive/dropout/risk", jwt.encode(claims, SECRET, "HS256"))
    assert status == 200, body
    assert answer(compose, "/api/v1/predictive/dropout/risk")[0] == 401


async def test_a_killed_worker_comes_back_and_nothing_is_lost(
    compose: Compose, day: list[Path], tmp_path: Path
) -> None:
    (before,) = compose.inspect("worker")
    os.kill(before["State"]["Pid"], signal.SIGKILL)
    publish(compose, day[1])
    await agrees(compose, day[:2], tmp_path)
    (after,) = compose.inspect("worker")
    assert (after["Id"], after["RestartCount"]) == (before["Id"], 1)


async def test_three_workers_share_the_partitions_and_agree(
    compose: Compose, day: list[Path], tmp_path: Path
) -> None:
    compose("up", "--detach", "--wait", "--no-recreate", "--scale", "worker=3", "worker")

    async def three() -> bool:
        try:
            return await members(compose) == 3
        except KafkaError:
            return False

    await wait_for(three, "three workers in the group", 60)
    publish(compose, day[2])
    await agrees(compose, day, tmp_path)


async def test_what_was_stored_is_still_there_after_stopping_and_starting(
    compose: Compose, day: list[Path], tmp_path: Path
) -> None:
    compose("stop")
    for name in LONG_RUNNING:
        for container in compose.inspect(name):
            assert container["State"]["ExitCode"] == 0, f"{name} did not end in order"
    compose("up", "--detach", "--wait", "--scale", "worker=1", "kafka", "postgres", *LONG_RUNNING)
    await agrees(compose, day, tmp_path)


def test_down_leaves_nothing(compose: Compose) -> None:
    compose("down", "--volumes", "--timeout", "30")
    assert compose.docker("ps", "--all", "--quiet") == ""
    assert compose.docker("volume", "ls", "--quiet") == ""
    assert "lyo-test" not in compose.docker("network", "ls", "--format", "{{.Name}}")


def test_bad_settings_are_refused_before_anything_starts(compose: Compose) -> None:
    """A typing error in the file's settings must not wait for a container to fail."""
    bad = compose.environment | {"LYO_PARTITIONS": "many"}
    done = subprocess.run(
        [*compose.program, "run", "--rm", "--no-deps", "topics"],
        env=bad,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "LYO_PARTITIONS" in done.stderr

"""A monitor beside real workers and sinks: equal to the broker's tool, right when Postgres is away."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import httpx
import pytest

from lyo.ops.monitor.monitor import Monitor
from lyo.ops.monitor.snapshot import Snapshot, Status
from lyo.storage.database import plain_url
from lyo.storage.reads import monitoring
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin
from lyo.streams.kafka.client_ids import sink_group
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalPostgres
from tests.support.monitor.watching import seen, sink, watching, workers
from tests.support.processes import ROOT, Environment, process
from tests.support.servers import broker_tool
from tests.support.sink.records import dropout
from tests.support.sink.running import all_stored, running, sent
from tests.support.sink.running import publish as publish_records
from tests.support.worker.running import events, publish, publisher, until

pytestmark = [pytest.mark.integration]


def at_rest(snapshot: Snapshot) -> bool:
    return all(group.status is Status.OK and group.events == 0 for group in snapshot.groups)


async def told_alike(settings: Settings, monitor: Monitor) -> None:
    """Both groups' positions, ends and lags are what the broker's own tool says."""
    for group_of, name in ((workers, settings.app_id), (sink, sink_group(settings))):
        said = await asyncio.to_thread(broker_tool.describe, settings.bootstrap_servers, name)
        group = group_of(await monitor.look())
        ours = {(one.topic, one.partition): (one.position, one.end, one.events) for one in group.partitions}
        for place, row in said.items():
            # Of a topic that holds nothing no offset is committed; the tool prints dashes then.
            current = ours[place][0] if row.current is None else row.current
            assert row.end is not None
            assert current is not None
            assert (current, row.end, row.end - current) == ours[place], place
        assert set(said) == set(ours)


async def test_a_live_worker_and_sink_are_told_as_the_brokers_tool_tells_them(
    ready: Settings, environment: Environment, tmp_path: Path
) -> None:
    settings = ready.model_copy(update={"release": "5.4.3"})
    async with (
        process("worker", environment(settings), tmp_path / "worker"),
        process("sink", environment(settings), tmp_path / "sink"),
        watching(settings) as monitor,
    ):
        async with publisher(settings) as producer:
            await publish(settings, producer, events(400, users=30))
        snapshot = await seen(
            monitor,
            lambda shown: (
                at_rest(shown) and workers(shown).events == 0 and any(one.at for one in shown.predictions)
            ),
            "everything processed and stored",
        )
        assert all(one.position for one in workers(snapshot).partitions if one.end)
        # The mirror follows Postgres within a second.
        await asyncio.sleep(1.5)
        await told_alike(settings, monitor)
        ages = {one.kind: one for one in snapshot.predictions}
        assert ages["dropout-risk"].model is not None
        assert 0 <= (ages["dropout-risk"].age_seconds or -1) < 600
        assert {member.release for member in snapshot.members} == {"5.4.3"}
        owned = [
            number
            for member in snapshot.members
            if member.group == settings.app_id
            for number in member.numbers
        ]
        assert sorted(owned) == list(range(settings.partitions))
    async with watching(settings) as monitor:
        stopped = await seen(
            monitor,
            lambda shown: {group.status for group in shown.groups} == {Status.STOPPED},
            "neither worker nor sink",
        )
        assert workers(stopped).events == 0


async def test_the_sinks_lag_is_postgres_and_its_mirror_while_postgres_is_away(
    kafka_settings: Settings, own_postgres: LocalPostgres
) -> None:
    settings = kafka_settings.model_copy(update={"database_url": own_postgres.database_url})
    await topic_admin.ensure(settings)
    await asyncio.to_thread(upgrade, settings.database_url)
    records = [sent(settings, "dropout-risk", dropout(user)) for user in range(1, 41)]
    async with watching(settings) as monitor:
        async with running(settings) as (_, task):
            await publish_records(settings, records[:20])
            await all_stored(settings, task)
            await seen(monitor, at_least_stored(settings, 20), "the mirror")
        snapshot = await monitor.look()
        assert (sink(snapshot).events, snapshot.sink_delay_seconds) == (0, 0.0)
        await publish_records(settings, records[20:])
        behind = await seen(monitor, lambda shown: (sink(shown).events or 0) >= 20, "lag without a sink")
        assert (behind.sink_delay_seconds or 0) > 0
        await asyncio.to_thread(own_postgres.stop)
        away = await monitor.look()
        assert not away.postgres.ok
        assert away.stored.overdue is None
        assert (sink(away).events, sink(away).status) == (sink(behind).events, Status.STOPPED)


async def test_late_and_duplicate_events_are_counted_through_a_restart(
    ready: Settings, environment: Environment, tmp_path: Path
) -> None:
    sent_once = events(60, users=10)
    late = [
        (kind, user, value) for kind, user, value in events(6, users=10, first=600, at="2020-01-01T00:00:00Z")
    ]
    async with watching(ready) as monitor, publisher(ready) as producer:
        assert (await monitor.look()).duplicates == 0
        async with process("worker", environment(ready), tmp_path / "first"):
            await publish(ready, producer, sent_once)
            await publish(ready, producer, sent_once[:15])
            await seen(
                monitor, lambda shown: shown.duplicates == 15 and workers(shown).events == 0, "duplicates"
            )
        async with process("worker", environment(ready), tmp_path / "second"):
            await publish(ready, producer, sent_once[:5])
            await publish(ready, producer, late)
            shown = await seen(
                monitor,
                lambda shown: shown.duplicates == 20 and workers(shown).events == 0,
                "more duplicates",
            )
        assert shown.late == len(late)


def at_least_stored(settings: Settings, count: int) -> Callable[[Snapshot], bool]:
    return lambda shown: sum(one.position or 0 for one in sink(shown).partitions) >= count


async def test_learners_overdue_are_the_active_ones_past_their_day(ready: Settings) -> None:
    now = time.time_ns() // 1_000_000
    day = 86_400_000
    connection = await asyncpg.connect(plain_url(ready.database_url))
    try:
        for user, valid_until, active in (
            (1, now + day, now),  # not due yet
            (2, now - 1_000, now - 2 * day),  # due, and was active
            (3, now - 1_000, now - 40 * day),  # long silent: nothing is due
            (4, now - 90 * day, now - 92 * day),  # was active when it was due, and was never swept
        ):
            await store_learner(connection, user, valid_until, active)
        found = await monitoring.survey(connection, now)
    finally:
        await connection.close()
    assert found == monitoring.Survey(learners=4, overdue=2)


async def store_learner(connection: asyncpg.Connection, user: int, valid_until: int, active: int) -> None:
    import numpy as np

    from lyo.models.state.layout import encode_learners
    from lyo.models.state.learner import LEARNER

    row = np.zeros(1, LEARNER)
    row["user"], row["last_session"], row["last_completion"] = user, active - 5, active
    ((_, value),) = encode_learners(row)
    await connection.execute("INSERT INTO learner_rows (user_id, row) VALUES ($1, $2)", user, value)
    await connection.execute(
        "INSERT INTO dropout_risk_scores "
        "(user_id, risk_score, risk_level, confidence, prediction_id, as_of, valid_until, model) "
        "VALUES ($1, 0.5, 'low', 1, 'p', now(), to_timestamp($2::float8 / 1000), 'm')",
        user,
        float(valid_until),
    )


async def test_lyo_lag_prints_a_table_and_json_and_says_what_is_unknown(
    ready: Settings, environment: Environment
) -> None:
    code, out, _ = await lyo(environment(ready), "lag", "--json", "--observe", "0")
    assert code == 0
    said = json.loads(out)
    assert {group["role"]: (group["status"], group["events"]) for group in said["groups"]} == {
        "workers": ("stopped", 0),
        "sink": ("stopped", 0),
    }
    assert said["groups"][0]["rate_in"] is None
    code, out, _ = await lyo(environment(ready), "lag", "--observe", "0", "--busy")
    assert code == 0
    assert "unknown" in out
    assert "the group has no members" in out
    nowhere = environment(ready.model_copy(update={"bootstrap_servers": "127.0.0.1:1"}))
    code, out, error = await lyo(nowhere, "lag", "--observe", "0", "--json")
    assert code == 1
    assert "Kafka did not answer" in error
    assert {group["status"] for group in json.loads(out)["groups"]} == {"unknown"}


async def lyo(environment: dict[str, str], *arguments: str) -> tuple[int | None, str, str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lyo.cli.main",
        *arguments,
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await child.communicate()
    return child.returncode, out.decode(), error.decode()


async def test_lyo_lag_watches_until_it_is_stopped(ready: Settings, environment: Environment) -> None:
    quick = environment(ready.model_copy(update={"monitor_interval_seconds": 0.2}))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lyo.cli.main", "lag", "--watch", "--json"),
        cwd=ROOT,
        env=quick,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    assert child.stdout is not None
    looks = [json.loads(await child.stdout.readline()) for _ in range(3)]
    child.terminate()
    assert await child.wait() == 0
    assert looks[0]["at"] < looks[1]["at"] < looks[2]["at"]
    assert looks[0]["groups"][0]["rate_out"] is None
    assert looks[2]["groups"][0]["rate_out"] == 0.0


async def test_lyo_monitor_serves_without_kafka_and_postgres_and_ends_in_order(
    unique: str, environment: Environment, tmp_path: Path
) -> None:
    nowhere = Settings(
        bootstrap_servers="127.0.0.1:1",
        database_url="postgresql://postgres@127.0.0.1:1/lyo",
        app_id=unique,
        monitor_port=0,
        monitor_interval_seconds=0.2,
    )
    log = tmp_path / "monitor"
    async with process("monitor", environment(nowhere), log) as child, httpx.AsyncClient() as client:
        await until(lambda: "listening on" in log.read_text(), 60, "an address")
        (url,) = re.findall(r"listening on (http://\S+)/ops", log.read_text())

        async def told() -> bool:
            answer = await client.get(f"{url}/metrics")
            return 'lyo_monitor_reaches{what="kafka"} 0.0' in answer.text

        await until(told, 60, "that Kafka is away")
        metrics = (await client.get(f"{url}/metrics")).text
        assert f'lyo_group_status{{group="{unique}",status="unknown"}} 1.0' in metrics
        assert not re.search(r"^lyo_lag_(events|seconds)\{", metrics, re.MULTILINE)
        assert (await client.get(f"{url}/health")).status_code == 200
        # No token is set, so nobody is let in.
        assert (await client.get(f"{url}/ops")).status_code == 403
        assert (await client.get(f"{url}/ops/data.json")).status_code == 401
        child.terminate()
        assert await asyncio.to_thread(child.wait, 30) == 0

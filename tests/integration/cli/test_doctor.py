"""`lyo doctor` against a real Kafka and a real Postgres in which something is wrong."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from lyo.ops.doctor.examine import examine, put_right
from lyo.ops.doctor.findings import Status, well
from lyo.storage.schema.migrate import downgrade, upgrade
from lyo.storage.schema.revision import newest_revision
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka, LocalPostgres
from lyo.tools.stack.local import default_home
from tests.support.processes import Environment, lyo
from tests.support.servers.doctor import bad, execute
from tests.support.servers.guarded_kafka import (
    ALLOW,
    DENY,
    DESCRIBE_CONFIGS,
    GROUP,
    LITERAL,
    PREFIXED,
    READ,
    TOPIC,
    WRITE,
    GuardedKafka,
    rule,
)

pytestmark = pytest.mark.integration


def doctor(variables: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return lyo(variables, "doctor", *options)


# ---------------------------------------------------------------- nothing wrong, and everything missing


async def test_a_sound_deployment_has_no_error_and_says_what_was_checked(
    ready: Settings, environment: Environment
) -> None:
    done = await asyncio.to_thread(doctor, environment(ready), "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (0, True), done.stdout + done.stderr
    assert {one["status"] for one in answer["findings"]} == {"ok", "warning"}
    assert {one["check"] for one in answer["findings"] if one["status"] == "warning"} == {
        "kafka.replication",  # one broker
        "api.keys",
    }
    assert all(one["to_do"] for one in answer["findings"] if one["status"] == "warning")


async def test_fix_creates_what_is_missing_and_the_next_look_finds_nothing(
    settings: Settings, environment: Environment
) -> None:
    first = await asyncio.to_thread(doctor, environment(settings))
    assert first.returncode == 1
    assert "it is missing" in first.stdout
    assert "→ lyo migrate" in first.stdout
    missing = {spec.name for spec in topics.specs(settings)}
    assert {name for name in missing if name in first.stdout} == missing

    fixed = await asyncio.to_thread(doctor, environment(settings), "--fix", "--json")
    answer = json.loads(fixed.stdout)
    assert (fixed.returncode, answer["ok"]) == (0, True), fixed.stdout
    assert {line.removeprefix("created ") for line in answer["done"]} > missing
    assert await topic_admin.ensure(settings) == []

    again = await asyncio.to_thread(doctor, environment(settings), "--fix", "--json")
    assert (again.returncode, json.loads(again.stdout)["done"]) == (0, [])


async def test_fix_creates_the_database_too(kafka_settings: Settings, database_url: str, unique: str) -> None:
    url = database_url.replace(unique, f"{unique}_more")
    settings = kafka_settings.model_copy(update={"database_url": url})
    await topic_admin.ensure(settings)
    found = await examine(settings)
    assert "does not exist" in next(one.found for one in found if one.check == "postgres.reachable")
    assert {one.status for one in found if one.check == "postgres.schema"} == {Status.UNKNOWN}
    await put_right(settings, found)
    try:
        assert well(await examine(settings))
    finally:
        await execute(database_url, f'DROP DATABASE "{unique}_more" WITH (FORCE)')


# ---------------------------------------------------------------- clocks


async def test_a_clock_behind_postgres_is_an_error_with_its_distance(ready: Settings) -> None:
    behind = time.time_ns() // 1_000_000 - 600_000
    instant = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(behind / 1000))
    found = bad(await examine(ready.model_copy(update={"clock": instant})))
    assert set(found) == {("clock.postgres", "")}
    text = found["clock.postgres", ""].found
    assert 595 < float(text.split()[2].replace(",", "")) < 700
    assert "ahead of this clock, which LYO_CLOCK sets" in text


async def test_a_record_stamped_in_the_future_is_found(ready: Settings) -> None:
    name = next(iter(topics.names(ready).inputs))
    async with clients.producer(ready) as producer:
        stamp = time.time_ns() // 1_000_000 + 900_000
        await producer.send_and_wait(name, b"{}", partition=1, timestamp_ms=stamp)
    found = bad(await examine(ready), Status.WARNING)
    assert "stamped 9" in found["clock.events", f"{name}/1"].found or "stamped 8" in str(found)


# ---------------------------------------------------------------- Postgres


async def test_a_schema_behind_head_is_brought_to_head_by_fix(ready: Settings) -> None:
    await asyncio.to_thread(downgrade, ready.database_url, "phase2_002")
    found = await examine(ready)
    finding = bad(found)[
        "postgres.schema", next(one.about for one in found if one.check == "postgres.schema")
    ]
    assert finding.found == f"it is at revision phase2_002, not at {newest_revision()}"
    assert [line.split()[0] for line in await put_right(ready, found)] == ["migrated"]
    assert well(await examine(ready))


async def test_a_schema_that_is_newer_is_left_alone(ready: Settings) -> None:
    await execute(ready.database_url, "UPDATE alembic_version SET version_num = 'phase9_001'")
    found = await examine(ready)
    assert "phase9_001, which this version" in next(iter(bad(found).values())).found
    assert await put_right(ready, found) == []


async def test_a_dropped_table_is_found(ready: Settings) -> None:
    await execute(ready.database_url, "DROP TABLE sink_offsets")
    found = await examine(ready)
    assert "without sink_offsets" in next(iter(bad(found).values())).found


async def test_a_missing_permission_in_postgres_is_found_with_the_grant(ready: Settings, unique: str) -> None:
    role = f"{unique}_role"
    await execute(
        ready.database_url,
        f"CREATE ROLE {role} LOGIN PASSWORD 'p'; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; "
        f"REVOKE INSERT, DELETE ON learning_plateaus FROM {role}",
    )
    try:
        url = ready.database_url.replace("://postgres@", f"://{role}:p@")
        found = bad(await examine(ready.model_copy(update={"database_url": url})))
        assert set(found) == {("postgres.permissions", "table learning_plateaus")}
        finding = found["postgres.permissions", "table learning_plateaus"]
        assert finding.to_do == f'GRANT DELETE, INSERT ON "learning_plateaus" TO "{role}"'
    finally:
        await execute(ready.database_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


# ---------------------------------------------------------------- permissions in Kafka


async def test_missing_permissions_in_kafka_are_found_with_the_command_that_grants_them(
    tmp_path: Path, settings: Settings
) -> None:
    await asyncio.to_thread(upgrade, settings.database_url)
    with GuardedKafka(tmp_path / "guarded", jar_cache=default_home() / "jars", private=True) as guarded:
        root = settings.model_copy(update={"bootstrap_servers": guarded.bootstrap_servers})
        clerk = guarded.as_clerk(root)
        await topic_admin.ensure(root)
        unseen = bad(await examine(clerk), Status.UNKNOWN)
        assert {about for check, about in unseen if check == "topics.there"} == {
            spec.name for spec in topics.specs(root)
        }, "who may see nothing does not know what there is"

        for operation in (READ, WRITE, DESCRIBE_CONFIGS):
            await rule(root, TOPIC, root.topic_prefix, PREFIXED, operation, ALLOW)
        await rule(root, TOPIC, topics.names(root).dead_letters, LITERAL, WRITE, DENY)
        await rule(root, GROUP, root.app_id, LITERAL, READ, ALLOW)
        letters = f"topic {topics.names(root).dead_letters}"
        lacking = {
            ("kafka.permissions", letters),
            ("kafka.permissions", f"group {root.app_id}-sink"),
            ("kafka.transactions", f"{root.app_id}-*"),
        }
        until = time.monotonic() + 30  # rules reach the broker a moment after they were taken
        while set(found := bad(await examine(clerk))) != lacking:
            assert time.monotonic() < until, found
        finding = found["kafka.permissions", letters]
        assert finding.found == "clerk may not WRITE"
        assert finding.to_do == (
            f"kafka-acls.sh --add --allow-principal User:clerk --operation Write --{letters}"
        )
        assert "AuthorizationFailed" in found["kafka.transactions", f"{root.app_id}-*"].found

        wrong = clerk.model_copy(update={"sasl_password": SecretStr("not-the-password")})
        away = [one for one in await examine(wrong) if one.check == "kafka.reachable"]
        assert [one.status for one in away] == [Status.ERROR]


# ---------------------------------------------------------------- away


async def test_with_kafka_down_its_checks_are_unknown_and_postgres_is_still_looked_at(
    own_kafka: LocalKafka, ready: Settings
) -> None:
    settings = ready.model_copy(update={"bootstrap_servers": own_kafka.bootstrap_servers})
    await topic_admin.ensure(settings)
    own_kafka.stop()
    found = await examine(settings)
    assert set(bad(found)) == {("kafka.reachable", own_kafka.bootstrap_servers)}
    unknown = {one.check for one in found if one.status is Status.UNKNOWN}
    assert {"topics.there", "topics.settings", "kafka.permissions", "postgres.offsets"} <= unknown
    assert {one.status for one in found if one.check == "postgres.schema"} == {Status.OK}


async def test_with_postgres_down_its_checks_are_unknown_and_kafka_is_still_looked_at(
    own_postgres: LocalPostgres, ready: Settings, environment: Environment
) -> None:
    url = own_postgres.database_url
    own_postgres.stop()
    settings = ready.model_copy(update={"database_url": url})
    done = await asyncio.to_thread(doctor, environment(settings), "--json", "--fix")
    assert done.returncode == 1
    found = json.loads(done.stdout)["findings"]
    assert [one["check"] for one in found if one["status"] == "error"] == ["postgres.reachable"]
    assert {one["check"] for one in found if one["status"] == "unknown"} >= {
        "postgres.schema",
        "clock.postgres",
    }
    assert {one["status"] for one in found if one["check"] == "topics.settings"} == {"ok"}

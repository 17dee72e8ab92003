"""`lyo doctor` against a real Kafka and a real Postgres in which something is wrong."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from pydantic import SecretStr

from lyo.ops.doctor.examine import examine, put_right
from lyo.ops.doctor.findings import Finding, Status, well
from lyo.storage.database import plain_url
from lyo.storage.schema.migrate import downgrade, upgrade
from lyo.storage.schema.revision import newest_revision
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka, LocalPostgres
from lyo.tools.stack.local import default_home
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

ROOT = Path(__file__).parents[3]
Environment = Callable[[Settings], dict[str, str]]


@pytest.fixture
async def sound(settings: Settings) -> Settings:
    """A deployment with nothing wrong."""
    await topic_admin.ensure(settings)
    await asyncio.to_thread(upgrade, settings.database_url)
    return settings


def lyo(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lyo.cli.main", "doctor", *arguments],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def bad(found: list[Finding], status: Status = Status.ERROR) -> dict[tuple[str, str], Finding]:
    return {(one.check, one.about): one for one in found if one.status is status}


async def delete_topic(settings: Settings, name: str) -> None:
    """Delete a topic and wait until the broker knows nothing of it any more."""
    async with clients.admin(settings) as client:
        await client.delete_topics([name])
        until = time.monotonic() + 30
        while name in await client.list_topics():
            assert time.monotonic() < until
            await asyncio.sleep(0.05)


async def configure(settings: Settings, name: str, config: dict[str, str]) -> None:
    """Give a topic these settings and wait until the broker tells them."""
    resource = ConfigResource(ConfigResourceType.TOPIC, name, config)
    async with clients.admin(settings) as client:
        await client.alter_configs([resource])
        until = time.monotonic() + 30
        while True:
            (answer,) = await client.describe_configs([resource])
            told = {entry[0]: entry[1] for entry in answer.resources[0][4]}
            if config.items() <= told.items():
                return
            assert time.monotonic() < until, told
            await asyncio.sleep(0.05)


def spec_of(settings: Settings, name: str) -> topics.TopicSpec:
    return next(spec for spec in topics.specs(settings) if spec.name == name)


async def committed(settings: Settings, offsets: dict[TopicPartition, int]) -> None:
    reader = clients.consumer(settings, group_id=settings.app_id)
    await reader.start()
    try:
        reader.assign(list(offsets))
        await reader.commit(offsets)
    finally:
        await reader.stop()


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(plain_url(url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


# ---------------------------------------------------------------- nothing wrong, and everything missing


async def test_a_sound_deployment_has_no_error_and_says_what_was_checked(
    sound: Settings, environment: Environment
) -> None:
    done = await asyncio.to_thread(lyo, environment(sound), "--json")
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
    first = await asyncio.to_thread(lyo, environment(settings))
    assert first.returncode == 1
    assert "it is missing, or may not be seen" in first.stdout
    assert "→ lyo migrate" in first.stdout
    missing = {spec.name for spec in topics.specs(settings)}
    assert {name for name in missing if name in first.stdout} == missing

    fixed = await asyncio.to_thread(lyo, environment(settings), "--fix", "--json")
    answer = json.loads(fixed.stdout)
    assert (fixed.returncode, answer["ok"]) == (0, True), fixed.stdout
    assert {line.removeprefix("created ") for line in answer["done"]} > missing
    assert await topic_admin.ensure(settings) == []

    again = await asyncio.to_thread(lyo, environment(settings), "--fix", "--json")
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


# ---------------------------------------------------------------- Kafka


async def test_a_missing_topic_is_named_and_only_that_one_is_created(sound: Settings) -> None:
    name = topics.names(sound).predictions["timing"]
    await delete_topic(sound, name)
    found = await examine(sound)
    assert set(bad(found)) == {("topics.there", name)}
    assert await put_right(sound, found) == [f"created {name}"]
    assert well(await examine(sound))


async def test_a_changelog_that_is_missing_with_events_counted_is_not_created_empty(sound: Settings) -> None:
    names = topics.names(sound)
    sessions = TopicPartition(next(iter(names.inputs)), 0)
    async with clients.producer(sound) as producer:
        for _ in range(5):
            await producer.send_and_wait(sessions.topic, b"{}", partition=0)
    await committed(sound, {sessions: 5})
    await delete_topic(sound, names.learner_rows)
    found = await examine(sound)
    finding = bad(found)["topics.there", names.learner_rows]
    assert "5 records were already counted" in finding.found
    assert await put_right(sound, found) == []
    assert bad(await examine(sound))


async def test_a_wrong_number_of_partitions_is_told_with_both_numbers(sound: Settings) -> None:
    more = sound.model_copy(update={"partitions": 6})
    found = bad(await examine(more))
    name = topics.names(sound).learner_rows
    assert found["topics.partitions", name].found == "4 partitions where the settings say 6"
    catalogue = set(topics.names(sound).catalogue)
    assert {about for check, about in found if check == "topics.partitions"} == {
        spec.name for spec in topics.specs(sound) if spec.name not in catalogue
    }
    assert "topics.co-partitioned" not in {check for check, _ in found}


async def test_topics_that_are_not_co_partitioned_are_told_apart_by_their_numbers(sound: Settings) -> None:
    name = topics.names(sound).skill_rows
    spec = spec_of(sound, name)
    await delete_topic(sound, name)
    await topic_admin.create(sound, [topics.TopicSpec(name, 3, spec.replication, spec.config)])
    found = bad(await examine(sound))
    assert {check for check, _ in found} == {"topics.partitions", "topics.co-partitioned"}
    together = next(one for (check, _), one in found.items() if check == "topics.co-partitioned")
    assert f"3: {name};" in together.found


@pytest.mark.parametrize(
    ("key", "value", "of"),
    [
        ("cleanup.policy", "delete", "learner_rows"),
        ("cleanup.policy", "compact", "inputs"),
        ("retention.ms", "3600000", "inputs"),
    ],
)
async def test_a_setting_that_loses_records_is_an_error_with_the_command_that_mends_it(
    sound: Settings, key: str, value: str, of: str
) -> None:
    names = topics.names(sound)
    name = names.learner_rows if of == "learner_rows" else next(iter(names.inputs))
    config = spec_of(sound, name).config
    await configure(sound, name, config | {key: value})
    found = await examine(sound)
    assert set(bad(found)) == {("topics.settings", name)}
    finding = bad(found)["topics.settings", name]
    assert finding.found.startswith(f"{key}={value} where {config[key]} is specified: ")
    assert finding.to_do.endswith(f"--entity-name {name} --add-config {key}={config[key]}")
    assert await put_right(sound, found) == [], "--fix changes nothing that is there"


async def test_a_topic_kept_for_longer_than_specified_is_well(sound: Settings) -> None:
    name = topics.names(sound).dead_letters
    await configure(sound, name, spec_of(sound, name).config | {"retention.ms": "-1"})
    assert well(await examine(sound))


async def test_more_replicas_than_brokers_are_refused_before_anything_is_created(settings: Settings) -> None:
    wanting = settings.model_copy(update={"replication": 3})
    found = await examine(wanting)
    finding = bad(found)["kafka.replication", "1 broker"]
    assert "LYO_REPLICATION=3, and there is 1 broker" in finding.found
    done = await put_right(wanting, found)
    refused = [line for line in done if line.startswith("could not create")]
    assert len(refused) == len(topics.specs(settings))
    assert "InvalidReplicationFactor" in refused[0]


async def test_a_broker_that_refuses_our_time_outs_is_found(sound: Settings) -> None:
    slow = sound.model_copy(update={"session_timeout_ms": 1_800_001})
    found = next(one for (check, _), one in bad(await examine(slow)).items() if check == "kafka.settings")
    assert "group.max.session.timeout.ms=1800000 is less than LYO_SESSION_TIMEOUT_MS=1800001" in found.found


async def test_committed_offsets_beyond_a_topic_made_anew_are_found(sound: Settings) -> None:
    name = next(iter(topics.names(sound).inputs))
    await committed(sound, {TopicPartition(name, 1): 7})
    found = bad(await examine(sound))
    assert set(found) == {("kafka.offsets", name)}
    assert "partition 1 at 7, records 0 to 0" in found["kafka.offsets", name].found


async def test_the_sinks_offsets_beyond_a_topic_made_anew_are_found(sound: Settings) -> None:
    name = topics.names(sound).learner_rows
    insert = f"INSERT INTO sink_offsets (topic, partition, next_offset, epoch) VALUES ('{name}', 2, 9, 1)"
    await execute(sound.database_url, insert)
    found = bad(await examine(sound))
    assert set(found) == {("postgres.offsets", name)}
    assert "lyo sink --rebuild" in found["postgres.offsets", name].to_do


# ---------------------------------------------------------------- clocks


async def test_a_clock_behind_postgres_is_an_error_with_its_distance(sound: Settings) -> None:
    behind = time.time_ns() // 1_000_000 - 600_000
    instant = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(behind / 1000))
    found = bad(await examine(sound.model_copy(update={"clock": instant})))
    assert set(found) == {("clock.postgres", "")}
    text = found["clock.postgres", ""].found
    assert 595 < float(text.split()[2].replace(",", "")) < 700
    assert "ahead of this clock, which LYO_CLOCK sets" in text


async def test_a_record_stamped_in_the_future_is_found(sound: Settings) -> None:
    name = next(iter(topics.names(sound).inputs))
    async with clients.producer(sound) as producer:
        stamp = time.time_ns() // 1_000_000 + 900_000
        await producer.send_and_wait(name, b"{}", partition=1, timestamp_ms=stamp)
    found = bad(await examine(sound), Status.WARNING)
    assert "stamped 9" in found["clock.events", f"{name}/1"].found or "stamped 8" in str(found)


# ---------------------------------------------------------------- Postgres


async def test_a_schema_behind_head_is_brought_to_head_by_fix(sound: Settings) -> None:
    await asyncio.to_thread(downgrade, sound.database_url, "phase2_002")
    found = await examine(sound)
    finding = bad(found)[
        "postgres.schema", next(one.about for one in found if one.check == "postgres.schema")
    ]
    assert finding.found == f"it is at revision phase2_002, not at {newest_revision()}"
    assert [line.split()[0] for line in await put_right(sound, found)] == ["migrated"]
    assert well(await examine(sound))


async def test_a_schema_that_is_newer_is_left_alone(sound: Settings) -> None:
    await execute(sound.database_url, "UPDATE alembic_version SET version_num = 'phase9_001'")
    found = await examine(sound)
    assert "phase9_001, which this version" in next(iter(bad(found).values())).found
    assert await put_right(sound, found) == []


async def test_a_dropped_table_is_found(sound: Settings) -> None:
    await execute(sound.database_url, "DROP TABLE sink_offsets")
    found = await examine(sound)
    assert "without sink_offsets" in next(iter(bad(found).values())).found


async def test_a_missing_permission_in_postgres_is_found_with_the_grant(sound: Settings, unique: str) -> None:
    role = f"{unique}_role"
    await execute(
        sound.database_url,
        f"CREATE ROLE {role} LOGIN PASSWORD 'p'; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; "
        f"REVOKE INSERT, DELETE ON learning_plateaus FROM {role}",
    )
    try:
        url = sound.database_url.replace("://postgres@", f"://{role}:p@")
        found = bad(await examine(sound.model_copy(update={"database_url": url})))
        assert set(found) == {("postgres.permissions", "table learning_plateaus")}
        finding = found["postgres.permissions", "table learning_plateaus"]
        assert finding.to_do == f'GRANT DELETE, INSERT ON "learning_plateaus" TO "{role}"'
    finally:
        await execute(sound.database_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


# ---------------------------------------------------------------- permissions in Kafka


async def test_missing_permissions_in_kafka_are_found_with_the_command_that_grants_them(
    tmp_path: Path, settings: Settings
) -> None:
    await asyncio.to_thread(upgrade, settings.database_url)
    with GuardedKafka(tmp_path / "guarded", jar_cache=default_home() / "jars", private=True) as guarded:
        root = settings.model_copy(update={"bootstrap_servers": guarded.bootstrap_servers})
        clerk = guarded.as_clerk(root)
        await topic_admin.ensure(root)
        assert {about for check, about in bad(await examine(clerk)) if check == "topics.there"} == {
            spec.name for spec in topics.specs(root)
        }, "who may see nothing sees no topic"

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
    own_kafka: LocalKafka, sound: Settings
) -> None:
    settings = sound.model_copy(update={"bootstrap_servers": own_kafka.bootstrap_servers})
    await topic_admin.ensure(settings)
    own_kafka.stop()
    found = await examine(settings)
    assert set(bad(found)) == {("kafka.reachable", own_kafka.bootstrap_servers)}
    unknown = {one.check for one in found if one.status is Status.UNKNOWN}
    assert {"topics.there", "topics.settings", "kafka.permissions", "postgres.offsets"} <= unknown
    assert {one.status for one in found if one.check == "postgres.schema"} == {Status.OK}


async def test_with_postgres_down_its_checks_are_unknown_and_kafka_is_still_looked_at(
    own_postgres: LocalPostgres, sound: Settings, environment: Environment
) -> None:
    url = own_postgres.database_url
    own_postgres.stop()
    settings = sound.model_copy(update={"database_url": url})
    done = await asyncio.to_thread(lyo, environment(settings), "--json", "--fix")
    assert done.returncode == 1
    found = json.loads(done.stdout)["findings"]
    assert [one["check"] for one in found if one["status"] == "error"] == ["postgres.reachable"]
    assert {one["check"] for one in found if one["status"] == "unknown"} >= {
        "postgres.schema",
        "clock.postgres",
    }
    assert {one["status"] for one in found if one["check"] == "topics.settings"} == {"ok"}

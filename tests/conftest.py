"""Real Kafka and real Postgres for tests: containers where an engine answers, the local stack elsewhere."""

from __future__ import annotations

import asyncio
import gc
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr

from lyo.tools.stack import LocalKafka, LocalPostgres
from lyo.tools.stack.jars import REPOSITORY
from tests.support.servers import containers
from tests.support.servers.kinds import JARS, KafkaServer, PostgresServer

if TYPE_CHECKING:
    from lyo.streams.settings import Settings

# A developer's own settings must not reach the code under test; where jars come from is no matter to it.
for _name in [name for name in os.environ if name.startswith("LYO_") and not name.startswith("LYO_TEST_")]:
    if _name != REPOSITORY:
        del os.environ[_name]

# The same examples in every run, so that no build is red by chance; `make fuzz` looks at others in each run.
hypothesis_settings.register_profile("fixed", print_blob=True, deadline=None, derandomize=True)
hypothesis_settings.register_profile("explore", print_blob=True, deadline=None)
hypothesis_settings.load_profile(os.environ.get("LYO_TEST_HYPOTHESIS", "fixed"))

PARTITIONS = 4


def pytest_report_header() -> str:
    """Say which Kafka and Postgres the integration tests use."""
    return f"stack: {containers.choice().because}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it where the tests ran without testcontainers: then their Kafka and Postgres were no containers."""
    if not containers.choice().containers:
        terminalreporter.write_line(f"testcontainers was not used: {containers.choice().because}")


@pytest.fixture(autouse=True)
def _nothing_pending(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let clients that a test left behind report their errors now.

    Their reports format tracebacks, which parses source; Python 3.11 fails when that happens in the middle of
    another parse, where the collector may run them (CPython issue 106905).
    """
    yield
    if request.node.get_closest_marker("integration"):
        gc.collect()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    if containers.choice().containers:
        with containers.kafka() as server:
            yield server
        return
    with LocalKafka(tmp_path_factory.mktemp("stack"), jar_cache=JARS, private=True) as local:
        yield KafkaServer(local.bootstrap_servers)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    if containers.choice().containers:
        with containers.postgres() as server:
            yield server
        return
    with LocalPostgres(tmp_path_factory.mktemp("stack"), durable=False, private=True) as local:
        yield PostgresServer(local.database_url, local.create_database, local.drop_database)


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    """A Kafka of this test alone, which it may kill and start again."""
    with LocalKafka(tmp_path / "own", jar_cache=JARS, private=True) as local:
        yield local


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[LocalPostgres]:
    """A Postgres of this test alone, which it may kill and start again."""
    with LocalPostgres(tmp_path / "own", durable=False, private=True) as local:
        yield local


@pytest.fixture
def unique() -> str:
    """A short name that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def database_url(postgres: PostgresServer, unique: str) -> Iterator[str]:
    """A fresh empty database."""
    yield postgres.create_database(unique)
    postgres.drop_database(unique)


@pytest.fixture
def kafka_settings(kafka: KafkaServer, unique: str) -> Iterator[Settings]:
    """Settings with topics and a group of this test's own; its topics are deleted afterwards."""
    from lyo.streams.settings import Settings

    settings = Settings(
        bootstrap_servers=kafka.bootstrap_servers,
        app_id=unique,
        topic_prefix=f"{unique}.",
        partitions=PARTITIONS,
    )
    yield settings
    asyncio.run(_delete_topics(settings))


@pytest.fixture
def settings(kafka_settings: Settings, database_url: str) -> Settings:
    """The same, with a fresh empty database."""
    return kafka_settings.model_copy(update={"database_url": database_url})


@pytest.fixture
def environment() -> Callable[[Settings], dict[str, str]]:
    """A function from settings to the environment of a process that shall have them."""

    def of(settings: Settings) -> dict[str, str]:
        given = {name: getattr(settings, name) for name in settings.model_fields_set | {"database_url"}}
        ours = {
            f"LYO_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in given.items()
            if value is not None
        }
        return os.environ | ours

    return of


async def _delete_topics(settings: Settings) -> None:
    from lyo.streams.kafka.clients import admin

    async with admin(settings) as client:
        ours = [name for name in await client.list_topics() if name.startswith(settings.topic_prefix)]
        if ours:
            await client.delete_topics(ours)

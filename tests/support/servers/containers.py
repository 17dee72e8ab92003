"""Kafka and Postgres in containers, with the same settings as the local stack."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pytest

from lyo.tools.stack import processes
from tests.support.servers.kinds import KafkaServer, PostgresServer

KAFKA_IMAGE = os.environ.get("LYO_TEST_KAFKA_IMAGE", "apache/kafka:4.4.0")
POSTGRES_IMAGE = os.environ.get("LYO_TEST_POSTGRES_IMAGE", "postgres:18")
CONTROLLER = 29093
START_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Where the servers of this test run come from, and why."""

    containers: bool
    because: str


@functools.cache
def choice() -> Choice:
    """What LYO_TEST_STACK says (`local`, `containers`), else containers where an engine has the images."""
    wish = os.environ.get("LYO_TEST_STACK", "auto")
    if wish == "local":
        return Choice(containers=False, because="local, as LYO_TEST_STACK says")
    missing = _missing()
    if missing is None:
        return Choice(containers=True, because=f"containers {KAFKA_IMAGE} and {POSTGRES_IMAGE}")
    if wish == "containers":
        raise pytest.UsageError(f"LYO_TEST_STACK=containers, but {missing}")
    return Choice(containers=False, because=f"local ({missing})")


def _missing() -> str | None:
    """What is missing for containers, or None."""
    client = _client()
    if client is None:
        with warnings.catch_warnings():
            # docker leaves its socket to the garbage collector when nobody answers.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        return "no container engine answers"
    from docker.errors import DockerException
    from testcontainers.core.config import testcontainers_config

    try:
        client.ping()
        for image in (KAFKA_IMAGE, POSTGRES_IMAGE):
            _ensure_image(client, image)
        with contextlib.suppress(DockerException):
            _ensure_image(client, testcontainers_config.ryuk_image)
            return None
        # Without the image that clears up after a killed test run, the fixtures' own clearing up must do.
        testcontainers_config.ryuk_disabled = True
    except (DockerException, OSError) as error:
        return f"the container engine says: {' '.join(str(error).split())[:120]}"
    finally:
        client.close()
    return None


def _ensure_image(client: Any, image: str) -> None:
    if not client.images.list(name=image):
        client.images.pull(image)


def _client() -> Any:
    import docker
    from docker.errors import DockerException

    try:
        return docker.from_env(timeout=20)
    except DockerException:
        return None


@contextmanager
def kafka() -> Iterator[KafkaServer]:
    """A Kafka node on a free port of the loopback address."""
    from testcontainers.core.container import DockerContainer

    port = processes.free_port()
    container = DockerContainer(KAFKA_IMAGE)
    for name, value in _broker_settings(port).items():
        container.with_env(name, value)
    _publish(container, port, port)
    with container:
        _wait(container, b"Kafka Server started", times=1)
        yield KafkaServer(f"{processes.LOOPBACK}:{port}")


def _broker_settings(port: int) -> dict[str, str]:
    """The local stack's settings in the image's way; inside, the broker listens on every address."""
    template = resources.files("lyo.tools.stack").joinpath("kafka/server.properties").read_text()
    text = template.replace("{port}", str(port)).replace("{controller}", str(CONTROLLER))
    pairs = [line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#")]
    settings = dict(pairs) | {"log.dirs": "/tmp/kafka-data"}
    settings["listeners"] = f"BROKER://0.0.0.0:{port},CONTROLLER://127.0.0.1:{CONTROLLER}"
    return {"KAFKA_" + key.upper().replace(".", "_"): value for key, value in settings.items()}


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A Postgres on a free port of the loopback address."""
    from testcontainers.core.container import DockerContainer

    port = processes.free_port()
    container = DockerContainer(POSTGRES_IMAGE).with_env("POSTGRES_HOST_AUTH_METHOD", "trust")
    container.with_env("POSTGRES_DB", "lyo")
    _publish(container, 5432, port)
    container.with_command("postgres -c fsync=off -c max_connections=200")

    def sql(statement: str) -> None:
        code, output = container.exec(["psql", "-XqAt", "-U", "postgres", "-c", statement])
        if code:
            raise RuntimeError(f"{statement}: {output.decode(errors='replace')}")

    def url(database: str) -> str:
        return f"postgresql://postgres@{processes.LOOPBACK}:{port}/{database}"

    def create(name: str) -> str:
        sql(f'CREATE DATABASE "{name}"')
        return url(name)

    def drop(name: str) -> None:
        sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    with container:
        # The image starts the server twice: first to create the database, then to serve.
        _wait(container, b"database system is ready to accept connections", times=2)
        yield PostgresServer(url("lyo"), create, drop)


def _publish(container: Any, inside: int, outside: int) -> None:
    # with_bind_ports() knows no address, and every address is more than a test needs.
    container.ports[f"{inside}/tcp"] = (processes.LOOPBACK, outside)


def _wait(container: Any, line: bytes, times: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while (log := b"".join(container.get_logs())).count(line) < times:
        wrapped = container.get_wrapped_container()
        wrapped.reload()
        if wrapped.status not in ("created", "running") or time.monotonic() > deadline:
            last = log.decode(errors="replace").strip().rpartition("\n")[2]
            raise TimeoutError(
                f"{container.image} ({wrapped.status}) did not get ready; it said last: {last}"
            )
        time.sleep(processes.POLL_SECONDS)

"""A Kafka for one measurement, and processes of ours beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cli.stack import LocalKafka, LocalPostgres
from cli.stack.local import default_home
from streams.settings import Settings


@contextmanager
def broker(folder: Path) -> Iterator[Settings]:
    """A private Kafka in a temporary folder, as settings."""
    with LocalKafka(folder, jar_cache=default_home() / "jars", private=True) as kafka:
        yield Settings(bootstrap_servers=kafka.bootstrap_servers)


@contextmanager
def servers(folder: Path) -> Iterator[Settings]:
    """A private Kafka and a private Postgres, as settings."""
    with broker(folder) as kafka, LocalPostgres(folder, private=True) as postgres:
        yield kafka.model_copy(update={"database_url": postgres.database_url})


@contextmanager
def worker(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One worker process, stopped with the block."""
    with process("worker", settings, log) as child:
        yield child


@contextmanager
def process(
    name: str, settings: Settings, log: Path, more: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """One `lyo` process, stopped with the block; `more` is added to its environment."""
    environment = os.environ | {
        "LYO_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "LYO_DATABASE_URL": settings.database_url,
        **(more or {}),
    }
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "cli.main", name],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Waiting:
    """Fails with what the worker said when it ends or takes too long."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
        self._child, self._log, self._until = child, log, time.monotonic() + seconds

    def check(self, what: str) -> None:
        """Raise RuntimeError if waiting for ``what`` makes no sense any more."""
        if self._child.poll() is not None:
            raise RuntimeError(f"the worker ended: {self._log.read_text()[-500:]}")
        if time.monotonic() > self._until:
            raise RuntimeError(f"{what} took too long")

"""Starts a Kafka for one measurement, and `lyo` processes beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka, LocalPostgres
from lyo.tools.stack.local import default_home

# macOS cannot bind processes to cores.
_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
ONE_CORE, OTHER_CORES = set(_CORES[:1]), set(_CORES[1:] or _CORES)


@contextmanager
def broker(folder: Path) -> Iterator[Settings]:
    """A private Kafka in a temporary folder, as settings."""
    with LocalKafka(folder, jar_cache=default_home() / "jars", private=True) as kafka:
        yield Settings(bootstrap_servers=kafka.bootstrap_servers)


@contextmanager
def servers(folder: Path) -> Iterator[Settings]:
    """A private Kafka, and a private Postgres in real time, as settings."""
    with ExitStack() as stack:
        kafka = stack.enter_context(broker(folder))
        with realtime():
            postgres = stack.enter_context(LocalPostgres(folder, private=True))
        yield kafka.model_copy(update={"database_url": postgres.database_url})


@contextmanager
def realtime() -> Iterator[None]:
    """Schedule this process and those it starts before the others, which in production run elsewhere.

    The scheduling is real-time. Niceness is not enough: a nicer process gives way only at the next tick, and
    where Linux groups sessions, only within its own group.
    """
    try:
        before = os.sched_getscheduler(0)
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except (AttributeError, OSError):  # not supported, or not permitted
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Bind processes started in the block to these cores, where the system supports it."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


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
    where = {"LYO_BOOTSTRAP_SERVERS": settings.bootstrap_servers, "LYO_DATABASE_URL": settings.database_url}
    with module("lyo.cli.main", name, log=log, more=where | dict(more or {})) as child:
        yield child


@contextmanager
def module(
    *command: str, log: Path, more: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python module with its arguments as a process, stopped with the block."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=os.environ | dict(more or {}),
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
    """Fails with the end of a process's log if it ends, and if it takes too long."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
        self._child, self._log, self._until = child, log, time.monotonic() + seconds

    def check(self, what: str) -> None:
        """Raise RuntimeError if ``what`` cannot happen any more, or takes too long."""
        if self._child.poll() is not None:
            raise RuntimeError(f"the process ended: {self._log.read_text()[-500:]}")
        if time.monotonic() > self._until:
            raise RuntimeError(f"{what} took too long")

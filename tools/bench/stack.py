"""A Kafka for one measurement, and processes of ours beside it."""

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

# macOS cannot tell processes to keep to some cores.
_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
ONE, OTHERS = set(_CORES[:1]), set(_CORES[1:] or _CORES)


@contextmanager
def broker(folder: Path) -> Iterator[Settings]:
    """A private Kafka in a temporary folder, as settings."""
    with LocalKafka(folder, jar_cache=default_home() / "jars", private=True) as kafka:
        yield Settings(bootstrap_servers=kafka.bootstrap_servers)


@contextmanager
def servers(folder: Path) -> Iterator[Settings]:
    """A private Kafka, and a private Postgres that goes first, as settings."""
    with ExitStack() as stack:
        kafka = stack.enter_context(broker(folder))
        with first():
            postgres = stack.enter_context(LocalPostgres(folder, private=True))
        yield kafka.model_copy(update={"database_url": postgres.database_url})


@contextmanager
def first() -> Iterator[None]:
    """What is started in here, and we, go before the rest, which in production has machines of its own.

    In real time: what is only nicer gives way at the next tick of the clock, and where Linux schedules
    sessions as groups, only to its own.
    """
    try:
        before = os.sched_getscheduler(0)
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except (AttributeError, OSError):  # no such thing here, or not for us
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


@contextmanager
def on(cores: set[int]) -> Iterator[None]:
    """What is started in here runs on these cores, where that can be said."""
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
    """Fails with what the worker said when it ends or takes too long."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
        self._child, self._log, self._until = child, log, time.monotonic() + seconds

    def check(self, what: str) -> None:
        """Raise RuntimeError if waiting for ``what`` makes no sense any more."""
        if self._child.poll() is not None:
            raise RuntimeError(f"the worker ended: {self._log.read_text()[-500:]}")
        if time.monotonic() > self._until:
            raise RuntimeError(f"{what} took too long")

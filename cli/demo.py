"""`lyo demo`: everything running on this machine, with predictions shown from Postgres."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import click
import psutil
from aiokafka.errors import KafkaError
from rich.console import Console

from cli.demonstration import children
from cli.demonstration.children import Child, DemoError
from cli.demonstration.run import Demo
from cli.demonstration.source import Source, from_file, simulated
from cli.progress import bytes_progress
from cli.publishing import PublishError
from cli.stack import LocalKafka, LocalPostgres, StackError
from cli.stack.jars import jar_folder
from cli.stack.local import Addresses, default_home, furnish
from streams.kafka import Unreachable
from streams.settings import load_settings
from streams.topics import TopicError

PLAIN_WIDTH = 118


@click.command(epilog="Example: lyo demo --events events.jsonl.gz")
@click.option(
    "--events",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True),
    help="An event file, shown as of its last event; default: simulated learners.",
)
@click.option(
    "--learners", type=click.IntRange(1, 1_000_000), default=2000, show_default=True, help="Simulated."
)
@click.option("--days", type=click.IntRange(1, 365), default=60, show_default=True, help="Simulated.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Of the simulation; default random.")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="LYO_HOME",
    help="Folder of data, logs and jars (LYO_HOME; .lyo in the checkout by default).",
)
@click.option("--once", is_flag=True, help="Show and stop, instead of running on.")
def demo(
    *, events: Path | None, learners: int, days: int, seed: int | None, home: Path | None, once: bool
) -> None:
    """Start Kafka, Postgres, a worker and a sink; publish events; show predictions from Postgres.

    It has a Kafka and a Postgres of its own, on free ports and empty at each start, so what `lyo up` runs
    is not touched. Runs until Ctrl-C or SIGTERM, then stops everything.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    for name in [name for name in os.environ if name.startswith("LYO_") and name not in children.KEPT]:
        del os.environ[name]  # the demo's settings are its own
    _listen()
    try:
        with _alone((home or default_home()).resolve()) as folder, _nothing_left():
            _demonstrate(console, folder, events, (learners, days, seed), once=once)
    except KeyboardInterrupt:
        return
    except (DemoError, StackError, TopicError, PublishError, Unreachable, KafkaError) as error:
        raise click.ClickException(str(error)) from None


def _demonstrate(
    console: Console, folder: Path, events: Path | None, plan: tuple[int, int, int | None], *, once: bool
) -> None:
    source = _source(console, folder, events, plan)
    console.print(f"[bold]{source.title}[/]" + (f", shown as of {source.clock}" if source.clock else ""))
    with contextlib.ExitStack() as stack:
        kafka = LocalKafka(folder, jar_cache=folder.parent / "jars", private=True)
        postgres = LocalPostgres(folder, durable=False, private=True)
        if not jar_folder(kafka.jar_cache).is_dir():
            console.print("Fetching Kafka with Maven (once, about 45 MB)")
        for server in (kafka, postgres):
            began = time.monotonic()
            stack.callback(server.stop)
            server.start()
            console.print(f"{server.title} started on port {server.port} in {time.monotonic() - began:.1f} s")
        addresses = Addresses(kafka.bootstrap_servers, postgres.database_url)
        furnish(addresses, console.print)
        variables = addresses.environment() | ({"LYO_CLOCK": source.clock} if source.clock else {})
        os.environ.update(variables)
        settings = load_settings()
        ours = [Child(name, folder, children.environment(variables)) for name in ("worker", "sink")]
        stack.callback(_stop, ours)
        for child in ours:
            child.start()
            console.print(f"The {child.name} started (process {child.pid}, log {child.log_file})")
        running = Demo(console, source, settings, folder, ours, time.monotonic())
        asyncio.run(running.run(once=once))


def _stop(ours: list[Child]) -> None:
    children.stop(ours)


def _source(console: Console, folder: Path, events: Path | None, plan: tuple[int, int, int | None]) -> Source:
    if events is not None:
        with bytes_progress(console, "Reading") as on_bytes:
            return from_file(events, on_bytes)
    learners, days, seed = plan
    seed = secrets.randbelow(2**31) if seed is None else seed
    with console.status("Simulating") if console.is_terminal else contextlib.nullcontext():
        return simulated(folder / "events.jsonl", learners, days, seed)


def _listen() -> None:
    """Let SIGTERM and a closed terminal end the demo as Ctrl-C does, also when started in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[Path]:
    """The demo's folder, emptied; refuses a second demo in the same home.

    Raises:
        DemoError: one is running already.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "demo.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise DemoError(f"a demo runs already in {home} (process {lock.read().strip()})") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        folder = home / "demo"
        for server in (LocalKafka(folder), LocalPostgres(folder)):
            server.kill()  # left by a demo whose guards were killed, too
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder


@contextlib.contextmanager
def _nothing_left() -> Iterator[None]:
    """On the way out hear no second Ctrl-C, and end every process of ours that is still there."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()

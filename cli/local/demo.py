"""`lyo demo`: runs the whole system on this machine and shows predictions from Postgres."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import psutil
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.text import Text

from lyo.streams.event_files.progress_bars import bytes_progress
from lyo.streams.event_files.publisher import PublishError
from lyo.streams.kafka.clients import Unreachable
from lyo.streams.settings import load_settings
from lyo.streams.topics import TopicError
from lyo.tools.demo import children
from lyo.tools.demo.children import Child, DemoError
from lyo.tools.demo.run import Demo
from lyo.tools.demo.source import Source, from_file, simulated
from lyo.tools.stack import LocalKafka, LocalPostgres, StackError
from lyo.tools.stack.jars import FETCHING, jar_folder
from lyo.tools.stack.local import Addresses, default_home, furnish

PLAIN_WIDTH = 118
# The demo publishes without a pause, and nobody wants to wait a minute for its interventions.
SETTLE_SECONDS = "10"


@click.command(epilog="Example: lyo demo --events events.jsonl.gz")
@click.option(
    "--events",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True),
    help="An event file, shown as of its last event.  [default: simulated learners]",
)
@click.option(
    "--learners",
    type=click.IntRange(1, 1_000_000),
    default=2000,
    show_default=True,
    help="Learners to simulate.",
)
@click.option("--days", type=click.IntRange(1, 365), default=60, show_default=True, help="Days to simulate.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Seed of the simulation.  [default: random]")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="LYO_HOME",
    help="Folder of data, logs and jars (LYO_HOME).  [default: .lyo in the checkout]",
)
@click.option("--once", is_flag=True, help="Stop after showing the predictions.")
def demo(
    *, events: Path | None, learners: int, days: int, seed: int | None, home: Path | None, once: bool
) -> None:
    """Start Kafka, Postgres, a worker and a sink; publish events; show predictions from Postgres.

    The demo has a Kafka and a Postgres of its own, on free ports and empty at each start; those of `lyo up`
    are not touched. It runs until Ctrl-C or SIGTERM, then stops everything.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    for name in [name for name in os.environ if name.startswith("LYO_") and name not in children.KEPT]:
        del os.environ[name]  # the demo has its own settings
    _handle_signals()
    try:
        with _alone((home or default_home()).resolve()) as folder, _nothing_left():
            _demonstrate(console, folder, events, (learners, days, seed), once=once)
    except KeyboardInterrupt:
        pass  # the usual end
    except (DemoError, StackError, TopicError, PublishError, Unreachable, KafkaError) as error:
        raise click.ClickException(str(error)) from None
    console.print("All stopped")


def _demonstrate(
    console: Console, folder: Path, events: Path | None, plan: tuple[int, int, int | None], *, once: bool
) -> None:
    source = _source(console, folder, events, plan)
    shown = f", shown as of {source.clock}" if source.clock else ""
    console.print(Text(f"{source.title}{shown}", "bold"))
    with contextlib.ExitStack() as stack:
        kafka, postgres = _servers(console, folder, stack)
        addresses = Addresses(kafka.bootstrap_servers, postgres.database_url)
        furnish(addresses, console.print)
        variables = addresses.environment() | {"LYO_HISTORY_SETTLE_SECONDS": SETTLE_SECONDS}
        variables |= {"LYO_CLOCK": source.clock} if source.clock else {}
        os.environ.update(variables)
        settings = load_settings()
        ours = [Child(name, folder, children.environment(variables)) for name in ("worker", "sink")]
        stack.callback(_stop, console, ours)
        for child in ours:
            child.start()
            console.print(f"The {child.name} started (process {child.pid})")
        hints = _hints(folder, variables, postgres)
        running = Demo(console, source, settings, folder, ours, hints, time.monotonic())
        asyncio.run(running.run(once=once))


def _source(console: Console, folder: Path, events: Path | None, plan: tuple[int, int, int | None]) -> Source:
    if events is not None:
        with bytes_progress(console, "Reading") as on_bytes:
            return from_file(events, on_bytes)
    learners, days, seed = plan
    seed = secrets.randbelow(2**31) if seed is None else seed
    with _doing(console, "Simulating learners"):
        return simulated(folder / "events.jsonl", learners, days, seed)


def _servers(console: Console, folder: Path, stack: contextlib.ExitStack) -> tuple[LocalKafka, LocalPostgres]:
    """Start Kafka and Postgres on free ports; `stack` stops them, and they die with this process."""
    kafka = LocalKafka(folder, jar_cache=folder.parent / "jars", private=True)
    postgres = LocalPostgres(folder, durable=False, private=True)
    if not jar_folder(kafka.jar_cache).is_dir():
        console.print(FETCHING)
    for server in (kafka, postgres):
        began = time.monotonic()
        stack.callback(server.stop)
        with _doing(console, f"Starting {server.title}"):
            server.start()
        console.print(f"{server.title} started on port {server.port} in {time.monotonic() - began:.1f} s")
    return kafka, postgres


def _doing(console: Console, what: str) -> contextlib.AbstractContextManager[object]:
    """On a terminal, show a status line."""
    return console.status(what) if console.is_terminal else contextlib.nullcontext()


def _hints(folder: Path, variables: dict[str, str], postgres: LocalPostgres) -> list[str]:
    """Write the demo's settings into a file for the shell; returns lines that say what to try next."""
    file = folder / "env"
    file.write_text("".join(f"export {name}={value}\n" for name, value in variables.items()))
    psql = "psql" if shutil.which("psql") else _short(Path(postgres.psql))
    lyo = _short(Path(sys.executable).with_name("lyo"))
    return [
        "To explore further, in another terminal:",
        f"  . {_short(file)}                 # {', '.join(variables)} of this demo",
        f'  {psql} "$LYO_DATABASE_URL" -xc "TABLE dropout_risk_scores LIMIT 2"',
        f"  {lyo} publish FILE               # more events",
        f"Logs: {_short(folder)}/worker.log, sink.log, kafka/kafka.log, postgres/postgres.log",
    ]


def _short(path: Path) -> str:
    """A path relative to the working directory, if it is inside."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _stop(console: Console, ours: list[Child]) -> None:
    console.print("Stopping the worker, the sink, Kafka and Postgres")
    for name in children.stop(ours):
        console.print(f"The {name} had to be killed")


def _handle_signals() -> None:
    """Let SIGTERM and SIGHUP end the demo as Ctrl-C does, and Ctrl-C also in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[Path]:
    """The demo's empty folder; only logs stay in it afterwards. Refuses a second demo in the same home.

    Raises:
        DemoError: one is running already.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "demo.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise DemoError(f"a demo is already running in {home} (process {lock.read().strip()})") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        folder = home / "demo"
        for server in (LocalKafka(folder), LocalPostgres(folder)):
            server.kill()  # left by a demo whose guards were killed
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            for data in (folder / "kafka" / "data", folder / "postgres" / "data"):
                shutil.rmtree(data, ignore_errors=True)
            (folder / "events.jsonl").unlink(missing_ok=True)


@contextlib.contextmanager
def _nothing_left() -> Iterator[None]:
    """At the end, ignore further signals and kill every child process that is left."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()

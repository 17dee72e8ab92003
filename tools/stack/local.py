"""Kafka and Postgres together, with topics and tables: what `lyo up` and `lyo down` do."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lyo.tools.stack.jars import FETCHING, jar_folder
from lyo.tools.stack.kafka import LocalKafka
from lyo.tools.stack.postgres import LocalPostgres
from lyo.tools.stack.server import Server


class Addresses(msgspec.Struct, frozen=True):
    """Where the local stack listens."""

    bootstrap_servers: str
    database_url: str

    def environment(self) -> dict[str, str]:
        """The same as the environment variables of every process of ours."""
        return {"LYO_BOOTSTRAP_SERVERS": self.bootstrap_servers, "LYO_DATABASE_URL": self.database_url}


def default_home() -> Path:
    """`.lyo` beside this checkout's `pyproject.toml`; in the working directory when installed elsewhere."""
    checkout = Path(__file__).resolve().parents[2]
    return (checkout if (checkout / "pyproject.toml").exists() else Path.cwd()) / ".lyo"


def up(
    home: Path,
    *,
    kafka_port: int | None = None,
    postgres_port: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Addresses:
    """Start what does not run yet, create the topics that are missing, migrate; return the addresses.

    Raises:
        StackError: something could not be started; a port that was asked for is taken.
        lyo.streams.topics.TopicError: topics exist with another number of partitions.
    """
    kafka, postgres = LocalKafka(home, kafka_port), LocalPostgres(home, postgres_port)
    with _alone(home):
        for server in (kafka, postgres):
            server.check_port()
        if not jar_folder(kafka.jar_cache).is_dir():
            say(FETCHING)
        # Both at once: most of either's start is waiting.
        with ThreadPoolExecutor(2) as threads:
            starts = [threads.submit(_start, server, say) for server in (kafka, postgres)]
        for start in starts:
            start.result()
        addresses = Addresses(kafka.bootstrap_servers, postgres.database_url)
        furnish(addresses, say)
    return addresses


def furnish(addresses: Addresses, say: Callable[[str], None] = lambda _: None) -> None:
    """Create the topics that are missing and bring the tables to the newest revision."""
    from lyo.storage.schema.migrate import upgrade
    from lyo.streams import topic_admin
    from lyo.streams.settings import load_settings

    settings = load_settings(**msgspec.structs.asdict(addresses))
    created = asyncio.run(topic_admin.ensure(settings))
    if created:
        say(f"Created {len(created)} topics")
    upgrade(settings.database_url)


def down(home: Path, say: Callable[[str], None] = lambda _: None) -> int:
    """Stop what runs; return how many servers that were."""
    if not home.is_dir():
        return 0
    running = [server for server in (LocalKafka(home), LocalPostgres(home)) if server.running]
    with _alone(home):
        for server in running:
            ended = server.stop()
            say(f"{server.title} stopped" + ("" if ended else " (by force)"))
    return len(running)


def _start(server: Server, say: Callable[[str], None]) -> None:
    was_running = server.running
    server.start()
    say(f"{server.title} {'runs already' if was_running else 'started'} on port {server.port}")


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep a second `lyo up` or `lyo down` of the same folder waiting until this one is done."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

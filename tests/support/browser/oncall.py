"""Everything on call watches, running: a worker, a sink and `lyo monitor`, with events that go on coming."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lyo.models.events.decode import Kind, partition
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.processes import ROOT
from tests.support.worker.running import events, publish, publisher

VIEWER, OPERATOR = "a token to look at the page", "a token to retry what failed"
EARLY = b'{"event_id":"early-1","user_id":7,"started_at":"%s","ended_at":"%s"}'
BAD = b'{"event_id":"bad-1","user_id":"<img src=x>","secret":"what the letter held"}'


@dataclass
class Running:
    """One `lyo` process that is started again when it has ended."""

    name: str
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lyo.cli.main", self.name],
                env=self.environment,
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class OnCall:
    """The system, and the monitor's address."""

    settings: Settings
    worker: Running
    sink: Running
    monitor: Running
    url: str = ""

    def publish_bad(self) -> None:
        """An event that cannot be used."""
        self._publish(BAD, time.time())

    def publish_early(self) -> None:
        """An event that is more than a day ahead of its record, and could be used now."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._publish(EARLY % (now.encode(), now.encode()), time.time() - 3 * 86_400)

    def _publish(self, value: bytes, at: float) -> None:
        async def once() -> None:
            async with publisher(self.settings) as producer:
                topic = topics.names(self.settings).topic(Kind.SESSION)
                number = partition(7, self.settings.partitions)
                await producer.send_and_wait(
                    topic, value, b"7", partition=number, timestamp_ms=round(at * 1000)
                )

        in_a_thread(lambda: asyncio.run(once()))


def in_a_thread(call: Callable[[], None]) -> None:
    """Playwright keeps an event loop in the main thread, where no other may run."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


@contextmanager
def traffic(settings: Settings) -> Iterator[None]:
    """A few events, again and again."""
    stop = threading.Event()

    async def publishing() -> None:
        first = 0
        async with publisher(settings) as producer:
            while not stop.is_set():
                await publish(settings, producer, events(20, users=50, first=first))
                first += 20
                await asyncio.sleep(0.3)

    thread = threading.Thread(target=lambda: asyncio.run(publishing()))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


@contextmanager
def on_call(bootstrap_servers: str, database_url: str, folder: Path) -> Iterator[OnCall]:
    """The system, ended with the block."""
    name = f"t{uuid.uuid4().hex[:10]}"
    settings = Settings(
        bootstrap_servers=bootstrap_servers,
        database_url=database_url,
        app_id=name,
        topic_prefix=f"{name}.",
        partitions=4,
        release="7.1-test",
        monitor_port=0,
        monitor_interval_seconds=1.0,
        monitor_token=VIEWER,
        monitor_operator_token=OPERATOR,
    )
    in_a_thread(lambda: asyncio.run(_topics(settings)))
    upgrade(database_url)
    environment = os.environ | _environment(settings)
    started: list[Running] = []
    try:
        worker, sink, monitor = (
            _started(process, environment, folder, started) for process in ("worker", "sink", "monitor")
        )
        system = OnCall(settings, worker, sink, monitor)
        system.url = _address(monitor)
        _has_looked(system.url)
        with traffic(settings):
            yield system
    finally:
        for one in started:
            one.stop()
        in_a_thread(lambda: asyncio.run(_delete(settings)))


def _started(name: str, environment: dict[str, str], folder: Path, started: list[Running]) -> Running:
    started.append(Running(name, environment, folder / f"{name}.log"))
    return started[-1]


async def _topics(settings: Settings) -> None:
    await topic_admin.ensure(settings)


async def _delete(settings: Settings) -> None:
    async with clients.admin(settings) as client:
        ours = [name for name in await client.list_topics() if name.startswith(settings.topic_prefix)]
        await client.delete_topics(ours)


def _environment(settings: Settings) -> dict[str, str]:
    said = {name: getattr(settings, name) for name in settings.model_fields_set}
    secrets = {"monitor_token": VIEWER, "monitor_operator_token": OPERATOR}
    return {f"LYO_{name.upper()}": str(secrets.get(name, value)) for name, value in said.items()}


def _has_looked(url: str) -> None:
    end = time.monotonic() + 60
    while True:
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(f"{url}/health"):
            return
        assert time.monotonic() < end, "the monitor has not looked"
        time.sleep(0.1)


def _address(monitor: Running) -> str:
    end = time.monotonic() + 60
    while True:
        found = re.search(r"listening on (http://[\d.:]+)/ops", monitor.log.read_text())
        if found is not None:
            return found[1]
        assert monitor.process.poll() is None, monitor.log.read_text()
        assert time.monotonic() < end, monitor.log.read_text()
        time.sleep(0.05)

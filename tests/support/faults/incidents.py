"""A whole small system beside a Prometheus, in which conditions are made and alerts are waited for."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from aiokafka.errors import KafkaError

from lyo.models.events.decode import Kind
from lyo.storage.database import plain_url
from lyo.storage.reads.stored_offsets import behind
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka, processes
from tests.support.api.tokens import SECRET, bearer, secret_token
from tests.support.faults.deployment import INSERT, UNSENT
from tests.support.faults.fleet import Fleet, Member, fleet
from tests.support.monitor.alerting import RULES, Alert, Prometheus, prometheus, shortened
from tests.support.processes import ROOT, Environment, lag
from tests.support.worker.running import Event, publish, publisher

LONGEST = 240.0
LEARNER = 7


def stamp(seconds: float = 0.0) -> str:
    """So many seconds from now."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


class Incidents:
    """Makes conditions, waits for alerts, and keeps what was seen of each."""

    def __init__(
        self, settings: Settings, running: Fleet, watching: Prometheus, ports: dict[str, int]
    ) -> None:
        self.settings = settings
        self.fleet = running
        self.prometheus = watching
        self.ports = ports
        self.seen: dict[str, Alert] = {}
        self._events = 0

    # ------------------------------------------------------------ processes

    def start(self, command: str, **more: str) -> Member:
        """Start the one process of a command, or start it again."""
        place = {"LYO_METRICS_PORT": str(self.ports[command])}
        if command == "monitor":
            place = {"LYO_MONITOR_PORT": str(self.ports[command])}
        if command == "api":
            place["LYO_API_PORT"] = str(self.ports["api-requests"])
        return self.fleet.add(f"{command}-1", **(place | more))

    def member(self, command: str) -> Member:
        """The one process of a command."""
        return self.fleet.members[f"{command}-1"]

    async def stop(self, command: str) -> None:
        """End it in order."""
        await self.member(command).stop()

    async def restart(self, command: str, **more: str) -> None:
        """End it in order and start it again.

        A worker is waited for until it has opened everything; a monitor computes its figures at once.
        """
        member = self.member(command)
        opened = member.said("open rows=")
        await self.stop(command)
        self.start(command, **more)

        async def at_work() -> bool:
            return member.said("open rows=") >= opened + self.settings.partitions

        if command == "worker":
            await self.until(at_work, "the worker has opened its partitions")

    async def lyo(self, *arguments: str) -> str:
        """Run a command to its end; gives what it printed."""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lyo.cli.main", *arguments),
            cwd=ROOT,
            env=self.fleet.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await child.communicate()
        print(f"$ lyo {' '.join(arguments)}   # exit {child.returncode}\n{said.decode()}")
        return said.decode()

    # ------------------------------------------------------------ events

    def event(self, kind: Kind, user: int, /, **more: Any) -> Event:
        """An event with an id of its own."""
        self._events += 1
        key = "request_id" if kind is Kind.STRUGGLE_REQUEST else "event_id"
        return kind, user, json.dumps({key: f"e{self._events}", "user_id": user} | more).encode()

    def session(self, user: int, seconds: float = 0.0, **more: Any) -> Event:
        """One of an hour, which ended so long ago."""
        times = {"started_at": stamp(-seconds - 3_600), "ended_at": stamp(-seconds)}
        return self.event(Kind.SESSION, user, **times, **more)

    def sentiment(self, user: int, seconds: float = 0.0, **more: Any) -> Event:
        """A good feeling."""
        return self.event(Kind.SENTIMENT, user, occurred_at=stamp(-seconds), sentiment=0.5, **more)

    def completion(self, user: int, seconds: float = 0.0, **more: Any) -> Event:
        """A lesson, without skills and score if nothing more is said."""
        said: dict[str, Any] = {
            "occurred_at": stamp(-seconds),
            "content_id": "lesson",
            "skills": [],
            "score": None,
        }
        return self.event(Kind.LESSON_COMPLETION, user, **(said | more))

    async def give(self, made: Iterable[Event]) -> None:
        """Publish events, acknowledged."""
        async with publisher(self.settings) as producer:
            await publish(self.settings, producer, made)

    async def done(self, seconds: float = LONGEST) -> None:
        """Wait until everything is read, sent on and stored."""

        async def nothing_left() -> bool:
            try:
                if await lag(self.settings) or await behind(self.settings):
                    return False
            except (KafkaError, OSError):
                return False  # a broker that has just come back does not know its topics yet
            return bool(await self.fetch(UNSENT) == 0)

        await self.until(nothing_left, "everything is processed", seconds)

    async def read(self) -> None:
        """Wait until the workers have read everything and sent what follows, stored or not."""

        async def nothing_left() -> bool:
            return await lag(self.settings) == 0

        await self.until(nothing_left, "everything is read")

    # ------------------------------------------------------------ Postgres and the API

    @asynccontextmanager
    async def postgres(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection."""
        connection = await asyncpg.connect(plain_url(self.settings.database_url))
        try:
            yield connection
        finally:
            await connection.close()

    async def fetch(self, sql: str) -> Any:
        """One value."""
        async with self.postgres() as connection:
            return await connection.fetchval(sql)

    async def to_outbox(self, topic: str) -> None:
        """Write an outcome to be sent to a topic, as the API does."""
        value = {
            "event_id": f"o{time.time_ns()}",
            "user_id": LEARNER,
            "occurred_at": stamp(),
            "kind": "returned",
        }
        async with self.postgres() as connection:
            await connection.execute(INSERT, topic, str(LEARNER), str(LEARNER), json.dumps(value).encode())

    @asynccontextmanager
    async def locked(self, table: str) -> AsyncIterator[None]:
        """Nobody else may read a table."""
        async with self.postgres() as connection, connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield

    @asynccontextmanager
    async def asked(self, route: str, pause: float = 0.1) -> AsyncIterator[list[int]]:
        """The API is asked again and again; the statuses of its answers."""
        statuses: list[int] = []
        address = f"http://{processes.LOOPBACK}:{self.ports['api-requests']}"
        headers = bearer(secret_token(sub=str(LEARNER)))

        async def ask(client: httpx.AsyncClient) -> None:
            while True:
                with suppress(httpx.TransportError):
                    answer = await client.get(f"/api/v1/predictive{route}", headers=headers)
                    statuses.append(answer.status_code)
                await asyncio.sleep(pause)

        async with httpx.AsyncClient(base_url=address, timeout=20) as client:
            asking = asyncio.create_task(ask(client))
            try:
                yield statuses
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    # ------------------------------------------------------------ alerts

    async def fires(self, *names: str, seconds: float = LONGEST) -> None:
        """Wait until all of these fire, and keep how."""
        began = time.monotonic()
        missing = set(names)

        async def all_fire() -> bool:
            for alert in await self.prometheus.alerts():
                if alert.name in missing and alert.firing:
                    missing.discard(alert.name)
                    self.seen.setdefault(alert.name, alert)
                    labels = ",".join(f"{key}={value}" for key, value in sorted(alert.labels.items()))
                    took = time.monotonic() - began
                    print(f"{took:6.1f} s  {alert.name} {{{labels}}} {alert.value:g}  {alert.summary}")
            return not missing

        await self.until(all_fire, f"these alerts fire: {names}", seconds, lambda: f"missing {missing}")

    async def ends(self, *names: str, seconds: float = LONGEST) -> None:
        """Wait until none of these is pending or firing."""
        began = time.monotonic()

        async def none_left() -> bool:
            return not {alert.name for alert in await self.prometheus.alerts()} & set(names)

        await self.until(none_left, f"these alerts end: {names}", seconds)
        print(f"{time.monotonic() - began:6.1f} s  over: {', '.join(names)}")

    async def until(
        self,
        condition: Callable[[], Awaitable[bool]],
        what: str,
        seconds: float = LONGEST,
        more: Callable[[], str] = str,
    ) -> None:
        """Wait for a condition; who waits in vain is told what there is instead."""
        end = time.monotonic() + seconds
        while not await condition():
            if time.monotonic() > end:
                there = [(alert.name, alert.labels, alert.value) for alert in await self.prometheus.alerts()]
                tails = "\n".join(f"{one.name}: {one.tail(1500)}" for one in self.fleet.members.values())
                raise AssertionError(f"not within {seconds:g} s: {what} {more()}; {there}\n{tails}")
            await asyncio.sleep(0.3)


@asynccontextmanager
async def incidents(settings: Settings, environment: Environment, folder: Path) -> AsyncIterator[Incidents]:
    """Worker, sink, API and monitor, each with a port, and Prometheus with the shortened rules."""
    settings = settings.model_copy(update={"jwt_secret": SECRET, "metrics_port": 0})
    await clients.reach(settings, lambda: topic_admin.ensure(settings))
    await asyncio.to_thread(upgrade, settings.database_url)
    ports = {name: processes.free_port() for name in ("worker", "sink", "api", "monitor", "api-requests")}
    jobs = {f"lyo-{name}": port for name, port in ports.items() if name != "api-requests"}
    variables = environment(settings) | {"LYO_JWT_SECRET": SECRET}
    async with (
        fleet(folder / "fleet", variables, supervised=False) as running,
        prometheus(folder / "prometheus", jobs, shortened(RULES.read_text())) as watching,
    ):
        story = Incidents(settings, running, watching, ports)
        for command in ("worker", "sink", "api", "monitor"):
            story.start(command)
        yield story


@asynccontextmanager
async def frozen(broker: LocalKafka) -> AsyncIterator[None]:
    """The broker stands still: it keeps its connections and answers nobody."""
    pid = broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)

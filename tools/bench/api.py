"""Measures how fast the API answers, and how soon it shows an event, while a worker and a sink write."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import numpy as np
import psutil
import uvloop
from aiokafka import AIOKafkaProducer
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from lyo.models.events.decode import Kind, partition
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.kafka.input_records import CATALOGUE
from lyo.streams.settings import Settings
from lyo.tools.bench import learners, load
from lyo.tools.bench.stack import ONE_CORE, Waiting, module, on_cores, process, realtime
from lyo.tools.simulation import Plan, generate

DAY = 86_400_000
BASE = "/api/v1/predictive"
WRITING_LEARNERS, FIRST_WRITING = 2_000, 10_000_000
FIRST_FRESH = 20_000_000
SIGNED_IN = 1_000
FRESH_EVERY, POLL_EVERY, LONGEST_FRESH = 1.0, 0.05, 90.0
STARTING, MOST_WARM_UP, BARE_SECONDS = 60.0, 20.0, 5.0
CONTENT = (
    b'{"content_metadata":{"content_id":"bench-%d","difficulty_rating":0.6,"prerequisites":["skill-1"]}}'
)
MIX = (
    ("GET", "/dropout/risk", 25),
    ("GET", "/insights", 20),
    ("GET", "/timing/profile", 10),
    ("POST", "/timing/check", 10),
    ("GET", "/plateaus", 10),
    ("GET", "/regressions", 10),
    ("POST", "/struggle/predict", 10),
    ("POST", "/struggle/record-outcome", 5),
)


@dataclass(frozen=True, slots=True)
class Workload:
    """The load: stored learners, requests per second, seconds, and events per second written meanwhile."""

    learners: int = 100_000
    rate: int = 200
    seconds: int = 30
    events: int = 10
    seed: int = 1


@dataclass(slots=True)
class Measured:
    """Times in seconds; `cpu` is each process's share of one core.

    `per_request` is the CPU time of one request (s), `bare_per_request` that of a FastAPI app that answers
    with nothing.
    """

    workload: Workload
    results: load.Results
    cpu: dict[str, float]
    per_request: float
    bare_per_request: float
    resident_bytes: int
    fresh: list[float] = field(default_factory=list)
    written: float = 0.0  # events per second

    def figures(self) -> dict[str, Any]:
        """The figures by name."""
        p50, p95, p99 = _percentiles(self.results.seconds, 50, 95, 99)
        fresh50, fresh95 = _percentiles(self.fresh, 50, 95)
        return {
            "api_learners_stored": self.workload.learners,
            "api_requests": len(self.results.seconds),
            "api_requests_per_second": self.workload.rate,
            "api_events_per_second_written": round(self.written),
            "api_errors": self.results.errors,
            "api_p50_ms": p50,
            "api_p95_ms": p95,
            "api_p99_ms": p99,
            "api_max_ms": round(max(self.results.seconds) * 1000, 1),
            "api_p99_ms_by_operation": {
                name: _percentiles(taken, 99)[0] for name, taken in sorted(self.results.by_operation.items())
            },
            **{f"{name}_share_of_a_core": round(share, 2) for name, share in self.cpu.items()},
            "api_cpu_ms_per_request": round(self.per_request * 1000, 2),
            "bare_cpu_ms_per_request": round(self.bare_per_request * 1000, 2),
            "api_against_bare": round(self.per_request / self.bare_per_request, 1),
            "api_resident_mb": round(self.resident_bytes / 1e6),
            "fresh_median_ms": fresh50,
            "fresh_p95_ms": fresh95,
            "fresh_samples": len(self.fresh),
        }


def _percentiles(seconds: list[float], *which: int) -> list[float]:
    if not seconds:
        return [float("nan")] * len(which)
    return [round(value, 1) for value in np.percentile(np.array(seconds) * 1000, which).tolist()]


def measure(settings: Settings, workload: Workload, folder: Path) -> Measured:
    """Fill the database of `settings`, start worker, sink and API, and send requests.

    Raises:
        RuntimeError: one of the processes does not start, or ends.
    """
    upgrade(settings.database_url)
    today = int(time.time() * 1000) // DAY * DAY
    originals = learners.fold(workload.seed, today)
    asyncio.run(learners.fill(settings, originals, workload.learners))
    asyncio.run(topic_admin.ensure(settings))
    with ExitStack() as stack:
        ours = {}
        for name in ("worker", "sink"):
            child = stack.enter_context(process(name, settings, folder / f"{name}.log"))
            ours[name] = psutil.Process(child.pid)
        log = folder / "api.log"
        tokens = Tokens(folder / "jwks.json")
        more = {"LYO_JWT_JWKS_FILE": str(folder / "jwks.json"), "LYO_API_PORT": "0"}
        with on_cores(ONE_CORE):
            child = stack.enter_context(process("api", settings, log, more))
        client, host = _client(child, log)
        ours["api"] = psutil.Process(child.pid)
        mix = Mix(workload, tokens, learners.tenants(originals), host)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_ask(settings, workload, mix, tokens, client, ours, folder / "bare.log"))


def _client(child: subprocess.Popen[bytes], log: Path) -> tuple[load.Client, str]:
    """A client of the server, and its address, which the server writes to this log."""
    waiting = Waiting(child, log, STARTING)
    while (address := re.search(r"listening on (http://\S+)\n", log.read_text())) is None:
        waiting.check("starting a server")
        time.sleep(0.05)
    where = urlsplit(address[1])
    return load.Client(str(where.hostname), int(where.port or 0)), where.netloc


async def _ask(
    settings: Settings,
    workload: Workload,
    mix: Mix,
    tokens: Tokens,
    client: load.Client,
    ours: dict[str, psutil.Process],
    bare_log: Path,
) -> Measured:
    producer = clients.producer(settings)
    fresh = Fresh(client, settings, producer, tokens)
    await producer.start()
    try:
        with realtime():
            await fresh.measure(FIRST_FRESH)  # now the worker and the sink are running
            warm_up = min(float(workload.seconds), MOST_WARM_UP)
            writing = asyncio.create_task(_write(settings, producer, workload, warm_up + workload.seconds))
            await load.run(client, iter(mix), workload.rate / 2, warm_up)
            before, began, so_far = _cpu(ours), time.perf_counter(), client.sent
            looking = asyncio.create_task(fresh.run(workload.seconds))
            results = await load.run(client, iter(mix), workload.rate, workload.seconds)
            took, spent = time.perf_counter() - began, _spent(ours, before)
            per_request = spent["api"] / (client.sent - so_far)
            shares = {name: seconds / took for name, seconds in spent.items()}
            resident = ours["api"].memory_info().rss
            written, shown = await writing, await looking
        bare = await _bare(bare_log, workload.rate)
        return Measured(workload, results, shares, per_request, bare, resident, shown, written)
    finally:
        await producer.stop()
        await client.close()


async def _bare(log: Path, rate: int) -> float:
    """CPU time (s) of one request that is answered with nothing, at this rate."""
    with ExitStack() as stack:
        with on_cores(ONE_CORE):
            child = stack.enter_context(module("lyo.tools.bench.bare", log=log))
        client, host = _client(child, log)
        requests = repeat(("GET /", load.request("GET", "/", host, "none")))
        await load.run(client, requests, rate, BARE_SECONDS / 5)
        server = {"bare": psutil.Process(child.pid)}
        before, so_far = _cpu(server), client.sent
        await load.run(client, requests, rate, BARE_SECONDS)
        await client.close()
        return _spent(server, before)["bare"] / (client.sent - so_far)


def _cpu(processes: dict[str, psutil.Process]) -> dict[str, float]:
    return {name: sum(one_process.cpu_times()[:2]) for name, one_process in processes.items()}


def _spent(processes: dict[str, psutil.Process], before: dict[str, float]) -> dict[str, float]:
    return {name: seconds - before[name] for name, seconds in _cpu(processes).items()}


class Tokens:
    """Signs tokens as an issuer would, and caches them."""

    def __init__(self, file: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        public = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        file.write_text(json.dumps({"keys": [public | {"kid": "bench", "alg": "RS256"}]}))
        self.of_learner, self.of_service = cache(self._of_learner), cache(self._of_service)

    def _of_learner(self, user: int) -> str:
        return self._sign({"sub": str(user)})

    def _of_service(self, tenant: int) -> str:
        return self._sign({"sub": "backend", "org": tenant, "roles": ["service"]})

    def _sign(self, claims: dict[str, Any]) -> str:
        whole = {"aud": "lyo", "exp": datetime.now(UTC) + timedelta(hours=1)} | claims
        return jwt.encode(whole, self._key, "RS256", {"kid": "bench"})


class Mix:
    """Requests about random learners: from a service about any learner, or from the learner."""

    def __init__(self, workload: Workload, tokens: Tokens, tenants: list[int | None], host: str) -> None:
        self._workload, self._tokens, self._tenants, self._host = workload, tokens, tenants, host
        self._chance = random.Random(workload.seed)  # noqa: S311 - no secret
        self._own = [self._chance.randint(1, workload.learners) for _ in range(SIGNED_IN)]
        for user in self._own:
            tokens.of_learner(user)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Endless pairs of a request's name and bytes."""
        weights = [weight for _, _, weight in MIX]
        while True:
            ((method, path, _),) = self._chance.choices(MIX, weights)
            about, token = self._who()
            raw = load.request(method, f"{BASE}{path}{about}", self._host, token, self._body(path))
            yield f"{method} {path}", raw

    def _who(self) -> tuple[str, str]:
        user = self._chance.randint(1, self._workload.learners)
        tenant = self._tenants[(user - 1) % len(self._tenants)]
        if tenant is None or self._chance.random() < 0.5:
            return "", self._tokens.of_learner(self._chance.choice(self._own))
        return f"?user_id={user}", self._tokens.of_service(tenant)

    def _body(self, path: str) -> bytes:
        content = self._chance.randint(1, 300)
        if path.endswith("predict"):
            return CONTENT % content
        if path.endswith("outcome"):
            return b'{"content_id":"bench-%d","struggled":true}' % content
        return b"{}" if path.endswith("check") else b""


async def _write(settings: Settings, producer: AIOKafkaProducer, workload: Workload, seconds: float) -> float:
    """Publish simulated events of other learners at a constant rate; returns events per second."""
    names, sent, began = topics.names(settings), 0, time.perf_counter()
    today = int(time.time() * 1000) // DAY * DAY
    for piece in generate(
        Plan(WRITING_LEARNERS, 60, workload.seed, today, 0.0, FIRST_WRITING), lambda _: None
    ):
        for line in piece.splitlines():
            event = json.loads(line)
            kind = Kind(event["type"])
            if kind in CATALOGUE:
                continue
            user = event["user_id"]
            home = partition(user, settings.partitions)
            await producer.send(names.topic(kind), line, b"%d" % user, partition=home)
            sent += 1
            ahead = sent / workload.events - (time.perf_counter() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)
            if time.perf_counter() - began > seconds:
                return sent / seconds
    return sent / seconds


class Fresh:
    """Measures the time from publishing an event until the API's answer shows it."""

    def __init__(
        self, client: load.Client, settings: Settings, producer: AIOKafkaProducer, tokens: Tokens
    ) -> None:
        self._client, self._settings, self._producer, self._tokens = client, settings, producer, tokens

    async def run(self, seconds: float) -> list[float]:
        """Publish the first session of a new learner every `FRESH_EVERY` seconds; returns the times (s)."""
        until, user, tasks = time.perf_counter() + seconds, FIRST_FRESH, []
        while time.perf_counter() < until:
            user += 1
            tasks.append(asyncio.create_task(self.measure(user)))
            await asyncio.sleep(FRESH_EVERY)
        return list(await asyncio.gather(*tasks))

    async def measure(self, user: int) -> float:
        """Publish this learner's first session; returns the seconds until the API shows it."""
        now = datetime.now(UTC)
        event = {"event_id": f"fresh-{user}", "user_id": user}
        event |= {"started_at": (now - timedelta(minutes=5)).isoformat(), "ended_at": now.isoformat()}
        token = self._tokens.of_learner(user)
        request = load.request("GET", f"{BASE}/timing/profile", "bench", token)
        began = time.perf_counter()
        await self._producer.send(
            topics.names(self._settings).topic(Kind.SESSION),
            json.dumps(event).encode(),
            b"%d" % user,
            partition=partition(user, self._settings.partitions),
        )
        while time.perf_counter() - began < LONGEST_FRESH:
            _, body = await self._client.send(request)
            if body and json.loads(body).get("sessions_analyzed") == 1:
                return time.perf_counter() - began
            await asyncio.sleep(POLL_EVERY)
        raise RuntimeError("an event that was published never showed")

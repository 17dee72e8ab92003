"""Worker, sink and API as processes: what they show to Prometheus and what they write into their logs."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from lyo.models.events.decode import Kind
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin
from lyo.streams.kafka import clients
from lyo.streams.metrics import PROCESSES
from lyo.streams.settings import Settings
from lyo.tools.stack.processes import free_port
from tests.support.api.client import api_process
from tests.support.api.tokens import SECRET, bearer, secret_token
from tests.support.monitor.scraping import Scraped, scrape
from tests.support.processes import process, wait_for
from tests.support.sink.running import all_stored
from tests.support.worker.running import all_done, publish, publisher

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FIRST_USER = 7_300_000_001
USERS = 12
SECRETIVE = "zanzibar"
Made = tuple[Kind, int, bytes]


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def life(user: int) -> list[Made]:
    """Two sessions, a completion without a skill, one without a score, one from a fast clock, a bad one."""
    head = {"user_id": user, "organization_id": 41}

    def event(kind: Kind, name: str, **more: object) -> Made:
        return kind, user, json.dumps({"event_id": f"{SECRETIVE}-{user}-{name}"} | head | more).encode()

    lesson = {"content_id": f"{SECRETIVE}-lesson", "skills": [f"{SECRETIVE}-skill"], "score": 0.5}
    kind = Kind.LESSON_COMPLETION
    return [
        event(Kind.SESSION, "s1", started_at=stamp(-7_200), ended_at=stamp(-3_600)),
        event(Kind.SESSION, "s2", started_at=stamp(-200_000), ended_at=stamp(-190_000)),
        event(kind, "c1", **(lesson | {"skills": []}), occurred_at=stamp(-60)),
        event(kind, "c2", **(lesson | {"score": None}), occurred_at=stamp(-60)),
        event(kind, "c3", **lesson, occurred_at=stamp(3_600)),
        event(kind, "c3", **lesson, occurred_at=stamp(3_600)),
        event(kind, "c4", **(lesson | {"score": SECRETIVE}), occurred_at=stamp(-60)),
    ]


@pytest.fixture
def ours(settings: Settings) -> Settings:
    upgrade(settings.database_url)
    return settings


async def assigned(port: int) -> set[str]:
    """The partition numbers that a worker shows, all of them open."""
    found = await scrape(port)
    names = found.of("lyo_partition_open", "partition")
    if not names or found.sum("lyo_partition_open") < len(names):
        return set()
    return names


async def test_every_process_shows_what_it_does_and_nothing_of_learners(
    ours: Settings, environment: Callable[[Settings], dict[str, str]], tmp_path: Path
) -> None:
    variables = environment(ours) | {"LYO_JWT_SECRET": SECRET, "LYO_LOG_FORMAT": "json", "LYO_API_PORT": "0"}
    ports = {name: free_port() for name in ("worker", "sink", "api", "other")}
    logs = {name: tmp_path / f"{name}.log" for name in ports}

    def of(name: str) -> dict[str, str]:
        return variables | {"LYO_METRICS_PORT": str(ports[name])}

    await clients.reach(ours, lambda: topic_admin.ensure(ours))
    events = [event for user in range(FIRST_USER, FIRST_USER + USERS) for event in life(user)]
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        await start(process("worker", of("worker"), logs["worker"]))
        await start(process("sink", of("sink"), logs["sink"]))
        async with publisher(ours) as producer:
            await publish(ours, producer, events)
        await all_done(ours, len(events))
        await all_stored(ours)
        await _the_worker_counted(ports["worker"])
        await _an_erasure_is_counted(ours, ports["worker"])
        sink = await scrape(ports["sink"])
        assert sink.sum("lyo_sink_records_total") > USERS
        assert sink.sum("lyo_sink_transaction_records_count") > 0
        await _the_api_counted(of("api") | {"LYO_LOG_FORMAT": "text"}, logs["api"], ports["api"])
        await _nothing_stays_of_partitions_that_moved(
            ours, lambda: start(process("worker", of("other"), logs["other"])), ports
        )
        shown = {name: await scrape(ports[name]) for name in ("worker", "sink", "other")}
    for found in shown.values():
        _says_nothing_of_learners(str(found.values))
    for log in logs.values():
        _says_nothing_of_learners(log.read_text())
    _is_structured(logs["worker"])


async def _the_worker_counted(port: int) -> None:
    found = await scrape(port)
    assert found.sum("lyo_events_total", kind="session") == 2 * USERS
    assert found.sum("lyo_events_total", kind="lesson_completion") == 5 * USERS
    assert found.sum("lyo_worker_dead_letters_total") == USERS
    assert found.sum("lyo_events_folded_total", result="applied") == 5 * USERS
    assert found.sum("lyo_events_folded_total", result="duplicates") == USERS
    assert found.sum("lyo_completions_without_total", missing="skills") == USERS
    assert found.sum("lyo_completions_without_total", missing="score") == USERS
    assert found.sum("lyo_events_ahead_total", kind="lesson_completion") == 2 * USERS
    assert found.sum("lyo_events_ahead_total", kind="session") == 0
    assert found.sum("lyo_events_behind_total", kind="session") == USERS
    assert found.sum("lyo_predictions_total", kind="dropout-risk") >= USERS
    batches = found.sum("lyo_batch_events_count")
    assert found.sum("lyo_batch_events_sum") == 7 * USERS
    assert found.sum("lyo_event_to_prediction_seconds_count") == batches > 0
    assert found.sum("lyo_transactions_total") >= batches  # sweeps have theirs
    _shows_all(found, "worker")


async def _an_erasure_is_counted(settings: Settings, port: int) -> None:
    """The last learner is erased; then an event of before is sent again."""
    user = FIRST_USER + USERS - 1
    body = {"event_id": f"{SECRETIVE}-gone", "user_id": user, "requested_at": stamp(0)}
    async with publisher(settings) as producer:
        await publish(settings, producer, [(Kind.ERASURE, user, json.dumps(body).encode())])

        async def erased() -> bool:
            return (await scrape(port)).sum("lyo_learners_erased_total") == 1

        await wait_for(erased, "the learner is erased", 60)
        assert (await scrape(port)).sum("lyo_erased_keys_total") >= 1
        await publish(settings, producer, life(user)[:1])

        async def held_back() -> bool:
            return (await scrape(port)).sum("lyo_events_folded_total", result="erased") == 1

        await wait_for(held_back, "the old event is held back", 60)


async def _the_api_counted(variables: dict[str, str], log: Path, port: int) -> None:
    headers = bearer(secret_token(sub=str(FIRST_USER), org=41))
    async with api_process(variables, log) as (address, _), httpx.AsyncClient(base_url=address) as client:
        for _ in range(3):
            answer = await client.get("/api/v1/predictive/dropout/risk", headers=headers)
            assert answer.status_code == 200, answer.text
        await client.get(f"/insights/{FIRST_USER}")
        await client.get(f"/nowhere/{FIRST_USER}")
        found = await scrape(port)
        risk = {"method": "GET", "route": "/predictive/dropout/risk"}
        assert found.sum("lyo_api_requests_total", **risk, status="200") == 3
        assert found.sum("lyo_api_request_seconds_count", route=risk["route"]) == 3
        assert found.sum("lyo_api_requests_total", route="unmatched", status="404") == 1
        assert found.sum("lyo_api_requests_running") == 0
        assert found.sum("lyo_api_connections", state="held") == 0
        _shows_all(found, "api")
        _says_nothing_of_learners(str(found.values))


async def _nothing_stays_of_partitions_that_moved(
    settings: Settings, second: Callable[[], Awaitable[object]], ports: dict[str, int]
) -> None:
    everything = {str(number) for number in range(settings.partitions)}
    assert await assigned(ports["worker"]) == everything
    await second()

    async def shared() -> bool:
        try:
            one, other = await assigned(ports["worker"]), await assigned(ports["other"])
        except httpx.TransportError:
            return False  # it has only been started
        return bool(one) and bool(other) and not one & other and one | other == everything

    await wait_for(shared, "both workers show their own partitions alone", 60)
    found = await scrape(ports["worker"])
    for name in ("lyo_partition_waiting_events", "lyo_partition_steps_total"):
        assert found.of(name, "partition") == await assigned(ports["worker"])


def _shows_all(found: Scraped, name: str) -> None:
    """Every metric of the process's catalogue, with its type, and none that is not in it."""
    process = next(process for process in PROCESSES if process.name == name)
    known = {metric.name: metric.type for metric in process.registry.collect()}
    known |= {live.name: live.type for live in process.live}
    ours = {key: kind for key, kind in found.families.items() if key.startswith("lyo_")}
    assert ours == {key: kind for key, kind in known.items() if key.startswith("lyo_")}


def _says_nothing_of_learners(text: str) -> None:
    assert SECRETIVE not in text
    for user in range(FIRST_USER, FIRST_USER + USERS):
        assert str(user) not in text


def _is_structured(log: Path) -> None:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    opened = [line for line in lines if "rows" in line and "task" in line]
    assert {line["task"] for line in opened} == set(range(4))
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert all(isinstance(line["seconds"], float) for line in opened)

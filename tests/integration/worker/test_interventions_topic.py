"""Interventions on real Kafka and Postgres: each reason decided once, through crashes at every step."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError

from lyo.models.events.decode import Kind, partition
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support import logs
from tests.support.clock import set_clock
from tests.support.learners.building import Sent, Stream, completion, session
from tests.support.processes import Environment, lag, process, wait_for
from tests.support.sink.running import all_stored, fetch, running

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.chaos]

Told = dict[str, Any]
START = datetime(2026, 3, 2, 17, tzinfo=UTC)
DAYS, SILENCE = 12, 11
USERS = (7, 11, 12)
# The worker is ended at each of these in turn, at the second transaction in which it reaches it.
CRASHES = ("outputs_sent", "rows_sent", "offsets_sent", "committed", "updated", "begun")


def millis(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def studied(user: int, day: int) -> list[Sent]:
    at = millis(START + timedelta(days=day))
    return [
        session(user, at, 40, name=f"s{user}-{day}"),
        completion(user, at + 1_800_000, f"skill-{day}", name=f"c{user}-{day}", score=0.5),
    ]


async def publish(settings: Settings, events: list[Sent], at: datetime) -> None:
    producer = clients.producer(settings)
    await producer.start()
    names = topics.names(settings)
    try:
        for kind, body in events:
            user = body["user_id"]
            await producer.send_and_wait(
                names.topic(Kind(kind)),
                json.dumps(body).encode(),
                b"%d" % user,
                partition=partition(user, settings.partitions),
                timestamp_ms=millis(at),
            )
    finally:
        await producer.stop()


async def read(settings: Settings, topic: str) -> list[tuple[bytes, bytes | None]]:
    """Every committed record of a topic, in log order within a learner."""
    return [(record.key, record.value) for record in await logs.records(settings, topic)]


async def told(settings: Settings) -> list[Told]:
    pairs = await read(settings, topics.names(settings).interventions)
    return [json.loads(value) for _, value in pairs if value is not None]


async def swept(settings: Settings, now: datetime) -> bool:
    """Whether every learner's last day has been swept."""
    newest: dict[bytes, datetime] = {}
    for key, value in await read(settings, topics.names(settings).prediction("dropout-risk")):
        newest[key] = datetime.fromisoformat(json.loads(value or b"{}")["as_of"])
    return len(newest) == len(USERS) and min(newest.values()) > now - timedelta(days=1)


async def drained(settings: Settings) -> bool:
    try:
        return await lag(settings) == 0
    except GroupCoordinatorNotAvailableError:  # a cluster's first group, before there is one
        return False


class Workers:
    """One worker at a time, begun again, with the next crash, whenever the last one was ended."""

    def __init__(self, settings: Settings, environment: Environment, folder: Path) -> None:
        self.variables = environment(settings) | {
            "LYO_SESSION_TIMEOUT_MS": "2000",
            "LYO_TRANSACTION_TIMEOUT_MS": "6000",
        }
        self.folder = folder
        self.crashes = list(CRASHES)
        self.ended: list[int] = []
        self.child: Any = None

    async def alive(self, stack: AsyncExitStack) -> None:
        if self.child is not None and self.child.poll() is None:
            return
        if self.child is not None:
            self.ended.append(self.child.returncode)
        crash = {"LYO_CRASH_AT": f"{self.crashes.pop(0)}:2"} if self.crashes else {}
        log = self.folder / f"worker-{len(self.ended)}.log"
        self.child = await stack.enter_async_context(process("worker", self.variables | crash, log))


def undisturbed(limits: list[datetime], events: list[Sent]) -> Stream:
    """What one engine decides in one process that nobody ends."""
    stream = Stream()
    stream.feed(events)
    for limit in limits:
        stream.sweep(millis(limit))
    return stream


async def test_a_silent_learners_reasons_are_decided_once_whenever_the_worker_is_killed(
    settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    now = START + timedelta(days=DAYS - 1, hours=2)
    set_clock(clock, now.isoformat())
    settings = settings.model_copy(update={"clock": f"@{clock}", "sweep_seconds": 0.1})
    await topic_admin.ensure(settings)
    upgrade(settings.database_url)
    events = [event for user in USERS for day in range(DAYS) for event in studied(user, day)]
    await publish(settings, events, now)
    limits = [now]
    workers = Workers(settings, environment, tmp_path)
    async with AsyncExitStack() as stack:

        async def reached() -> bool:
            await workers.alive(stack)
            return await drained(settings) and await swept(settings, now)

        await wait_for(reached, "all is folded")
        for day in range(SILENCE):
            now += timedelta(days=1)
            limits.append(now)
            set_clock(clock, now.isoformat())
            if day == SILENCE // 2:
                workers.child.kill()
                workers.child.wait()
            await wait_for(reached, f"everybody is swept as of {now}")
        assert workers.ended.count(137) == len(CRASHES), workers.ended
        assert -9 in workers.ended
        found = await told(settings)
        alone = undisturbed(limits, events)
        newest = dict(await read(settings, topics.names(settings).interventions))
        assert {key: value for key, value in newest.items() if value is not None} == alone.interventions
        check_once(found)
        check_story(found)
        async with running(settings) as (_, task):
            await all_stored(settings, task)
            assert await stored(settings) == {
                one["intervention_id"]: (one["user_id"], one["status"], one["supersedes"])
                for one in alone.decided()
            }
            await check_return(settings, now, clock, reached)
            await all_stored(settings, task)
    states = await stored(settings)
    assert {status for user, status, _ in states.values() if user == USERS[0]} <= {"superseded", "retracted"}
    assert "active" in {status for user, status, _ in states.values() if user != USERS[0]}


def check_once(found: list[Told]) -> None:
    """No id with two contents of one status, no reason twice, nothing said again."""
    contents, ids = defaultdict(list), defaultdict(set)
    for one in found:
        contents[one["intervention_id"], one["status"]].append(one)
        reason = tuple(one[name] for name in ("user_id", "audience", "type", "level", "skill_id"))
        ids[*reason, one["episode_start"]].add(one["intervention_id"])
    assert all(len(some) == 1 for some in contents.values())
    assert all(len(some) == 1 for some in ids.values())


def check_story(found: list[Told]) -> None:
    for user in USERS:
        first = [
            (one["audience"], one["type"], one["priority"])
            for one in found
            if one["user_id"] == user and one["level"] and one["status"] == "active"
        ]
        assert [*first[:2], *sorted(first[2:])] == [
            ("learner", "gentle_nudge", 5),
            ("learner", "emotional_support", 9),
            ("educator", "emotional_support", 10),
            ("learner", "emotional_support", 10),
        ]


async def check_return(settings: Settings, now: datetime, clock: Path, reached: Callable[[], Any]) -> None:
    """The first learner comes back and stays: what was open about the silence is retracted."""
    for day in range(DAYS + SILENCE, DAYS + SILENCE + 3):
        moment = START + timedelta(days=day, hours=2)
        set_clock(clock, (moment).isoformat())
        await publish(settings, studied(USERS[0], day), moment)

        async def folded() -> bool:
            await reached()
            return await drained(settings)

        await wait_for(folded, "the return is folded")

    async def retracted() -> bool:
        newest = {one["intervention_id"]: one for one in await told(settings)}
        mine = [one for one in newest.values() if one["user_id"] == USERS[0]]
        return all(one["status"] != "active" for one in mine if one["level"] == "critical")

    await wait_for(retracted, "the reasons are retracted")


async def stored(settings: Settings) -> dict[str, tuple[int, str, str | None]]:
    rows = await fetch(
        settings.database_url,
        "SELECT intervention_id, user_id, status, supersedes FROM interventions",
    )
    return {row[0]: row[1:] for row in rows}

"""Silence is swept up to the clock; a backlog is not silence."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lyo.streams import topic_admin, topics
from lyo.streams.dead_letters.encode import timestamp
from lyo.streams.settings import Settings
from tests.support.clock import set_clock
from tests.support.processes import Environment
from tests.support.worker.running import (
    WorkerProcess,
    all_done,
    events,
    publish,
    publisher,
    read,
    until,
)

pytestmark = pytest.mark.integration

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)


def instant(seconds: float) -> str:
    return timestamp(START_MS + int(seconds * 1000))


async def risks(settings: Settings) -> list[tuple[int, dict[str, int]]]:
    records = await read(settings, topics.names(settings).prediction("dropout-risk"))
    return [(int(record.key), json.loads(record.value)) for record in records]


async def swept(settings: Settings) -> dict[int, int]:
    """The limit up to which each learner was swept."""
    return {user: body["swept"] for user, body in await risks(settings) if "swept" in body}


async def test_a_silent_learner_is_swept_when_the_clock_passes_and_not_before(
    kafka_settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, instant(59))
    variables = environment(kafka_settings) | {"LYO_CLOCK": f"@{clock}", "LYO_SWEEP_SECONDS": "0.1"}
    await topic_admin.ensure(kafka_settings)
    made = events(40, users=10, at=instant(0))
    later = events(4, users=1, first=1_000, at=instant(30))
    async with (
        publisher(kafka_settings) as producer,
        WorkerProcess(variables, tmp_path / "log") as worker,
    ):
        await publish(kafka_settings, producer, made + later, at=START_MS)
        await all_done(kafka_settings, len(made) + len(later))
        assert await swept(kafka_settings) == {}
        set_clock(clock, instant(61))

        async def nine() -> bool:
            return len(await swept(kafka_settings)) >= 9

        await until(nine, 30, "nine learners swept", pause=0.2)
        # The one who came back half a minute later is not due yet.
        assert await swept(kafka_settings) == dict.fromkeys(range(2, 11), START_MS + 61_000)
        set_clock(clock, instant(3_600))

        async def all_ten() -> bool:
            return (await swept(kafka_settings)).get(1) == START_MS + 3_600_000

        await until(all_ten, 30, "the tenth learner swept", pause=0.2)
        assert await worker.stop() == 0
    limits = [body["swept"] for _, body in await risks(kafka_settings) if "swept" in body]
    assert len(limits) == 10, "a learner was swept more than once"


async def test_nobody_is_swept_past_a_backlog_of_unread_events(
    kafka_settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    """Every learner is active every half minute, so none is silent for a minute before the log's end."""
    clock = tmp_path / "clock"
    set_clock(clock, timestamp(START_MS + int(timedelta(days=2).total_seconds() * 1000)))
    variables = environment(kafka_settings) | {
        "LYO_CLOCK": f"@{clock}",
        "LYO_SWEEP_SECONDS": "0.01",
        "LYO_POLL_RECORDS": "60",
        "LYO_BATCH_RECORDS": "60",
    }
    users, rounds = 100, 40
    await topic_admin.ensure(kafka_settings)
    async with publisher(kafka_settings) as producer:
        for number in range(rounds):
            at = 30 * number
            # A completion, a session and a sentiment of every learner in each round, so in all three topics.
            made = events(3 * users, users=users, first=number * 3 * users, at=instant(at))
            await publish(kafka_settings, producer, made, at=START_MS + at * 1_000)
    async with WorkerProcess(variables, tmp_path / "first.log") as worker:
        await all_done(kafka_settings, rounds * users)
        worker.kill()
    # A successor does not know how old the backlog is before it has read from it.
    async with WorkerProcess(variables, tmp_path / "second.log") as worker:
        await all_done(kafka_settings, rounds * users * 3)

        async def everybody() -> bool:
            return len(await swept(kafka_settings)) == users

        await until(everybody, 60, "everybody swept once the backlog was read", pause=0.3)
        assert await worker.stop() == 0
    done: dict[int, int] = {}
    for user, body in await risks(kafka_settings):
        if "swept" in body:
            assert done[user] == rounds * 3, f"swept up to {body['swept']} after {done[user]} events"
        else:
            assert body["count"] > done.get(user, 0)
            done[user] = body["count"]

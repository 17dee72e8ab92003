"""Silence raises the risk without any event; a backlog is not silence."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lyo.models.events.decode import Kind, partition
from lyo.models.formulas.dropout import LEVELS
from lyo.streams import topic_admin, topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support import logs
from tests.support.clock import set_clock
from tests.support.faults import agreement
from tests.support.processes import Environment, lag, process, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]

USER = 7
START = datetime(2026, 3, 2, 17, tzinfo=UTC)
DAYS = 30


def studied(day: int) -> list[tuple[Kind, dict[str, Any]]]:
    """A session with a lesson, on each day at the same time."""
    at = START + timedelta(days=day)
    session = {
        "event_id": f"s{day}",
        "user_id": USER,
        "started_at": at.isoformat(),
        "ended_at": (at + timedelta(minutes=40)).isoformat(),
    }
    lesson = {
        "event_id": f"c{day}",
        "user_id": USER,
        "occurred_at": (at + timedelta(minutes=30)).isoformat(),
        "content_id": f"lesson-{day % 5}",
        "skills": ["fractions"],
        "score": 0.8,
    }
    return [(Kind.SESSION, session), (Kind.LESSON_COMPLETION, lesson)]


async def publish(settings: Settings, days: range) -> None:
    """Publish days of study, each record stamped with its own time."""
    producer = clients.producer(settings)
    await producer.start()
    names = topics.names(settings)
    try:
        for day in days:
            for kind, event in studied(day):
                await producer.send_and_wait(
                    names.topic(kind),
                    json.dumps(event).encode(),
                    b"%d" % USER,
                    partition=partition(USER, settings.partitions),
                    timestamp_ms=round((START + timedelta(days=day, hours=1)).timestamp() * 1000),
                )
    finally:
        await producer.stop()


async def risks(settings: Settings) -> list[dict[str, Any]]:
    """Every committed dropout risk of the learner, in log order."""
    topic = topics.names(settings).prediction("dropout-risk")
    return [json.loads(record.value) for record in await logs.records(settings, topic)]


def event_file(path: Path) -> Path:
    lines = [json.dumps({"type": kind} | event) for day in range(DAYS) for kind, event in studied(day)]
    path.write_text("\n".join(lines) + "\n")
    return path


async def test_without_any_event_a_silent_learner_moves_from_low_to_critical_at_the_right_times(
    settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    now = START + timedelta(days=DAYS - 1, hours=2)
    set_clock(clock, now.isoformat())
    settings = settings.model_copy(update={"clock": f"@{clock}", "sweep_seconds": 0.2})
    await topic_admin.ensure(settings)
    await publish(settings, range(DAYS))
    file = event_file(tmp_path / "events.jsonl")
    async with process("worker", environment(settings), tmp_path / "worker.log"):

        async def drained() -> bool:
            return await lag(settings) == 0 and bool(await risks(settings))

        await wait_for(drained, "all is folded")
        seen = [(await risks(settings))[-1]["risk_level"]]
        for _ in range(45):
            now += timedelta(days=1)
            at = round(now.timestamp() * 1000)
            wanted = agreement.predicted(agreement.replayed(file, at))["dropout-risk", str(USER)]
            set_clock(clock, now.isoformat())

            async def swept(wanted: dict[str, Any] = wanted) -> bool:
                newest = (await risks(settings))[-1]
                return agreement.differences({("", ""): wanted}, {("", ""): newest}) == []

            await wait_for(swept, f"the risk as of {now} is on the topic", seconds=30)
            newest = (await risks(settings))[-1]
            as_of = datetime.fromisoformat(newest["as_of"])
            assert now - timedelta(days=1) < as_of <= now
            assert as_of.hour == 0, "a learner's day ends at local midnight, plus up to an hour"
            seen.append(newest["risk_level"])
            if seen[-1] == "critical":
                break
    assert [level for level in LEVELS if level in seen] == list(LEVELS)
    assert seen == sorted(seen, key=LEVELS.index), "silence never lowers the risk"
    assert 7 <= len(seen) - 1 <= 30, f"critical after {len(seen) - 1} days"


async def test_with_a_backlog_of_unread_events_nobody_becomes_critical(
    settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    last = START + timedelta(days=DAYS - 1, hours=2)
    settings = settings.model_copy(
        update={"clock": last.isoformat(), "sweep_seconds": 0.05, "poll_records": 1, "batch_records": 1}
    )
    await topic_admin.ensure(settings)
    # The worker knows the learner from the first days and is away while the others come.
    await publish(settings, range(10))
    early = settings.model_copy(update={"clock": (START + timedelta(days=9, hours=2)).isoformat()})

    async def drained() -> bool:
        return await lag(settings) == 0

    async with process("worker", environment(early), tmp_path / "first.log"):
        await wait_for(drained, "the first days are folded")
    await publish(settings, range(10, DAYS))
    assert await lag(settings) == 2 * (DAYS - 10)
    async with process("worker", environment(settings), tmp_path / "second.log"):
        await wait_for(drained, "the backlog is folded")

        async def up_to_date() -> bool:
            return datetime.fromisoformat((await risks(settings))[-1]["as_of"]) > last - timedelta(hours=2)

        await wait_for(up_to_date, "the last day's risk is on the topic")
    found = await risks(settings)
    away = [risk for risk in found if datetime.fromisoformat(risk["as_of"]) >= START + timedelta(days=10)]
    assert {risk["risk_level"] for risk in away} == {"low"}
    assert "critical" not in {risk["risk_level"] for risk in found}
    assert len(away) >= DAYS - 10

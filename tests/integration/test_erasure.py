"""A learner is erased while events keep coming: nothing of the learner is anywhere, whatever happens then."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from models.events import Kind, partition
from storage.database import plain_url
from storage.migrate import upgrade
from storage.progress import behind
from storage.tables import STREAM_TABLES, erasure_fences, metadata, outbox
from streams import erasing, kafka, topics
from streams.settings import Settings
from tests.integration.worker_running import publisher
from tests.support import agreement
from tests.support.processes import lag, process, wait_for
from tests.unit.building import Sent, iso
from tests.unit.test_erasing import life

pytestmark = pytest.mark.integration

Environment = Callable[[Settings], dict[str, str]]
GONE = 7
OTHERS = (8, 9, 10, 11)
HOUR, DAY = 3_600_000, 86_400_000


def quick(settings: Settings, at: int) -> Settings:
    return settings.model_copy(
        update={"clock": iso(at), "session_timeout_ms": 3_000, "transaction_timeout_ms": 6_000}
    )


def shifted(user: int, days: range, to: int) -> list[Sent]:
    """Events of every kind on some days, of which day 0 begins at ``to`` (ms)."""
    made = []
    for event in life(user, days):
        body = dict(event.body)
        for name, value in event.body.items():
            if name.endswith("_at") and value is not None:
                body[name] = iso(agreement_ms(value) - START_OF_LIVES + to)
        made.append(Sent(event.kind, body))
    return made


def agreement_ms(text: str) -> int:
    from tests.unit.building import ms

    return ms(text)


START_OF_LIVES = agreement_ms("2026-03-02T00:00:00Z")


async def send(settings: Settings, events: list[Sent]) -> None:
    names = topics.names(settings)
    async with publisher(settings) as producer:
        for event in events:
            user = event.body["user_id"]
            await producer.send(
                names.topic(event.kind),
                json.dumps(event.body).encode(),
                b"%d" % user,
                partition=partition(user, settings.partitions),
            )
        await producer.flush()


async def forget(settings: Settings, user: int, at: int, consent: int | None = None) -> None:
    body: dict[str, Any] = {"event_id": f"x{at}", "user_id": user, "requested_at": iso(at)}
    if consent is not None:
        body["consented_at"] = iso(consent)
    await send(settings, [Sent(Kind.ERASURE, body)])


async def bad(settings: Settings, user: int) -> None:
    """Records that the contract refuses, one of them under another learner's key."""
    names = topics.names(settings)
    async with publisher(settings) as producer:
        for key, value in ((user, b'{"user_id":%d,"mood":"private"}'), (OTHERS[0], b'{"user_id":%d}')):
            await producer.send_and_wait(
                names.topic(Kind.SENTIMENT),
                value % user,
                b"%d" % key,
                partition=partition(key, settings.partitions),
            )


async def on_topics(settings: Settings, user: int) -> dict[str, int]:
    """Keys with a value that the outputs, rows and dead letters hold of a learner."""
    names = topics.names(settings)
    places = {
        tp
        for number in range(settings.partitions)
        for tp in erasing.places(names, number, settings.partitions)
    }
    return (await erasing.held(settings, names, places, {user})).removed(user)


async def in_tables(settings: Settings, user: int) -> dict[str, int]:
    """Rows that Postgres holds of a learner, fence, requests for erasure and keys of removals aside."""
    connection = await asyncpg.connect(plain_url(settings.database_url))
    found = {}
    try:
        for table in metadata.sorted_tables:
            if "user_id" in table.c and table not in (*STREAM_TABLES, erasure_fences):
                found[table.name] = await connection.fetchval(
                    f"SELECT count(*) FROM {table.name} WHERE user_id = $1", user
                )
        found["outbox"] = await connection.fetchval(
            f"SELECT count(*) FROM {outbox.name} WHERE key = $1", str(user)
        )
    finally:
        await connection.close()
    return {name: count for name, count in found.items() if count}


async def fence(settings: Settings, user: int) -> dict[str, Any]:
    connection = await asyncpg.connect(plain_url(settings.database_url))
    try:
        row = await connection.fetchrow("SELECT * FROM erasure_fences WHERE user_id = $1", user)
        return {} if row is None else dict(row)
    finally:
        await connection.close()


def drained(settings: Settings) -> Callable[[], Awaitable[bool]]:
    async def done() -> bool:
        return await lag(settings) == 0 and await behind(settings) == 0

    return done


def is_gone(settings: Settings) -> Callable[[], Awaitable[bool]]:
    async def done() -> bool:
        return not await on_topics(settings, GONE) and not await in_tables(settings, GONE)

    return done


async def others(settings: Settings) -> dict[bytes, bytes]:
    """The rows of everyone else."""
    mine = b"%d" % GONE
    return {k: v for k, v in (await agreement.stored_rows(settings)).items() if k.split(b"|")[0] != mine}


async def test_a_learner_is_erased_everywhere_and_stays_so(
    settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    now = time.time_ns() // 1_000_000
    settings = quick(settings, now)
    await topics.ensure(settings)
    upgrade(settings.database_url)
    variables = environment(settings)
    born = now // DAY * DAY - 60 * DAY
    old = shifted(GONE, range(50), born)
    everyone = [event for user in OTHERS for event in shifted(user, range(0, 60, 3), born)]
    async with process("sink", variables, tmp_path / "sink.log"):
        async with process("worker", variables, tmp_path / "first.log") as first:
            await send(settings, [*old, *everyone[::2]])
            await bad(settings, GONE)
            await wait_for(drained(settings), "everything is folded and stored")
            before = await on_topics(settings, GONE)
            # Every kind of thing was there to be erased, decisions among them.
            names = topics.names(settings)
            assert before.keys() >= {
                names.learner_rows,
                names.skill_rows,
                names.prediction("dropout-risk"),
                names.prediction("timing"),
                names.prediction("struggle"),
                names.interventions,
                names.dead_letters,
            }
            assert before[names.prediction("struggle")] == 10
            assert before[names.dead_letters] == 2
            assert len(await in_tables(settings, GONE)) >= 7
            # Erased with more of both coming, and the worker killed in the middle of it.
            keeps_coming = asyncio.create_task(send(settings, everyone[1::2]))
            await forget(settings, GONE, now)
            first.kill()
            await keeps_coming
        async with process(
            "worker", variables | {"LYO_CRASH_AT": "rows_sent:1"}, tmp_path / "dies.log"
        ) as dies:
            await asyncio.to_thread(dies.wait, 60)
        async with process("worker", variables, tmp_path / "second.log"):
            await wait_for(is_gone(settings), "nothing of the learner is left")
            # Old events again, in another order.
            await send(settings, old[::-1])
            await bad(settings, GONE)
            await wait_for(drained(settings), "what was sent again is passed over")
            assert await on_topics(settings, GONE) == {}
            assert await in_tables(settings, GONE) == {}
            told = await fence(settings, GONE)
            assert json.loads(told["topics"]) == before
            assert json.loads(told["removed"]).keys() >= {"learner_rows", "skill_rows", "outcome_facts"}
            kept = await others(settings)
            assert {int(key.split(b"|")[0]) for key in kept} == set(OTHERS)
            # A consent: what came before stays forgotten, what comes after begins anew.
            await forget(settings, GONE, now + 1, consent=now + 1_000)
            new = [Sent(event.kind, event.body) for event in shifted(GONE, range(1), now + 2_000 - 9 * HOUR)]
            await send(settings, [*old[:30], *new])
            await wait_for(drained(settings), "the new learner is folded and stored")
            assert await others(settings) == kept
            row = (await agreement.stored_rows(settings))[b"%d" % GONE]
            assert counted(row) == {"sessions": 1, "completions": 1, "applied": 3}
            assert (await in_tables(settings, GONE))["learner_rows"] == 1


def counted(row: bytes) -> dict[str, int]:
    from models.layout import decode_learners

    [decoded] = decode_learners([row])
    return {name: int(decoded[name]) for name in ("sessions", "completions", "applied")}


async def test_an_older_record_sent_again_is_overruled_on_the_topic(
    kafka_settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    now = time.time_ns() // 1_000_000
    settings = quick(kafka_settings, now)
    await topics.ensure(settings)
    await forget(settings, GONE, now - DAY, consent=now - DAY + 1)
    await forget(settings, GONE, now)
    await forget(settings, GONE, now - DAY, consent=now - DAY + 1)
    async with process("worker", environment(settings), tmp_path / "worker.log"):

        async def overruled() -> bool:
            newest = await agreement.newest(settings, topics.names(settings).topic(Kind.ERASURE))
            said = json.loads(newest[b"%d" % GONE])
            return "consented_at" not in said and said["requested_at"] == iso(now)

        await wait_for(overruled, "the topic says again that the learner is erased", 60)


async def test_the_compacted_topics_say_how_long_bytes_may_stay(kafka_settings: Settings) -> None:
    """What docs/erasure.md states about compaction is how topics are created."""
    await topics.ensure(kafka_settings)
    names = topics.names(kafka_settings)
    async with kafka.admin(kafka_settings) as client:
        for topic in (names.learner_rows, names.interventions, names.dead_letters):
            config = await topics.configuration(client, topic)
            assert "compact" in config["cleanup.policy"]
            assert int(config["max.compaction.lag.ms"]) == 6 * HOUR
            assert int(config["delete.retention.ms"]) == 7 * DAY

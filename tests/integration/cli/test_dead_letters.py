"""`lyo dlq` on a real Kafka: what is listed, and that a retried event is counted once."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from lyo.models.engine import Engine
from lyo.models.events.decode import Kind, Rejected, decode, partition
from lyo.models.state.catalogue import Catalogue
from lyo.streams import topic_admin, topics
from lyo.streams.dead_letters import encode
from lyo.streams.dead_letters.reader import DeadLetterReader
from lyo.streams.dead_letters.retry import HEADER, Retrier, Status
from lyo.streams.settings import Settings
from tests.support.processes import Environment, lag, lyo
from tests.support.worker.running import (
    WorkerProcess,
    all_done,
    counted,
    events,
    publish,
    publisher,
    read,
)

pytestmark = pytest.mark.integration

USER = 7
AT = "2026-03-01T12:00:00Z"
FUTURE = "2027-06-01T12:00:00Z"


@dataclass
class Bench:
    """A Kafka with topics, a producer, and the `lyo` command with the same settings."""

    settings: Settings
    producer: AIOKafkaProducer
    environment: dict[str, str]

    @property
    def names(self) -> topics.Names:
        return topics.names(self.settings)

    async def send(self, event: dict[str, Any], key: bytes | None = b"7", kind: Kind = Kind.SENTIMENT) -> str:
        """Publish, and give the record's name."""
        at = await self.producer.send_and_wait(
            self.names.topic(kind),
            json.dumps(event).encode(),
            key,
            partition=0 if kind is Kind.CONTENT else partition(USER, self.settings.partitions),
        )
        return f"{at.topic}/{at.partition}/{at.offset}"

    async def refuse(
        self, name: str, value: bytes | None, key: bytes | None = b"7", reason: str = "a fault"
    ) -> None:
        """Write the letter that a worker would write about a record."""
        topic, number, offset = name.split("/")
        record = _Record(topic, int(number), int(offset), key, value)
        letter = encode.dead_letter(record, Rejected(0, reason, None), 1_772_366_400_000)
        await self.producer.send_and_wait(
            self.names.dead_letters, letter[1], letter[0], partition=int(number)
        )

    async def refused(
        self,
        event: dict[str, Any],
        *,
        reason: str = "a fault",
        kind: Kind = Kind.SENTIMENT,
        key: bytes | None = b"7",
    ) -> str:
        """An event in its topic and a letter about it, as if an earlier version had refused it."""
        name = await self.send(event, key, kind)
        await self.refuse(name, json.dumps(event).encode(), key, reason)
        return name

    def lyo(self, *words: str) -> subprocess.CompletedProcess[str]:
        return lyo(self.environment, "dlq", *words)

    async def run(self, *words: str, code: int = 0) -> list[Any]:
        """What a command prints with --json."""
        done = await asyncio.to_thread(self.lyo, *words, "--json")
        assert done.returncode == code, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    async def standing(self, kind: Kind = Kind.SENTIMENT) -> list[Any]:
        return [json.loads(record.value) for record in await read(self.settings, self.names.topic(kind))]


@dataclass
class _Record:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def sentiment(event_id: str, **more: Any) -> dict[str, Any]:
    return {"event_id": event_id, "user_id": USER, "occurred_at": AT, "sentiment": 0.5} | more


@pytest.fixture
async def bench(kafka_settings: Settings, environment: Environment) -> Any:
    await topic_admin.ensure(kafka_settings)
    async with publisher(kafka_settings) as producer:
        yield Bench(kafka_settings, producer, environment(kafka_settings))


def statuses(tried: list[Any]) -> dict[str, str]:
    return {one["id"]: one["status"] for one in tried}


async def test_letters_are_listed_shown_and_chosen(bench: Bench) -> None:
    first = await bench.refused(sentiment("a"), reason="sentiment: \x1b[31mbad")
    second = await bench.refused({"content_id": "c"}, reason="skills: missing", kind=Kind.CONTENT, key=b"c")
    await bench.refuse(f"{bench.names.topic(Kind.SESSION)}/0/5", b"\xff\x1b[2J", b"\xfe", "not valid UTF-8")
    await bench.producer.send_and_wait(bench.names.dead_letters, b"\x00 no letter", b"x", partition=0)
    found = await bench.run("list")
    assert {one["id"] for one in found} == {first, second, f"{bench.names.topic(Kind.SESSION)}/0/5"}
    assert [one["id"] for one in await bench.run("list", "--topic", "content")] == [second]
    assert [one["id"] for one in await bench.run("list", "--reason", "BAD")] == [first]
    assert await bench.run("list", "--since", "2026-03-01T12:00:01Z") == []
    assert len(await bench.run("list", "--until", "2026-03-01T12:00:01Z")) == 3
    assert {one["reason"]: one["count"] for one in await bench.run("list", "--summary")}[
        "skills: missing"
    ] == 1
    (shown,) = await bench.run("show", first)
    assert json.loads(shown["text"]) == sentiment("a")
    assert base64.b64decode(shown["value"]) == json.dumps(sentiment("a")).encode()
    text = await asyncio.to_thread(bench.lyo, "list", "--limit", "2")
    assert text.stdout.count("\n") == 2
    assert "the newest 2 of 3" in text.stderr
    assert "1 records on the topic are no dead letters" in text.stderr
    for words in (["list"], ["show", *(one["id"] for one in found)]):
        done = await asyncio.to_thread(bench.lyo, *words)
        assert done.returncode == 0
        assert "\x1b" not in done.stdout + done.stderr
    assert "ff 1b 5b 32 4a" in done.stdout
    await bench.run("show", "lyo.sentiment/0/999999", code=1)


async def test_a_retried_event_is_counted_once_however_often_it_is_retried(
    bench: Bench,
) -> None:
    """More than the 64 events that a learner's row remembers lie between one retry and the next."""
    cured = await bench.refused(sentiment("cured"))
    twice = [await bench.refused(sentiment("sent twice")) for _ in range(2)]
    in_fact = await bench.refused(sentiment("counted in fact"), key=b"8")
    await bench.send(sentiment("counted in fact"))
    many = [
        (Kind.SENTIMENT, USER, json.dumps(sentiment(f"between-{number}")).encode()) for number in range(100)
    ]
    await publish(bench.settings, bench.producer, many[:70])
    tried = await bench.run("retry", "--all", code=1)
    assert statuses(tried) == {
        cured: "retried",
        twice[0]: "retried",
        twice[1]: "counted",
        in_fact: "refused",  # its key is another learner's, now as before
    }
    await publish(bench.settings, bench.producer, many[70:])
    before = await bench.standing()
    again = await bench.run("retry", cured, *twice)
    assert set(statuses(again).values()) == {"counted"}
    assert await bench.standing() == before
    ids = [event["event_id"] for event in before]
    # Each stands there as it came, and once more.
    assert (ids.count("cured"), ids.count("sent twice")) == (2, 3)
    assert len(before) == 4 + 1 + 2 + len(many)


async def test_an_original_that_was_counted_is_not_sent_again(bench: Bench) -> None:
    """The letter is about a copy under a wrong time; the right one came under the same id."""
    late = await bench.refused(sentiment("late"))
    await bench.send(sentiment("late"))
    (tried,) = await bench.run("retry", late)
    assert tried["status"] == "counted"
    assert "it is at" in tried["detail"]


async def test_what_a_worker_refused_for_its_clock_is_counted_once_after_a_retry(
    kafka_settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    """The whole way: refused by a worker, retried twice, then counted by a worker."""
    await topic_admin.ensure(kafka_settings)
    made = events(30, users=3)
    names = topics.names(kafka_settings)
    value = json.dumps(sentiment("too early", user_id=1)).encode()
    home = partition(1, kafka_settings.partitions)
    async with publisher(kafka_settings) as producer:
        await publish(kafka_settings, producer, made)
        # Its own Kafka timestamp is years before it happened.
        await producer.send_and_wait(
            names.topic(Kind.SENTIMENT), value, b"1", partition=home, timestamp_ms=1_000_000_000_000
        )
        async with WorkerProcess(environment(kafka_settings), tmp_path / "log") as worker:
            await all_done(kafka_settings, len(made) + 1)
            before = await counted(kafka_settings)
            found = [letter async for letter in DeadLetterReader(kafka_settings).read()]
            assert [letter.field for letter in found] == ["occurred_at"]
            for wanted in (Status.RETRIED, Status.COUNTED):
                async with Retrier(kafka_settings) as retrier:
                    (tried,) = await retrier.retry(found, found)
                assert tried.status is wanted
            await all_done(kafka_settings, len(made) + 2)
            after = await counted(kafka_settings)
            assert await worker.stop() == 0
    assert after == before | {1: before[1] + 1}


async def test_each_letter_that_cannot_be_retried_says_why(bench: Bench) -> None:
    names = bench.names
    still = await bench.refused(sentiment("still bad", sentiment=7))
    key = await bench.refused(sentiment("no key"), key=None)
    prediction = f"{names.prediction('timing')}/0/12"
    await bench.refuse(prediction, b"{}", b"7", f"{encode.UNSTORED}null value in column")
    unstored = await bench.refused(sentiment("stored"), reason=f"{encode.UNSTORED}too long")
    gone = f"{names.topic(Kind.SENTIMENT)}/0/123456"
    await bench.refuse(gone, b"x" * (encode.LONGEST_VALUE + 1))
    tried = await bench.run("retry", "--all", code=1)
    assert statuses(tried) == {
        still: "refused",
        key: "refused",
        prediction: "derived",
        unstored: "counted",
        gone: "gone",
    }
    reasons = {one["id"]: one["detail"] for one in tried}
    assert reasons[still].startswith("sentiment:")
    assert reasons[key].startswith("user_id:")
    assert "lyo sink --rebuild" in reasons[unstored]
    assert len(await bench.standing()) == 3
    await bench.run("retry", unstored)  # 0: nothing is left to be done
    await bench.run("retry", "lyo.sentiment/0/999999", code=1)


async def test_a_long_record_is_taken_from_its_topic(bench: Bench) -> None:
    event = sentiment("long", unknown="x" * (encode.LONGEST_VALUE + 1))
    name = await bench.refused(event)
    (found,) = await bench.run("list")
    assert found["value"] is None
    (tried,) = await bench.run("retry", name, "--dry-run")
    assert (tried["status"], len(await bench.standing())) == ("retried", 1)
    (tried,) = await bench.run("retry", name)
    assert tried["status"] == "retried"
    first, second = await read(bench.settings, bench.names.topic(Kind.SENTIMENT))
    assert (second.key, second.value) == (first.key, first.value)
    assert dict(second.headers) == {HEADER: name.encode()}


async def test_a_content_does_not_come_back_over_a_newer_one(bench: Bench) -> None:
    old = {"content_id": "c", "skills": ["old"]}
    name = await bench.refused(old, kind=Kind.CONTENT, key=b"c")
    only = await bench.refused({"content_id": "d", "skills": []}, kind=Kind.CONTENT, key=b"d")
    await bench.send({"content_id": "c", "skills": ["new"]}, b"c", Kind.CONTENT)
    assert statuses(await bench.run("retry", "--all")) == {name: "superseded", only: "retried"}
    assert [content["content_id"] for content in await bench.standing(Kind.CONTENT)] == ["c", "d", "c", "d"]


async def test_a_content_is_not_superseded_by_one_that_is_refused(bench: Bench) -> None:
    async def letter(name: str, **more: Any) -> str:
        content = {"content_id": name, "skills": []} | more
        return await bench.refused(content, kind=Kind.CONTENT, key=name.encode())

    good = [await letter(name) for name in ("c", "d", "e")]
    bad, cured = await letter("c", skills="algebra"), await letter("d", skills=["algebra"])
    topic = bench.names.topic(Kind.CONTENT)
    removal = await bench.producer.send_and_wait(topic, None, b"e", partition=0)
    tried = await bench.run("retry", "--all", code=1)
    assert statuses(tried) == {
        good[0]: "retried",
        bad: "refused",
        good[1]: "superseded",
        cured: "retried",
        good[2]: "superseded",
    }
    details = {one["id"]: one["detail"] for one in tried}
    assert details[good[1]] == f"by {cured}, which is a dead letter itself"
    sent = [json.loads(one.value) for one in await read(bench.settings, topic) if one.offset > removal.offset]
    assert sorted((content["content_id"], len(content["skills"])) for content in sent) == [("c", 0), ("d", 1)]


async def test_retries_at_once_are_counted_once(bench: Bench) -> None:
    """Neither sees what the other is sending; a learner's row knows events so near to each other."""
    await bench.refused(sentiment("once"))
    found = [letter async for letter in DeadLetterReader(bench.settings).read()]
    async with Retrier(bench.settings) as one, Retrier(bench.settings) as other:
        await asyncio.gather(one.retry(found, found), other.retry(found, found))
    values = [json.dumps(event).encode() for event in await bench.standing()][1:]
    assert len(values) in {1, 2}
    engine = Engine(Catalogue())
    columns, rejected = decode(Kind.SENTIMENT, None, values, [-1] * len(values))
    assert rejected == []
    assert engine.apply([columns]).counts["applied"] == 1


async def test_a_retry_leaves_no_lag_behind(
    kafka_settings: Settings, environment: Environment, tmp_path: Path
) -> None:
    await topic_admin.ensure(kafka_settings)
    async with (
        publisher(kafka_settings) as producer,
        WorkerProcess(environment(kafka_settings), tmp_path / "log") as worker,
    ):
        bench = Bench(kafka_settings, producer, {})
        name = await bench.refused(sentiment("late"))
        await all_done(kafka_settings, 1)
        found = [letter async for letter in DeadLetterReader(kafka_settings).read()]
        async with Retrier(kafka_settings) as retrier:
            (tried,) = await retrier.retry(found, found)
        assert (tried.dead_letter.id, tried.status) == (name, Status.RETRIED)
        await all_done(kafka_settings, 2)
        assert await lag(kafka_settings) == 0
        assert await worker.stop() == 0

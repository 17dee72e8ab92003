"""Rules for Faust and aiokafka that nothing else holds (all are in `docs/faust-rules.md`)."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from faust.types import TP

from lyo.streams.kafka import clients
from lyo.streams.runtime.transport import Poll, PollConsumer, PollThread, create_app
from lyo.streams.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
NEVER = {
    "take": "acks a failed batch and what is queued behind it",
    "noack_take": "the same",
    "Table": "Faust's recovery counts wrong with transactions",
    "GlobalTable": "the same",
}


def calls() -> Iterator[tuple[str, str]]:
    """File and name of every method called or attribute taken of something called app, stream or topic."""
    for folder in ("agents", "streams"):
        for path in sorted((ROOT / folder).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                    owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                    if owner in {"app", "stream", "polls", "events", "topic", "faust"}:
                        yield path.name, node.attr


def test_what_loses_events_in_faust_is_not_used() -> None:
    found = list(calls())
    assert found, "the rule looks at nothing"
    assert [(name, attribute) for name, attribute in found if attribute in NEVER] == []


def test_faust_neither_declares_topics_nor_waits_for_streams_nor_keeps_standbys() -> None:
    conf = create_app(Settings()).conf
    assert not conf.topic_allow_declare
    assert conf.topic_disable_leader
    assert not conf.stream_wait_empty
    assert conf.table_standby_replicas == 0
    assert not conf.web_enabled


async def test_faust_commits_nothing() -> None:
    def committed(*_: object, **__: object) -> None:
        raise AssertionError("an offset was committed outside of a transaction")

    unacked = {1, 2}
    consumer = SimpleNamespace(
        _acked={TP("t", 0): [1]},
        _acked_index={TP("t", 0): {1}},
        _gap={},
        _unacked_messages=unacked,
        commit=committed,
        _commit=committed,
        _commit_offsets=committed,
    )
    assert await PollConsumer.force_commit(cast("Any", consumer)) is False
    assert not consumer._acked
    assert not unacked


async def test_a_poll_carries_the_generation_without_which_the_stream_drops_it() -> None:
    handed: list[Any] = []

    async def take(waiting: Any, *_: object) -> None:
        handed.append(waiting)

    consumer = SimpleNamespace(
        assignment=lambda: {TP("t", 0)},
        flow_active=True,
        app=SimpleNamespace(consumer_generation_id=17),
        callback=lambda message: message,
        suspend_flow=SimpleNamespace(wait=lambda: None),
        wait_first=take,
    )
    await PollConsumer._hand_over(cast("Any", consumer), Poll(TopicPartition("t", 0), 3, 4, []))
    assert [(one.generation_id, one.offset) for one in handed] == [(17, 3)]


async def test_a_poll_that_comes_while_the_flow_is_off_is_read_again() -> None:
    sought: list[Any] = []

    async def seek_to(offsets: Any) -> None:
        sought.append(offsets)

    tp = TopicPartition("t", 0)
    consumer = SimpleNamespace(assignment=lambda: {TP("t", 0)}, flow_active=False, seek_to=seek_to)
    await PollConsumer._hand_over(cast("Any", consumer), Poll(tp, 3, 9, []))
    assert sought == [{tp: 3}]


def test_the_groups_consumer_never_leaves_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        "lyo.streams.kafka.clients.AIOKafkaConsumer", lambda *_, **options: given.update(options)
    )
    app = SimpleNamespace(settings=Settings(), assignor=object())
    PollThread._create_worker_consumer(cast("Any", SimpleNamespace(app=app)), None)
    assert given["max_poll_interval_ms"] == 2**31 - 1
    assert given["isolation_level"] == "read_committed"
    assert given["enable_auto_commit"] is False


def test_our_clients_are_idempotent_read_committed_ask_again_soon_and_send_large_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(clients, "AIOKafkaConsumer", lambda *_, **options: given.update(options))
    monkeypatch.setattr(clients, "AIOKafkaProducer", lambda **options: given.update(options))
    settings = Settings()
    clients.consumer(settings)
    assert (given["isolation_level"], given["enable_auto_commit"]) == ("read_committed", False)
    given.clear()
    clients.producer(settings, "lyo-3")
    assert (given["enable_idempotence"], given["transactional_id"]) == (True, "lyo-3")
    assert given["transaction_timeout_ms"] == settings.transaction_timeout_ms
    assert given["retry_backoff_ms"] <= 10
    assert given["max_batch_size"] >= 900_000


def test_a_dead_workers_transaction_does_not_outlast_its_session_by_much() -> None:
    settings = Settings()
    assert settings.transaction_timeout_ms <= 2 * settings.session_timeout_ms


def test_faust_is_pinned_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["optional-dependencies"]["all"]
    assert any(line.startswith("faust-streaming==") for line in needed)

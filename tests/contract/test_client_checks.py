"""What the publishers' client makes and what it refuses, without Kafka: the worker's own rules."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from lyo.models.events.decode import Kind, decode, decode_content, decode_organization
from lyo.predictive import client
from lyo.predictive.client import InvalidEvent, Publisher, building, record_of
from lyo.streams.clock import Clock
from lyo.tools.contracts.messages import INPUTS
from tests.support.contract.client_events import AT, FULL, build
from tests.support.contract.holding import faults

NOW = Clock(None)
AT_MS = 1_772_366_400_000
MINIMAL: dict[str, dict[str, Any]] = {
    "lesson_completion": {"user_id": 7, "content_id": "c", "skills": ["s"]},
    "session": {"user_id": 7, "started_at": AT},
    "sentiment": {"user_id": 7, "value": -0.5},
    "outcome": {"user_id": 7, "kind": "struggled"},
    "preferences": {"user_id": 7},
    "struggle_request": {"user_id": 7},
    "erasure": {"user_id": 7},
    "content": {"content_id": "c", "skills": []},
    "organization": {"organization_id": 3},
}


@pytest.mark.parametrize("name", MINIMAL)
@pytest.mark.parametrize("arguments", [MINIMAL, FULL], ids=["minimal", "full"])
def test_what_is_built_is_what_the_schema_says_and_what_the_worker_reads(
    name: str, arguments: dict[str, dict[str, Any]]
) -> None:
    event = build(name, **arguments[name])
    record = record_of(event)
    assert record.kind.value == name
    message = next(one for one in INPUTS if one.kind is record.kind)
    assert faults(message.name, json.loads(record.value), strict=True) == []
    if record.kind is Kind.CONTENT:
        assert decode_content(record.key, record.value) == event
    elif record.kind is Kind.ORGANIZATION:
        assert decode_organization(record.key, record.value) == event
    else:
        columns, rejected = decode(record.kind, [record.key], [record.value], [AT_MS * 2])
        assert rejected == []
        assert columns.rows == [event]
        assert record.user == columns.user[0]


@pytest.mark.parametrize("name", FULL)
def test_every_field_of_an_event_has_its_argument(name: str) -> None:
    event = build(name, **FULL[name])
    plain = msgspec.to_builtins(event)
    unset = {field for field, value in plain.items() if value is None and field != "language"}
    declared = {field.encode_name for field in msgspec.structs.fields(type(event))}
    assert (unset, declared) == (set(), set(plain))
    assert set(inspect.signature(getattr(building, name)).parameters) == set(FULL[name])


@pytest.mark.parametrize("name", FULL)
def test_the_method_of_a_publisher_takes_what_the_function_takes(name: str) -> None:
    method = inspect.signature(getattr(Publisher(), name))
    assert method.parameters == inspect.signature(getattr(building, name)).parameters
    assert inspect.getdoc(getattr(Publisher, name)).startswith(inspect.getdoc(getattr(building, name)))  # type: ignore[union-attr, arg-type]


def test_ids_are_uuids_of_version_7_and_sort_by_time() -> None:
    before = uuid.UUID(client.new_event_id())
    assert (before.version, before.variant) == (7, uuid.RFC_4122)
    stamp = NOW.now()
    after = uuid.UUID(client.new_event_id())
    assert before.int >> 80 <= stamp <= after.int >> 80
    assert len({client.new_event_id() for _ in range(10_000)}) == 10_000


def test_times_that_are_left_out_are_now() -> None:
    before = datetime.now(UTC)
    event = client.sentiment(user_id=7, value=0.0)
    assert before <= event.occurred_at <= datetime.now(UTC)


def test_an_event_keeps_its_id_however_often_it_is_sent() -> None:
    event = client.sentiment(user_id=7, value=0.0)
    assert record_of(event).value == record_of(event).value
    assert record_of(event).value != record_of(client.sentiment(user_id=7, value=0.0)).value


def test_preferences_tell_what_is_left_out_from_what_is_cleared() -> None:
    value = json.loads(record_of(client.preferences(user_id=7, timezone=None)).value)
    assert value["timezone"] is None
    assert "quiet_hours" not in value


@pytest.mark.parametrize(
    ("name", "given", "field"),
    [
        ("sentiment", {"value": 2}, "sentiment"),
        ("sentiment", {"value": "good"}, "sentiment"),
        ("sentiment", {"value": None}, "sentiment"),
        ("sentiment", {"value": float("nan")}, "sentiment"),
        ("sentiment", {"value": float("-inf")}, "sentiment"),
        ("sentiment", {"value": np.float64(0.5)}, "sentiment"),
        ("sentiment", {"user_id": 0}, "user_id"),
        ("sentiment", {"user_id": 2**63}, "user_id"),
        ("sentiment", {"user_id": "7"}, "user_id"),
        ("sentiment", {"user_id": True}, "user_id"),
        ("sentiment", {"user_id": np.int64(7)}, "user_id"),
        ("sentiment", {"event_id": ""}, "event_id"),
        ("sentiment", {"event_id": "e" * 101}, "event_id"),
        ("sentiment", {"event_id": "a\0b"}, "event_id"),
        ("sentiment", {"event_id": "\ud800"}, "event_id"),
        ("sentiment", {"source": "x" * 51}, "source"),
        ("sentiment", {"occurred_at": datetime(2026, 3, 1)}, "occurred_at"),  # noqa: DTZ001
        ("sentiment", {"occurred_at": datetime(2999, 3, 1, tzinfo=UTC)}, "occurred_at"),
        ("sentiment", {"occurred_at": datetime(1969, 3, 1, tzinfo=UTC)}, "occurred_at"),
        ("sentiment", {"occurred_at": 1_772_366_400}, "occurred_at"),
        ("session", {"ended_at": AT - timedelta(seconds=1)}, "ended_at"),
        ("session", {"ended_at": AT + timedelta(hours=25)}, "ended_at"),
        ("outcome", {"kind": "applause"}, "kind"),
        ("preferences", {"timezone": "Mars/Olympus"}, "timezone"),
        ("preferences", {"quiet_hours": ("25:00", "07:00")}, "quiet_hours.from"),
        ("preferences", {"max_nudges_per_day": 101}, "max_nudges_per_day"),
        ("lesson_completion", {"skills": "ab\0"}, "skills"),
        ("lesson_completion", {"skills": ["s"] * 51}, "skills"),
        ("lesson_completion", {"skills": [7]}, "skills"),
        ("lesson_completion", {"duration_seconds": -1}, "duration_seconds"),
        ("struggle_request", {"difficulty_rating": float("nan")}, "content_metadata.difficulty_rating"),
        ("struggle_request", {"difficulty_rating": 1.5}, "content_metadata.difficulty_rating"),
        ("content", {"content_id": "c\0"}, "content_id"),
        ("content", {"difficulty": 2}, "difficulty"),
        ("organization", {"organization_id": 0}, "organization_id"),
        ("organization", {"timezone": "Nowhere"}, "timezone"),
    ],
)
def test_what_the_worker_would_refuse_is_refused_by_the_name_of_the_field(
    name: str, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidEvent) as refused:
        record_of(build(name, **MINIMAL[name] | given))
    assert refused.value.field == field
    assert refused.value.reason.startswith(f"{field}: ")
    assert str(refused.value) == f"{name}: {refused.value.reason}"


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="a dict is no event"):
        record_of({"user_id": 7})  # type: ignore[arg-type]


async def test_a_publisher_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Publisher().sentiment(user_id=7, value=0.0)


def test_the_client_needs_neither_faust_nor_postgres_nor_the_api() -> None:
    code = "import sys, lyo.predictive.client; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = set(done.stdout.split())
    assert loaded & {"faust", "mode", "sqlalchemy", "asyncpg", "fastapi", "storage", "agents"} == set()
    assert "aiokafka" in loaded

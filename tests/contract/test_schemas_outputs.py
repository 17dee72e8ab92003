"""Records that the engine makes are what their schemas say: every field, every way that it can be."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import msgspec
import pytest
from aiokafka import ConsumerRecord

from lyo.models.arrays.zones import DAY
from lyo.models.events.decode import Rejected
from lyo.models.formulas import dropout, regression, struggle, timing
from lyo.models.predictions.types import (
    DayName,
    Features,
    PlateauEpisode,
    Plateaus,
    RegressionEpisode,
    Regressions,
)
from lyo.streams.dead_letters.encode import dead_letter, oversized
from lyo.tools.contracts.messages import EXAMPLES, MESSAGES, OUTPUTS
from tests.support.contract.holding import BY_NAME, faults
from tests.support.learners.building import START, Sent, Stream, completion, outcome, preferences, request
from tests.support.learners.sampled import lives, sample_catalogue

PREDICTIONS = [message.name for message in OUTPUTS if message.name.startswith("predictions.")]
# Fields that may be null, or may not be, by the contract alone: the engine knows one way only.
ONE_WAY = {
    # Rules decide whether a skill or a request has a record at all, so their reasons are for the learner's.
    ("predictions.plateaus", "reason"),
    ("predictions.regressions", "reason"),
    # A contract that may leave them out, an engine that never does.
    *((name, "catalogue_revision") for name in PREDICTIONS),
    ("predictions.struggle", "answered"),
    # The specification's tables allow for an unknown load and trend; both are always known.
    ("predictions.dropout-risk", "session_frequency_trend"),
    ("predictions.struggle", "cognitive_load"),
    ("predictions.struggle", "features.cognitive_load"),
}


@cache
def records() -> dict[str, list[dict[str, Any]]]:
    """Every prediction of many generated lives, as sent: while they go on, and long after."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for seed in range(12):
        stream = Stream(sample_catalogue())
        events = lives(seed, 500, users=4, days=60)
        for start in range(0, len(events), 50):
            stream.feed(events[start : start + 50])
            _take(found, stream)
        stream.sweep(START + 200 * DAY)
        _take(found, stream)
    stream = Stream()
    stream.feed(sparse())
    _take(found, stream)
    return found


def sparse() -> list[Sent]:
    """Learners of whom next to nothing is known, and one question that says what it can itself."""
    asked: dict[str, Any] = {"type": "quiz", "difficulty_rating": 0.5}
    return [
        preferences(1, START, timezone="Asia/Kolkata"),
        completion(2, START),
        request(3, START, **asked),
        request(3, START + 1, content_id="known", **asked),
        outcome(4, START, "nudge_sent"),
    ]


def _take(found: dict[str, list[dict[str, Any]]], stream: Stream) -> None:
    for (kind, _), record in stream.sent.items():
        found[f"predictions.{kind}"].append(record)
    found["interventions"] += [json.loads(value) for value in stream.interventions.values()]


@pytest.mark.parametrize("name", [*PREDICTIONS, "interventions"])
def test_every_record_is_what_its_schema_says_and_has_no_field_beside(name: str) -> None:
    some = records()[name]
    assert len(some) > 50
    for record in some:
        assert faults(name, record, strict=True) == []


@pytest.mark.parametrize("name", [*PREDICTIONS, "interventions"])
def test_every_record_decodes_with_its_struct(name: str) -> None:
    shape = BY_NAME[name].shape
    for record in records()[name][:200]:
        decoded = msgspec.json.decode(json.dumps(record).encode(), type=shape)
        assert msgspec.to_builtins(decoded).keys() == record.keys()


@pytest.mark.parametrize("name", PREDICTIONS)
def test_each_field_that_may_be_null_is_seen_with_a_value_and_without(name: str) -> None:
    seen: dict[str, set[bool]] = defaultdict(set)
    for record in records()[name]:
        for path, value in _leaves(record):
            seen[path].add(value is None)
    nullable = {path for path in _nullable(BY_NAME[name].shape) if (name, path) not in ONE_WAY}
    assert {path: seen[path] for path in nullable} == {path: {True, False} for path in nullable}


def _nullable(shape: type[Any], path: str = "") -> Iterator[str]:
    """The dotted names of the fields of a struct, and of the structs in it, that may be null."""
    for field in msgspec.structs.fields(shape):
        info = msgspec.inspect.type_info(field.type)
        while isinstance(info, msgspec.inspect.Metadata):
            info = info.type
        if isinstance(info, msgspec.inspect.UnionType):
            if info.includes_none:
                yield path + field.encode_name
        elif isinstance(info, msgspec.inspect.StructType):
            yield from _nullable(info.cls, f"{path}{field.encode_name}.")


def _leaves(record: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        yield path + name, value


def test_the_lists_of_values_are_those_of_the_models() -> None:
    assert dropout.LEVELS == regression.LEVELS
    assert get_args(DayName) == timing.WEEKDAYS
    assert Features.__struct_fields__ == struggle.FEATURES


def test_every_enum_value_of_the_levels_is_seen() -> None:
    levels = {record["risk_level"] for record in records()["predictions.dropout-risk"]}
    assert levels == {"low", "medium", "high", "critical"}
    reasons = {record["ended_because"] for record in records()["predictions.plateaus"]}
    assert reasons >= {"mastery_moved", "practice_moved_on", None}


@pytest.mark.parametrize(("whole", "part"), [(Plateaus, PlateauEpisode), (Regressions, RegressionEpisode)])
def test_the_newest_episodes_fields_stand_beside_the_list(whole: type[Any], part: type[Any]) -> None:
    outer = {field.name: field.type for field in msgspec.structs.fields(whole)}
    inner = {field.name: field.type for field in msgspec.structs.fields(part)}
    assert {name: outer[name] for name in inner} == inner


def test_dead_letters_are_what_their_schema_says() -> None:
    def record(key: bytes | None, value: bytes | None) -> ConsumerRecord[bytes, bytes]:
        return ConsumerRecord("lyo.sessions", 3, 17, 0, 0, key, value, None, 0, 0, ())

    letters = [
        dead_letter(
            record(b"7", b'{"a":1}'), Rejected(0, "user_id: required, but missing", "user_id"), START
        ),
        dead_letter(record(None, None), Rejected(0, "the record has no value", None), START),
        dead_letter(record(b"\xff", b"x" * 500_000), Rejected(0, "not valid JSON", None), START),
        oversized("lyo.predictions.timing", 3, b"7", 1_000_000, 900_000, START),
    ]
    for key, value in letters:
        assert value is not None
        assert faults("dead-letters", json.loads(value), strict=True) == []
        assert msgspec.json.decode(value, type=BY_NAME["dead-letters"].shape)
        assert key.count(b"/") == 2


@pytest.mark.parametrize("name", BY_NAME)
def test_the_examples_are_what_their_schemas_say_and_leave_no_field_out(name: str) -> None:
    assert faults(name, EXAMPLES[name], strict=True) == []
    declared = {field.encode_name for field in msgspec.structs.fields(BY_NAME[name].shape)}
    assert declared == EXAMPLES[name].keys() | ({"skill_id"} if name == "outcomes" else set())


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
def test_every_field_is_described(message: Any) -> None:
    for shape in _shapes(message.shape):
        assert shape.__doc__
        for field in msgspec.structs.fields(shape):
            info = msgspec.inspect.type_info(field.type)
            assert isinstance(info, msgspec.inspect.Metadata), f"{shape.__name__}.{field.name}"
            assert (info.extra_json_schema or {}).get("description"), f"{shape.__name__}.{field.name}"


def _shapes(shape: type[Any]) -> set[type[Any]]:
    found = {shape}
    for field in msgspec.structs.fields(shape):
        found |= _inside(msgspec.inspect.type_info(field.type))
    return found


def _inside(info: Any) -> set[type[Any]]:
    if isinstance(info, msgspec.inspect.StructType):
        return _shapes(info.cls)
    parts = [
        getattr(info, name) for name in ("type", "item_type", "key_type", "value_type") if hasattr(info, name)
    ]
    return set().union(*map(_inside, [*parts, *getattr(info, "types", ())]))

"""What was released is kept: each way of breaking it is found, and what may grow may grow."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyo.tools.contracts.compatibility import breaks
from lyo.tools.contracts.messages import MESSAGES
from lyo.tools.contracts.schemas import FILE_LINE, all_schemas
from tests.support.contract.holding import BY_NAME

SCHEMAS = all_schemas()
Schema = dict[str, Any]


def change(name: str, do: Callable[[Schema], object]) -> list[str]:
    """What breaks when one schema is changed."""
    new = copy.deepcopy(SCHEMAS[name])
    do(new)
    inbound = name == FILE_LINE or BY_NAME[name].inbound
    return breaks(SCHEMAS[name], new, inbound=inbound)


def drop(schema: Schema, field: str) -> None:
    """Remove a field, as a careless edit of a struct does."""
    del schema["properties"][field]
    schema["required"] = [name for name in schema["required"] if name != field]


# -- inputs: only wider ------------------------------------------------------------------------------------

WORSE_INPUTS: dict[str, tuple[str, Callable[[Schema], object], str]] = {
    "a field is gone": (
        "lesson-completions",
        lambda s: drop(s, "score"),
        "the field score is gone",
    ),
    "a required field is gone": ("sentiment", lambda s: drop(s, "sentiment"), "the field sentiment is gone"),
    "a nested field is gone": (
        "struggle-requests",
        lambda s: drop(s["$defs"]["ContentMetadata"], "type"),
        ".content_metadata: the field type is gone",
    ),
    "another type": (
        "sentiment",
        lambda s: s["properties"]["event_id"].update(type="integer"),
        ".event_id: type was string, is integer",
    ),
    "null is no longer taken": (
        "sessions",
        lambda s: s["properties"]["ended_at"]["anyOf"].pop(),
        ".ended_at: the choice null is gone",
    ),
    "newly required": (
        "sessions",
        lambda s: s["required"].append("ended_at"),
        "the field ended_at is now required",
    ),
    "a new field that is required": (
        "sessions",
        lambda s: (s["properties"].update(device={"type": "string"}), s["required"].append("device")),
        "the field device is now required",
    ),
    "a smaller maximum": (
        "sentiment",
        lambda s: s["properties"]["sentiment"].update(maximum=0.5),
        ".sentiment: maximum was 1, is 0.5",
    ),
    "a larger minimum": (
        "sentiment",
        lambda s: s["properties"]["sentiment"].update(minimum=0),
        ".sentiment: minimum was -1, is 0",
    ),
    "a shorter text": (
        "sentiment",
        lambda s: s["properties"]["event_id"].update(maxLength=64),
        ".event_id: maxLength was 100, is 64",
    ),
    "a shorter text inside a choice": (
        "lesson-completions",
        lambda s: s["properties"]["topic"]["anyOf"][0].update(maxLength=100),
        ".topic: maxLength was 200, is 100",
    ),
    "a shorter text beside a choice": (
        "lesson-completions",
        lambda s: s["properties"]["topic"].update(maxLength=100),
        ".topic: maxLength was 200, is 100",
    ),
    "a list of values beside a choice": (
        "lesson-completions",
        lambda s: s["properties"]["topic"].update(enum=["algebra", None]),
        ".topic: was anything, is one of ",
    ),
    "newly required beside a choice": (
        "content",
        lambda s: s["properties"]["skill_names"].update(required=["algebra"]),
        ".skill_names: the field algebra is now required",
    ),
    "a keyword that nobody knows beside a choice": (
        "lesson-completions",
        lambda s: s["properties"]["topic"].update({"not": {"const": "algebra"}}),
        ".topic: not was none",
    ),
    "another default": (
        "sessions",
        lambda s: s["properties"]["ended_at"].update(default="2026-01-01T00:00:00Z"),
        ".ended_at: default was None, is 2026-01-01T00:00:00Z",
    ),
    "a longer least length": (
        "sentiment",
        lambda s: s["properties"]["event_id"].update(minLength=8),
        ".event_id: minLength was 1, is 8",
    ),
    "a limit where there was none": (
        "lesson-completions",
        lambda s: s["properties"]["skills"].update(minItems=1),
        ".skills: minItems was none, is 1",
    ),
    "fewer items": (
        "lesson-completions",
        lambda s: s["properties"]["skills"].update(maxItems=10),
        ".skills: maxItems was 50, is 10",
    ),
    "shorter items": (
        "lesson-completions",
        lambda s: s["properties"]["skills"]["items"].update(maxLength=50),
        ".skills[]: maxLength was 100, is 50",
    ),
    "fewer names": (
        "content",
        lambda s: s["properties"]["skill_names"]["anyOf"][0].update(maxProperties=5),
        ".skill_names: maxProperties was 50, is 5",
    ),
    "shorter names": (
        "content",
        lambda s: s["properties"]["skill_names"]["anyOf"][0]["propertyNames"].update(maxLength=5),
        ".skill_names.*: maxLength was 100, is 5",
    ),
    "a value is gone": (
        "outcomes",
        lambda s: s["$defs"]["OutcomeKind"]["enum"].remove("returned"),
        ".kind: the value 'returned' is gone",
    ),
    "a list of values where anything went": (
        "sentiment",
        lambda s: s["properties"]["event_id"].update(enum=["a"]),
        ".event_id: was anything, is one of ",
    ),
    "another pattern": (
        "sentiment",
        lambda s: s["properties"]["event_id"].update(pattern="^[a-z]+$"),
        ".event_id: pattern was ",
    ),
    "a format": (
        "sentiment",
        lambda s: s["properties"]["event_id"].update(format="uuid"),
        ".event_id: format was none, is uuid",
    ),
    "unknown fields are no longer ignored": (
        "sentiment",
        lambda s: s.update(additionalProperties=False),
        "additionalProperties are no longer allowed",
    ),
    "a keyword that nobody knows": (
        "sentiment",
        lambda s: s.update(dependentRequired={"a": ["b"]}),
        "dependentRequired was none",
    ),
    "an event type is gone": (
        FILE_LINE,
        lambda s: s["oneOf"].pop(0),
        "the choice LessonCompletion is gone",
    ),
    "an event type is called otherwise": (
        FILE_LINE,
        lambda s: s["$defs"]["Session"]["properties"]["type"].update(const="stay"),
        "the value 'session' is gone",
    ),
}
WIDER_INPUTS: dict[str, tuple[str, Callable[[Schema], object]]] = {
    "a new optional field": (
        "sentiment",
        lambda s: s["properties"].update(device={"type": "string"}),
    ),
    "no longer required": ("sentiment", lambda s: s["required"].remove("event_id")),
    "a larger maximum": ("sentiment", lambda s: s["properties"]["sentiment"].update(maximum=2)),
    "a limit less": ("sentiment", lambda s: s["properties"]["event_id"].pop("maxLength")),
    "a pattern less": ("sentiment", lambda s: s["properties"]["event_id"].pop("pattern")),
    "null is taken too": (
        "sentiment",
        lambda s: s["properties"].update(
            sentiment={"anyOf": [s["properties"]["sentiment"], {"type": "null"}]}
        ),
    ),
    "a whole number may have a fraction": (
        "preferences",
        lambda s: s["properties"]["max_nudges_per_day"]["anyOf"][0].update(type="number"),
    ),
    "a new value": ("outcomes", lambda s: s["$defs"]["OutcomeKind"]["enum"].append("ignored")),
    "a new event type": (
        FILE_LINE,
        lambda s: (s["oneOf"].append({"$ref": "#/$defs/New"}), s["$defs"].update(New={"title": "New"})),
    ),
    "other words": (
        "sentiment",
        lambda s: (s.update(description="Feeling."), s["properties"]["source"].update(description="Where.")),
    ),
}


@pytest.mark.parametrize("case", WORSE_INPUTS)
def test_an_input_that_narrows_is_found(case: str) -> None:
    name, do, expected = WORSE_INPUTS[case]
    found = change(name, do)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize("case", WIDER_INPUTS)
def test_an_input_may_widen(case: str) -> None:
    assert change(*WIDER_INPUTS[case]) == []


# -- what two places say together --------------------------------------------------------------------------

EITHER = {
    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
    "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
}


def under_a_reference(limits: Schema, **beside: Any) -> Schema:
    """A field whose type is a definition with limits, and others beside the reference."""
    name = {"$ref": "#/$defs/Name"} | beside
    return {"$defs": {"Name": {"type": "string"} | limits}, "properties": {"name": name}}


def test_a_field_beside_a_choice_that_is_gone_is_found() -> None:
    new = EITHER | {"properties": {"a": {"type": "string"}}}
    assert breaks(EITHER, new, inbound=True) == ["(whole): the field b is gone"]
    assert breaks(EITHER, new, inbound=False) == ["(whole): the field b is gone"]
    assert breaks(EITHER, EITHER, inbound=True) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"maxLength": 100}, {"maxLength": 50}, ".name: maxLength was 100, is 50"),
        ({"minLength": 1}, {"minLength": 2}, ".name: minLength was 1, is 2"),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, ".name: the value 'b' is gone"),
        ({"pattern": "^a"}, {"pattern": "^ab"}, ".name: allOf was none, is [{'pattern': '^ab'}]"),
    ],
)
def test_a_definition_that_narrows_is_found_also_where_the_old_limit_stands_beside_its_reference(
    old: Schema, new: Schema, expected: str
) -> None:
    before, after = under_a_reference(old, **old), under_a_reference(new, **old)
    assert breaks(before, after, inbound=True) == [expected]
    assert breaks(after, after, inbound=True) == []


# -- outputs: only more fields -----------------------------------------------------------------------------

RISK, PLATEAUS = "predictions.dropout-risk", "predictions.plateaus"
WORSE_OUTPUTS: dict[str, tuple[str, Callable[[Schema], object], str]] = {
    "a field is gone": (RISK, lambda s: drop(s, "risk_score"), "the field risk_score is gone"),
    "a nested field is gone": (
        PLATEAUS,
        lambda s: drop(s["$defs"]["PlateauEpisode"], "attempts"),
        ".episodes[]: the field attempts is gone",
    ),
    "a field may be missing": (
        RISK,
        lambda s: s["required"].remove("risk_score"),
        "the field risk_score may now be missing",
    ),
    "a field may be null": (
        RISK,
        lambda s: s["properties"].update(
            risk_score={"anyOf": [s["properties"]["risk_score"], {"type": "null"}]}
        ),
        ".risk_score: the choice null is new",
    ),
    "another type": (
        RISK,
        lambda s: s["properties"]["current_streak"].update(type="number"),
        ".current_streak: type was integer, is integer or number",
    ),
    "a wider limit": (
        RISK,
        lambda s: s["properties"]["risk_score"].update(maximum=100),
        ".risk_score: maximum was 1, is 100",
    ),
    "a narrower limit": (
        RISK,
        lambda s: s["properties"]["risk_score"].update(maximum=0.9),
        ".risk_score: maximum was 1, is 0.9",
    ),
    "no limit": (
        RISK,
        lambda s: s["properties"]["risk_score"].pop("maximum"),
        ".risk_score: maximum was 1, is none",
    ),
    "a longer text": (
        PLATEAUS,
        lambda s: s["properties"]["skill_id"].update(maxLength=200),
        ".skill_id: maxLength was 100, is 200",
    ),
    "a new value": (
        RISK,
        lambda s: s["properties"]["risk_level"]["enum"].append("extreme"),
        ".risk_level: the value 'extreme' is new",
    ),
    "a value is gone": (
        "interventions",
        lambda s: s["$defs"]["InterventionType"]["enum"].remove("gentle_nudge"),
        ".type: the value 'gentle_nudge' is gone",
    ),
    "anything instead of a list of values": (
        RISK,
        lambda s: s["properties"]["risk_level"].pop("enum"),
        ".risk_level: was one of a list of values, is anything",
    ),
    "a format is gone": (
        RISK,
        lambda s: s["properties"]["as_of"].pop("format"),
        ".as_of: format was date-time, is none",
    ),
    "an empty list where there was always one": (
        PLATEAUS,
        lambda s: s["properties"]["episodes"].pop("minItems"),
        ".episodes: minItems was 1, is none",
    ),
}


@pytest.mark.parametrize("case", WORSE_OUTPUTS)
def test_an_output_that_changes_is_found(case: str) -> None:
    name, do, expected = WORSE_OUTPUTS[case]
    found = change(name, do)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize("required", [True, False])
def test_an_output_may_gain_fields(required: bool) -> None:
    def gain(schema: Schema) -> None:
        schema["properties"]["trend"] = {"type": "number"}
        schema["required"] += ["trend"] if required else []

    assert change(RISK, gain) == []


def test_an_output_that_may_be_missing_may_always_be_there() -> None:
    assert change(RISK, lambda s: s["required"].append("organization_id")) == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_keeps_itself(name: str) -> None:
    assert change(name, lambda _: None) == []


@given(st.sampled_from([message.name for message in MESSAGES]), st.data())
def test_every_field_of_every_message_is_missed(name: str, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(SCHEMAS[name]["properties"])))
    assert change(name, lambda s: drop(s, field)) == [f"(whole): the field {field} is gone"]

    def retyped(schema: Schema) -> None:
        schema["properties"][field] = {"type": "array", "items": {"type": "null"}}

    assert change(name, retyped) != []

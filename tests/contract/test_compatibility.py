"""What was released is kept: each way of breaking it is found, and what may grow may grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lyo.tools.contracts.compatibility import breaks
from lyo.tools.contracts.schemas import FILE_LINE
from tests.support.contract.changes import Schema, change, drop

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

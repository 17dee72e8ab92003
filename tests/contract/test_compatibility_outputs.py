"""What was released is kept: each way of breaking it is found, and what may grow may grow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyo.tools.contracts.messages import MESSAGES
from tests.support.contract.changes import SCHEMAS, Schema, change, drop

RISK, PLATEAUS, TIMING = "predictions.dropout-risk", "predictions.plateaus", "predictions.timing"


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
    "a new value of a closed list": (
        TIMING,
        lambda s: s["properties"]["best_days"]["items"]["enum"].append("Holiday"),
        ".best_days[]: the value 'Holiday' is new",
    ),
    "a value is gone": (
        "interventions",
        lambda s: s["properties"]["type"]["x-extensible-enum"].remove("gentle_nudge"),
        ".type: the value 'gentle_nudge' is gone",
    ),
    "anything instead of a list of values": (
        TIMING,
        lambda s: s["properties"]["best_days"]["items"].pop("enum"),
        ".best_days[]: was one of a list of values, is anything",
    ),
    "a closed list instead of an open one": (
        RISK,
        lambda s: s["properties"]["risk_level"].update(enum=["low", "medium", "high", "critical"]),
        ".risk_level: was anything, is one of ",
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


def test_an_open_list_of_an_output_may_gain_values() -> None:
    def gain(schema: Schema) -> None:
        schema["properties"]["risk_factors"]["items"]["x-extensible-enum"].append("exam_soon")

    assert change(RISK, gain) == []


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

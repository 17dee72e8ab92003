"""Outcomes become facts and preferences become fields, in any order."""

from __future__ import annotations

import json
from datetime import time
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyo.models.events.decode import OutcomeKind, Preferences
from lyo.storage.sink.outcomes import facts, subject
from lyo.storage.sink.preferences import merge, values
from lyo.storage.sink.struggle_outcomes import KINDS
from lyo.storage.times import instant


class Rec(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 4_000_000_000_000


def outcome(offset: int, **fields: Any) -> Rec:
    event = {"event_id": f"e{offset}", "user_id": 1, "occurred_at": "2026-03-01T12:00:00.123Z", **fields}
    return Rec("outcomes", 3, offset, b"1", json.dumps(event).encode())


def test_a_fact_is_about_a_skill_or_the_learner_unless_it_is_about_a_content() -> None:
    about = {kind: subject(kind, "skill") for kind in OutcomeKind if kind not in KINDS}
    assert about == {
        OutcomeKind.STRATEGY_EXECUTED: "",
        OutcomeKind.RETURNED: "",
        OutcomeKind.INTERVENTION_TAKEN: "skill",
        OutcomeKind.REMINDER_SENT: "skill",
        OutcomeKind.REVIEWED: "skill",
        OutcomeKind.RESPONDED: "",
        OutcomeKind.NUDGE_SENT: "",
    }
    assert subject(OutcomeKind.REVIEWED, None) is None


def test_facts_remember_time_tenant_and_place() -> None:
    found = facts([outcome(5, kind="returned", organization_id=9), outcome(6, kind="returned")]).facts
    assert [(fact[0], fact[1], fact[2], fact[3], fact[6], fact[7]) for fact in found] == [
        (1, "returned", "", 9, 3, 5),
        (1, "returned", "", 0, 3, 6),
    ]
    assert found[0][4].isoformat() == "2026-03-01T12:00:00.123000+00:00"


def test_what_the_contract_refuses_and_what_is_about_nothing_gives_no_fact() -> None:
    nothing: tuple[list[object], list[object]] = ([], [])
    said = [outcome(1, kind="reviewed"), outcome(2, kind="struggled"), outcome(3, kind="odd")]
    assert facts(said) == nothing
    assert facts([Rec("outcomes", 0, 1, b"1", None), Rec("outcomes", 0, 2, None, b"{}")]) == nothing


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "timezone": st.sampled_from(["UTC", "Asia/Tokyo", None]),
        "language": st.sampled_from(["de", "en", None]),
        "quiet_hours": st.sampled_from([{"from": "22:00", "to": "07:30"}, None]),
        "max_nudges_per_day": st.sampled_from([0, 3, None]),
    },
)


def preference(fields: dict[str, Any]) -> Preferences:
    import msgspec

    event = {"event_id": "e", "user_id": 1, "updated_at": "2026-03-01T12:00:00Z", **fields}
    return msgspec.json.decode(json.dumps(event).encode(), type=Preferences)


@given(
    st.lists(st.tuples(FIELDS, st.integers(0, 3)), min_size=1, max_size=6).flatmap(
        lambda said: st.tuples(st.just(said), st.permutations(range(len(said))))
    )
)
def test_preferences_are_the_same_in_any_order(
    case: tuple[list[tuple[dict[str, Any], int]], list[int]],
) -> None:
    said, order = case
    rows: list[dict[str, Any]] = [{}, {}]
    for row, places in zip(rows, (range(len(said)), order), strict=True):
        for place in places:
            fields, at = said[place]
            merge(row, preference(fields), at, event_id=place)
    assert rows[0] == rows[1]


def test_a_field_that_is_absent_leaves_and_null_clears() -> None:
    row: dict[str, Any] = {}
    merge(row, preference({"timezone": "UTC", "quiet_hours": {"from": "22:00", "to": "07:30"}}), 1, 1)
    merge(row, preference({"quiet_hours": None}), 2, 2)
    assert (row["timezone"], row["quiet_from"], row["quiet_to"]) == ("UTC", None, None)
    assert values(preference({"quiet_hours": {"from": "22:00", "to": "07:30"}})) == {
        "quiet_hours": (time(22), time(7, 30))
    }


def test_milliseconds_are_exact() -> None:
    assert instant(253_402_300_799_999).isoformat() == "9999-12-31T23:59:59.999000+00:00"


@pytest.mark.parametrize(
    ("kind", "gave_up", "fact"),
    [
        ("not_struggled", True, "struggled"),
        ("not_struggled", False, "not_struggled"),
        ("not_struggled", None, "not_struggled"),
        ("struggled", False, "struggled"),
        ("help_declined", True, "help_declined"),
    ],
)
def test_giving_up_is_a_struggle_whatever_else_is_said(kind: str, gave_up: bool | None, fact: str) -> None:
    said = facts([outcome(1, kind=kind, content_id="c", gave_up=gave_up)])
    assert [told[3] for told in said.of_contents] == [fact]
    assert said.facts == []

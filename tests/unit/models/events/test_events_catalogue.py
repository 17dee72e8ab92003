"""Contents and organizations: read whole, refused by field."""

import json

import msgspec
import pytest

from lyo.models.events.decode import EventError, decode_content, decode_organization

CONTENT = {"content_id": "c1", "skills": ["s1"]}
ORGANIZATION = {"organization_id": 3}


def test_content_is_read_whole() -> None:
    more = {
        "organization_id": 3,
        "title": "Fractions",
        "topic": "algebra",
        "difficulty": 0.5,
        "prerequisites": ["c0"],
        "similar_topics": ["algebra"],
        "skill_names": {"s1": "Adding fractions"},
    }
    content = decode_content(b"c1", json.dumps(CONTENT | more).encode())
    assert msgspec.to_builtins(content) == CONTENT | more


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("content_id", ""),
        ("content_id", "c2"),
        ("skills", None),
        ("skills", ["a"] * 51),
        ("organization_id", 0),
        ("title", "x" * 201),
        ("title", "\0"),
        ("topic", "x" * 201),
        ("difficulty", 1.1),
        ("prerequisites", "c0"),
        ("similar_topics", [2]),
        ("skill_names", {f"s{number}": "x" for number in range(51)}),
        ("skill_names", {"s": "x" * 201}),
        ("skill_names", {"": "x"}),
        ("skill_names", {"\0": "x"}),
    ],
)
def test_bad_content_is_refused_by_field(field: str, bad: object) -> None:
    with pytest.raises(EventError) as caught:
        decode_content(b"c1", json.dumps(CONTENT | {field: bad}).encode())
    assert caught.value.field == field
    assert field in caught.value.reason


def test_an_organization_is_read_whole() -> None:
    more = {
        "timezone": "Europe/Berlin",
        "quiet_hours": {"from": "22:00", "to": "07:00"},
        "max_nudges_per_day": 3,
    }
    organization = decode_organization(b"3", json.dumps(ORGANIZATION | more).encode())
    assert msgspec.to_builtins(organization) == ORGANIZATION | more
    assert decode_organization(None, b'{"organization_id": 3}').timezone is None


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("organization_id", 0),
        ("organization_id", 4),
        ("organization_id", "3"),
        ("timezone", "Mars/Olympus"),
        ("quiet_hours.to", {"from": "22:00", "to": "x"}),
        ("max_nudges_per_day", 101),
    ],
)
def test_a_bad_organization_is_refused_by_field(field: str, bad: object) -> None:
    with pytest.raises(EventError) as caught:
        decode_organization(b"3", json.dumps(ORGANIZATION | {field.partition(".")[0]: bad}).encode())
    assert caught.value.field == field

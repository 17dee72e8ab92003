"""Fields that one kind of input record has: sessions, preferences, struggle requests."""

import msgspec
import pytest

from lyo.models.events.decode import Kind
from tests.support.learners.event_records import (
    NOON,
    NOON_MS,
    accept,
    encode,
    read,
    refuse,
)


def test_a_session_ends_after_it_starts_and_within_a_day() -> None:
    for end, at in [(NOON, NOON_MS), ("2026-03-02T12:00:00Z", NOON_MS + 86_400_000)]:
        columns = accept(Kind.SESSION, ended_at=end)
        assert columns.end is not None
        assert columns.end.tolist() == [at]
    for bad in ("2026-03-01T11:59:59.999Z", "2026-03-02T12:00:00.001Z", "2026-03-01T13:00:00", 5):
        refuse(Kind.SESSION, "ended_at", ended_at=bad)


def test_a_session_that_ends_more_than_a_day_after_its_record_is_refused() -> None:
    value = encode(Kind.SESSION, ended_at="2026-03-01T13:00:00Z")
    rejected = read(Kind.SESSION, value, stamp=NOON_MS - 86_400_000)[1]
    assert [one.field for one in rejected] == ["ended_at"]


def test_preferences_tell_left_out_from_cleared() -> None:
    fields = ("timezone", "language", "quiet_hours", "max_nudges_per_day")
    left_out = accept(Kind.PREFERENCES).rows[0]
    assert [getattr(left_out, field) for field in fields] == [msgspec.UNSET] * 4
    cleared = accept(Kind.PREFERENCES, **dict.fromkeys(fields)).rows[0]
    assert [getattr(cleared, field) for field in fields] == [None] * 4


def test_a_time_zone_is_a_name_of_the_iana_database() -> None:
    for good in ("Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires", "Asia/Kathmandu"):
        assert accept(Kind.PREFERENCES, timezone=good).rows[0].timezone == good
    for bad in (
        "Berlin",
        "europe/berlin",
        "../etc/passwd",
        "/etc/localtime",
        "",
        "UTC+1",
        "Europe/Berlin\0",
        1,
    ):
        refuse(Kind.PREFERENCES, "timezone", timezone=bad)


def test_quiet_hours_are_local_times_of_day() -> None:
    row = accept(Kind.PREFERENCES, quiet_hours={"from": "22:00", "to": "07:30:15"}).rows[0]
    assert (row.quiet_hours.start, row.quiet_hours.end) == ("22:00", "07:30:15")
    for bad in ("24:00", "7:00", "07:60", "07:00\n", "٠٧:00", "07:00Z", "", 7, None):
        refuse(Kind.PREFERENCES, "quiet_hours.to", quiet_hours={"from": "22:00", "to": bad})
    refuse(Kind.PREFERENCES, "quiet_hours.from", quiet_hours={"to": "07:00"})
    refuse(Kind.PREFERENCES, "quiet_hours", quiet_hours="22:00-07:00")


def test_a_struggle_request_names_its_content_or_is_its_own() -> None:
    assert accept(Kind.STRUGGLE_REQUEST).rows[0].content_id == "c1"
    assert accept(Kind.STRUGGLE_REQUEST, content_metadata={}).rows[0].content_id == "r1"


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("content_id", ""),
        ("content_id", "a\0b"),
        ("type", "x" * 51),
        ("difficulty_rating", 1.01),
        ("difficulty_rating", True),
        ("prerequisites", ["x"] * 51),
        ("similar_topics", [1]),
    ],
)
def test_a_bad_field_of_the_content_metadata_is_named(field: str, bad: object) -> None:
    refuse(Kind.STRUGGLE_REQUEST, f"content_metadata.{field}", content_metadata={field: bad})

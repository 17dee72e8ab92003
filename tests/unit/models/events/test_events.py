"""Input records: what is accepted, what is refused, and the field that a refusal names."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from lyo.models.events.checks import Placed
from lyo.models.events.decode import Kind, OutcomeKind, decode, event_id_hash, milliseconds
from lyo.models.events.identity import partition
from tests.support.learners.event_records import (
    LATER,
    NOON_MS,
    TIME,
    VALID,
    accept,
    encode,
    read,
    refuse,
)


@pytest.mark.parametrize(
    ("said", "struggled"),
    [
        ({}, -1),
        ({"score": 0.49}, 1),
        ({"score": 0.5}, 0),
        ({"score": 0.9, "struggled": True}, 1),
        ({"score": 0.1, "struggled": False}, 0),
        ({"score": 0.9, "gave_up": True}, 1),
        ({"gave_up": True}, 1),
        ({"struggled": False, "gave_up": True}, 1),
        ({"score": 0.9, "gave_up": False}, 0),
        ({"gave_up": False}, -1),
    ],
)
def test_who_gives_up_struggles_else_what_is_said_counts_else_the_score(
    said: dict[str, Any], struggled: int
) -> None:
    columns, _ = decode(Kind.LESSON_COMPLETION, None, [encode(Kind.LESSON_COMPLETION, **said)], [LATER])
    assert columns.struggled is not None
    assert columns.struggled.tolist() == [struggled]


@pytest.mark.parametrize("kind", VALID)
def test_the_smallest_record_of_each_kind_is_accepted(kind: Kind) -> None:
    columns = accept(kind)
    assert columns.kind is kind
    assert columns.index.tolist() == [0]
    assert columns.user.tolist() == [7]
    assert columns.org.tolist() == [0]
    assert columns.at.tolist() == [NOON_MS]
    assert columns.id.tolist() == [event_id_hash("r1" if kind is Kind.STRUGGLE_REQUEST else "e1")]
    dtypes = [columns.index.dtype, columns.user.dtype, columns.org.dtype, columns.at.dtype, columns.id.dtype]
    assert dtypes == [np.int32, np.int64, np.int64, np.int64, np.uint64]


@pytest.mark.parametrize("kind", VALID)
def test_no_records_make_empty_columns(kind: Kind) -> None:
    columns, rejected = decode(kind, [], [], [])
    assert rejected == []
    assert columns.rows == []
    assert columns.user.shape == columns.at.shape == columns.id.shape == (0,)


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in VALID for field in VALID[kind]])
def test_each_required_field_is_required(kind: Kind, field: str) -> None:
    assert "missing" in refuse(kind, field, **{field: ...})
    refuse(kind, field, **{field: None})


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in VALID for field in VALID[kind]])
@pytest.mark.parametrize("wrong", [True, {"a": 1}, 1.5])
def test_an_ill_typed_required_field_is_named(kind: Kind, field: str, wrong: object) -> None:
    if field == "sentiment" and wrong == 1.5:
        assert "<= 1" in refuse(kind, field, **{field: wrong})
    elif field == "content_metadata" and isinstance(wrong, dict):
        accept(kind, **{field: wrong})
    else:
        refuse(kind, field, **{field: wrong})


def test_scores_and_durations_become_columns() -> None:
    values = [
        encode(Kind.LESSON_COMPLETION, event_id="a", score=0.12346, duration_seconds=25.5, struggled=True),
        encode(Kind.LESSON_COMPLETION, event_id="b", skills=["x", "y", "x"], struggled=False, score=1),
        encode(Kind.LESSON_COMPLETION, event_id="c", skills=[]),
    ]
    columns, rejected = decode(Kind.LESSON_COMPLETION, [b"7"] * 3, values, [LATER] * 3)
    assert rejected == []
    assert columns.score is not None
    assert columns.score.tolist() == [1235, 10000, -1]
    assert columns.duration is not None
    assert columns.duration.tolist() == [26, -1, -1]
    assert columns.struggled is not None
    assert columns.struggled.tolist() == [1, 0, -1]
    assert columns.skills == ["s1", "x", "y"]
    assert columns.skill_of is not None
    assert columns.skill_of.tolist() == [0, 1, 1]


def test_sentiment_becomes_fixed_point() -> None:
    columns = accept(Kind.SENTIMENT, sentiment=-0.33335)
    assert columns.sentiment is not None
    assert columns.sentiment.tolist() == [-3334]


@pytest.mark.parametrize("kind", OutcomeKind)
def test_each_outcome_of_the_contract_is_known(kind: OutcomeKind) -> None:
    assert accept(Kind.OUTCOME, kind=kind.value).rows[0].kind is kind


def test_another_outcome_is_refused() -> None:
    refuse(Kind.OUTCOME, "kind", kind="ran_away")
    assert "\0" not in refuse(Kind.OUTCOME, "kind", kind="ran\0away")


@pytest.mark.parametrize("kind", VALID)
def test_times_need_an_offset_and_a_year_from_1970_to_2199(kind: Kind) -> None:
    field = TIME[kind]
    for good, at in [
        ("2026-03-01T13:00:00+01:00", NOON_MS),
        ("2026-03-01t12:00:00.250z", NOON_MS + 250),
        ("2026-02-28T13:00:00-23:00", NOON_MS),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T23:00:00+23:00", 0),
    ]:
        assert accept(kind, **{field: good}).at.tolist() == [at]
    for bad in (
        "2026-03-01T12:00:00",
        "2026-03-01",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00+00:01",
        "2200-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-02-30T12:00:00Z",
        "2026-03-01T25:00:00Z",
        "",
        NOON_MS,
    ):
        refuse(kind, field, **{field: bad})
    value = encode(kind, **{field: "2199-12-31T23:59:59.999Z"})
    assert read(kind, value, stamp=8 * 10**12)[0].at.tolist() == [7_258_118_399_999]


@pytest.mark.parametrize("kind", VALID)
def test_a_time_more_than_a_day_after_the_records_own_is_refused(kind: Kind) -> None:
    value = encode(kind)
    assert len(read(kind, value, stamp=NOON_MS - 86_400_000)[0].rows) == 1
    rejected = read(kind, value, stamp=NOON_MS - 86_400_001)[1]
    assert [one.field for one in rejected] == [TIME[kind]]


@pytest.mark.parametrize("kind", VALID)
def test_the_key_must_be_the_user(kind: Kind) -> None:
    value = encode(kind)
    for key in (b"8", b"07", b"+7", b" 7", b"", b"\xff\x00", None):
        rejected = read(kind, value, key)[1]
        assert [one.field for one in rejected] == ["user_id"]
        assert "\0" not in rejected[0].reason
    assert len(decode(kind, None, [value], [LATER])[0].rows) == 1


@pytest.mark.parametrize("kind", VALID)
def test_a_record_without_a_value_is_refused(kind: Kind) -> None:
    columns, rejected = decode(kind, [b"7", b"7"], [None, encode(kind)], [LATER] * 2)
    assert [one.index for one in rejected] == [0]
    assert columns.index.tolist() == [1]


@pytest.mark.parametrize("kind", VALID)
@pytest.mark.parametrize("extra", [5, None, "\0", {"type": [1]}, "x" * 10_000, [[[]]]])
def test_unknown_fields_are_ignored(kind: Kind, extra: object) -> None:
    accept(kind, type=extra, simulated=extra)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Kind.LESSON_COMPLETION, "event_id", "a\0"),
        (Kind.LESSON_COMPLETION, "skills", ["a", "\0"]),
        (Kind.LESSON_COMPLETION, "topic", "\0"),
        (Kind.PREFERENCES, "language", "\0"),
        (Kind.STRUGGLE_REQUEST, "request_id", "\0"),
    ],
)
def test_nul_is_refused(kind: Kind, field: str, value: object) -> None:
    refuse(kind, field, **{field: value})


def test_the_letters_of_an_escaped_nul_are_no_nul() -> None:
    assert accept(Kind.LESSON_COMPLETION, topic="\\u0000").rows[0].topic == "\\u0000"


def test_invalid_utf8_is_refused_wherever_it_stands() -> None:
    value = encode(Kind.LESSON_COMPLETION, topic="TOPIC", other="OTHER")
    for text, field in [(b"TOPIC", "topic"), (b"OTHER", "other"), (b'"other"', None)]:
        for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80"):
            broken = value.replace(text, b'"' + bad + b'"' if text[:1] == b'"' else bad)
            assert [one.field for one in read(Kind.LESSON_COMPLETION, broken)[1]] == [field]


@pytest.mark.parametrize("kind", VALID)
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"null",
        b"7",
        b"[]",
        b'"a"',
        b"\xff\xfe",
        b"\x00" * 40,
        b"[" * 1_000_000,
        b'{"event_id":' + b"[" * 1_000_000,
        b'{"other":' + b'{"a":' * 300_000,
        b'{"user_id": NaN',
        b'{"user_id":' + b"9" * 100_000,
        b"NaN",
    ],
)
def test_what_is_no_object_is_refused(kind: Kind, value: bytes) -> None:
    columns, rejected = read(kind, value)
    assert columns.rows == []
    assert len(rejected) == 1
    assert 0 < len(rejected[0].reason) < 400


@pytest.mark.parametrize("kind", VALID)
def test_text_after_the_object_is_refused(kind: Kind) -> None:
    assert len(read(kind, encode(kind) + b"{}")[1]) == 1


def test_bad_records_leave_the_others_in_order() -> None:
    good = [encode(Kind.SESSION, event_id=f"e{number}") for number in range(6)]
    values: list[bytes | None] = [good[0], b"{", good[1], good[2], None, good[3]]
    keys: list[bytes | None] = [b"7", b"7", b"8", b"7", b"7", b"7"]
    columns, rejected = decode(Kind.SESSION, keys, values, [LATER] * 6)
    assert [one.index for one in rejected] == [1, 2, 4]
    assert columns.index.tolist() == [0, 3, 5]
    assert [row.event_id for row in columns.rows] == ["e0", "e2", "e3"]
    assert columns.id.tolist() == [event_id_hash(name) for name in ("e0", "e2", "e3")]
    assert columns.end is not None
    assert columns.end.tolist() == [-1, -1, -1]


def test_milliseconds_are_exact() -> None:
    for text in (
        "2026-03-01T12:00:00.001+00:00",
        "2199-12-31T23:59:59.999+00:00",
        "1970-01-01T00:00:00.007+00:00",
    ):
        moment = datetime.fromisoformat(text)
        delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
        assert (
            milliseconds(moment)
            == delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000
        )


@pytest.mark.parametrize("kind", VALID)
def test_a_record_in_a_partition_of_another_partitioner_is_refused_by_both_numbers(kind: Kind) -> None:
    right = partition(7, 6)
    wrong = (right + 1) % 6
    for placed in (Placed(right, 6), Placed([right], 6)):
        assert not decode(kind, [b"7"], [encode(kind)], [NOON_MS], placed)[1]
    columns, [refused] = decode(
        kind, [b"7"] * 2, [encode(kind)] * 2, [NOON_MS] * 2, Placed([wrong, right], 6)
    )
    assert (refused.index, refused.field) == (0, "partition")
    assert f"belongs to partition {right} of 6" in refused.reason
    assert f"is in {wrong}" in refused.reason
    assert "partitioner=murmur2_random" in refused.reason
    assert columns.index.tolist() == [1]


@pytest.mark.parametrize("kind", VALID)
def test_a_record_of_kafka_without_a_timestamp_is_refused(kind: Kind) -> None:
    _, [refused] = decode(kind, [b"7"], [encode(kind)], [-1])
    assert refused.field == "timestamp"
    assert "message.timestamp.type" in refused.reason
    assert not decode(kind, None, [encode(kind)], [-1])[1], "a line of an event file has none"

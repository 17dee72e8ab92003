"""The contract's limits on ids, strings, numbers and lists, at their boundaries."""

import pytest

from lyo.models.events.decode import Kind
from tests.support.learners.event_records import VALID, accept, encode, read, refuse


@pytest.mark.parametrize("kind", VALID)
@pytest.mark.parametrize("field", ["user_id", "organization_id"])
def test_user_and_organization_ids_are_numbers_from_1_to_2_63(kind: Kind, field: str) -> None:
    for good in (1, 2**63 - 1):
        columns = accept(kind, **{field: good})
        assert (columns.user if field == "user_id" else columns.org).tolist() == [good]
    for bad in (0, -1, 2**63, 10**400, "7", True, 7.5):
        refuse(kind, field, **{field: bad})


LONGEST = [
    (Kind.LESSON_COMPLETION, "event_id", 1, 100),
    (Kind.LESSON_COMPLETION, "content_id", 1, 100),
    (Kind.LESSON_COMPLETION, "content_type", 0, 50),
    (Kind.LESSON_COMPLETION, "topic", 0, 200),
    (Kind.SESSION, "event_id", 1, 100),
    (Kind.SENTIMENT, "event_id", 1, 100),
    (Kind.SENTIMENT, "source", 0, 50),
    (Kind.OUTCOME, "event_id", 1, 100),
    (Kind.OUTCOME, "prediction_id", 1, 100),
    (Kind.OUTCOME, "content_id", 1, 100),
    (Kind.OUTCOME, "skill_id", 1, 100),
    (Kind.OUTCOME, "variant", 0, 50),
    (Kind.PREFERENCES, "event_id", 1, 100),
    (Kind.PREFERENCES, "language", 0, 35),
    (Kind.STRUGGLE_REQUEST, "request_id", 1, 100),
    (Kind.ERASURE, "event_id", 1, 100),
]


@pytest.mark.parametrize(("kind", "field", "least", "most"), LONGEST)
@pytest.mark.parametrize("letter", ["x", "ä", "\U0001f600"])
def test_strings_are_limited_by_characters_not_bytes(
    kind: Kind, field: str, least: int, most: int, letter: str
) -> None:
    accept(kind, **{field: letter * most})
    refuse(kind, field, **{field: letter * (most + 1)})
    if least:
        refuse(kind, field, **{field: ""})
    else:
        accept(kind, **{field: ""})


RANGES = [
    (Kind.LESSON_COMPLETION, "score", 0, 1),
    (Kind.LESSON_COMPLETION, "difficulty", 0, 1),
    (Kind.LESSON_COMPLETION, "duration_seconds", 0, 2**31 - 1),
    (Kind.SENTIMENT, "sentiment", -1, 1),
    (Kind.OUTCOME, "completion_time_seconds", 0, 2**31 - 1),
    (Kind.PREFERENCES, "max_nudges_per_day", 0, 100),
]


@pytest.mark.parametrize(("kind", "field", "low", "high"), RANGES)
def test_numbers_stay_in_their_range_and_are_finite(kind: Kind, field: str, low: int, high: int) -> None:
    accept(kind, **{field: low})
    accept(kind, **{field: high})
    step = 1 if field == "max_nudges_per_day" else 0.001
    for bad in (low - step, high + step, float("nan"), float("inf"), -float("inf"), "0", True):
        refuse(kind, field, **{field: bad})


def test_a_number_too_large_for_a_float_is_refused() -> None:
    value = encode(Kind.LESSON_COMPLETION).replace(b'"c1"', b'"c1", "score": 1e999')
    assert [one.field for one in read(Kind.LESSON_COMPLETION, value)[1]] == ["score"]


@pytest.mark.parametrize(
    ("field", "most"), [("skills", 100), ("prerequisites", 200), ("similar_topics", 200)]
)
def test_lists_hold_at_most_50_named_entries(field: str, most: int) -> None:
    kind = Kind.LESSON_COMPLETION
    accept(kind, **{field: [f"s{number}" for number in range(50)]})
    accept(kind, **{field: []})
    refuse(kind, field, **{field: [f"s{number}" for number in range(51)]})
    accept(kind, **{field: ["x" * most]})
    refuse(kind, field, **{field: ["x" * (most + 1)]})
    refuse(kind, field, **{field: [""]})
    refuse(kind, field, **{field: ["a", 3]})
    refuse(kind, field, **{field: "a"})

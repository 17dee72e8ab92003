"""The newest record per key, and what is refused before Postgres sees it."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyo.models.events.decode import partition
from lyo.storage.sink.records import (
    BY_CONTENT,
    BY_SKILL,
    BY_USER,
    KeyFault,
    newest,
    placed,
    screen_predictions,
    screen_rows,
    split_key,
)


class Rec(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0


def records(*pairs: tuple[bytes | None, bytes | None]) -> list[Rec]:
    return [Rec("t", 0, offset, key, value) for offset, (key, value) in enumerate(pairs)]


def test_the_last_record_of_each_key_in_the_order_of_those() -> None:
    given = records((b"1", b"a"), (b"2", b"b"), (b"1", b"c"), (b"3", b"d"))
    assert [record.offset for record in newest(given)] == [1, 2, 3]


@given(st.lists(st.tuples(st.sampled_from([b"1", b"2", b"3"]), st.binary()), max_size=12), st.integers(0, 12))
def test_the_newest_of_two_batches_is_the_newest_of_both(pairs: list[tuple[bytes, bytes]], cut: int) -> None:
    whole = records(*pairs)
    assert newest([*newest(whole[:cut]), *whole[cut:]]) == newest(whole)


@pytest.mark.parametrize(
    ("key", "subject", "expected"),
    [
        (b"7", BY_USER, (7, "")),
        (b"7|a|b", BY_SKILL, (7, "a|b")),
        (str(2**63 - 1).encode(), BY_USER, (2**63 - 1, "")),
        ("7|ä".encode(), BY_CONTENT, (7, "ä")),
    ],
)
def test_a_key_says_whose_record_it_is(key: bytes, subject: str, expected: tuple[int, str]) -> None:
    assert split_key(key, subject) == expected


@pytest.mark.parametrize(
    ("key", "subject"),
    [
        (None, BY_USER),
        (b"", BY_USER),
        (b"x", BY_USER),
        (b"-1", BY_USER),
        (b"7|a", BY_USER),
        (b"7", BY_SKILL),
        (b"7|", BY_SKILL),
        (str(2**63).encode(), BY_USER),
        (b"7|\xff", BY_SKILL),
    ],
)
def test_another_key_is_refused(key: bytes | None, subject: str) -> None:
    with pytest.raises(KeyFault, match="key"):
        split_key(key, subject)


def test_a_prediction_must_be_json_and_say_what_its_key_says() -> None:
    screened = screen_predictions(
        records(
            (b"1|a", b'{"user_id": 1, "content_id": "a"}'),
            (b"2|a", b'{"user_id": 1, "content_id": "a"}'),
            (b"3|a", b'{"user_id": 3, "content_id": "b"}'),
            (b"4|a", b'{"user_id": 4, "content_id": "a"}, {}'),
            (b"5|a", b'{"user_id": "5", "content_id": "a"}'),
            (b"6|a", b"[" * 100_000),
            (b"7|a", None),
        ),
        BY_CONTENT,
    )
    assert [(item.user, item.subject) for item in screened.items] == [(1, "a"), (7, "a")]
    reasons = [refusal.reason for refusal in screened.refused]
    assert [refusal.record.offset for refusal in screened.refused] == [1, 2, 3, 4, 5]
    assert reasons[0] == "user_id: the key says 2, the record 1"
    assert reasons[1] == "content_id: the key says 'a', the record 'b'"


@given(st.binary(max_size=40), st.binary(max_size=80))
def test_no_bytes_raise(key: bytes, value: bytes) -> None:
    for subject in (BY_USER, BY_SKILL, BY_CONTENT):
        screened = screen_predictions(records((key, value)), subject)
        assert len(screened.items) + len(screened.refused) == 1


def test_what_belongs_to_the_partition_is_no_row() -> None:
    screened = screen_rows(records((b"#sweep", b"x"), (b"1", b"x"), (b"bad", b"x")), BY_USER)
    assert [item.user for item in screened.items] == [1]
    assert [refusal.record.key for refusal in screened.refused] == [b"bad"]


def test_records_in_another_partition_than_their_learners_are_told_apart() -> None:
    home = partition(7, 4)
    keys = (b"#offsets", b"7", b"7|a", None)
    for number in range(4):
        given = [Rec("t", number, offset, key, b"x") for offset, key in enumerate(keys)]
        kept, others = placed(given, 4, ())
        is_home = number == home
        assert [record.key for record in kept] == [
            key for key in keys if is_home or key not in (b"7", b"7|a")
        ]
        assert [record.key for record in others] == ([] if is_home else [b"7", b"7|a"])
        assert placed(given, 4, {"t"}) == (given, [])

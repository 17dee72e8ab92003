"""What the integration test of poison publishes is refused by name, and what is only odd is not."""

from __future__ import annotations

from itertools import count, islice

import pytest

from cli.eventfile import Piece, check
from models.catalogue import Catalogue
from models.events import Kind, decode
from models.refusals import DEEPEST, is_too_deep
from tests.support.event_records import LATER
from tests.support.poison import KINDS_OF_POISON, bad_catalogue, bad_events, odd_lines

ROUNDS = 6


def test_every_sort_of_poison_is_refused_with_the_field_named() -> None:
    users = count(10)
    for bad in islice(bad_events(lambda: next(users)), ROUNDS * len(KINDS_OF_POISON)):
        columns, rejected = decode(bad.kind, [bad.key], [bad.value], [LATER])
        if bad.name == "another tenant's learner":
            # Only the learner's row can tell.
            assert len(columns.rows) == 1
            continue
        assert columns.rows == [], (bad.name, bad.kind)
        assert [(one.index, one.field) for one in rejected] == [(0, bad.field)], (bad.name, rejected)
        assert bad.field is None or rejected[0].reason.startswith(bad.field)


def test_poison_among_good_events_leaves_them_all() -> None:
    made = islice(bad_events(lambda: 7), 3 * len(KINDS_OF_POISON))
    some = [bad for bad in made if "tenant" not in bad.name]
    for kind in {bad.kind for bad in some}:
        mine = [bad for bad in some if bad.kind is kind]
        good = b'{"event_id":"g","user_id":7,"occurred_at":"2026-03-01T12:00:00Z","sentiment":0.5}'
        values = [value for bad in mine for value in (bad.value, good)]
        keys = [key for bad in mine for key in (bad.key, b"7")]
        columns, rejected = decode(kind, keys, values, [LATER] * len(values))
        wanted = list(range(0, len(values), 2))
        if kind.value == "sentiment":
            assert [one.index for one in rejected] == wanted
            assert columns.index.tolist() == [index + 1 for index in wanted]
        else:
            assert [one.index for one in rejected] == list(range(len(values)))


def test_bad_contents_and_organizations_are_refused_with_the_field_named() -> None:
    catalogue = Catalogue()
    for bad in bad_catalogue():
        assert bad.key is not None
        rejected = catalogue.put(bad.kind, bad.key, bad.value)
        assert rejected is not None, bad.name
        assert rejected.field == bad.field, bad.name


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b' [ "]]" , ', b'{"\\"[":'])
def test_how_deep_a_record_may_be_does_not_depend_on_who_reads_it(opening: bytes) -> None:
    closing = b"]" if b"{" not in opening else b"}"
    head = b'{"event_id":"e","user_id":7,"occurred_at":"2026-03-01T12:00:00Z","sentiment":0.5,"x":'

    def accepted(depth: int, frames: int) -> bool:
        if frames:
            return accepted(depth, frames - 1)
        value = head + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"}"
        return decode(Kind.SENTIMENT, [b"7"], [value], [LATER])[1] == []

    for frames in (0, 300):
        assert accepted(DEEPEST, frames)
        assert not accepted(DEEPEST + 1, frames)


def test_brackets_in_text_and_beside_each_other_are_not_deep() -> None:
    assert not is_too_deep(b'{"x":"' + b"[" * 5_000 + b'"}')
    assert not is_too_deep(b"[" + b"[]," * 5_000 + b"1]")
    assert is_too_deep(b"[" * 5_000)


def test_odd_events_are_good() -> None:
    checked = check(Piece(1, odd_lines(), 0), LATER * 2)
    assert checked.bad == []
    assert len(checked.records) == len(odd_lines())

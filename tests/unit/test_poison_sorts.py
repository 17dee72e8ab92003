"""What the integration test of poison publishes is refused by name, and what is only odd is not."""

from __future__ import annotations

from itertools import count, islice

from cli.eventfile import Piece, check
from models.catalogue import Catalogue
from models.events import decode
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


def test_odd_events_are_good() -> None:
    checked = check(Piece(1, odd_lines(), 0), LATER * 2)
    assert checked.bad == []
    assert len(checked.records) == len(odd_lines())

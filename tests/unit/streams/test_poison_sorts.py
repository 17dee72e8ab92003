"""What the integration test of poison publishes is refused by name, and what is only odd is not."""

from __future__ import annotations

from collections import Counter
from itertools import count, cycle, islice
from pathlib import Path

import pytest

from lyo.cli.files.simulate import write
from lyo.evaluation.replay import Replay
from lyo.models.engine import Engine
from lyo.models.events.decode import Kind, decode
from lyo.models.events.refusals import DEEPEST, is_too_deep
from lyo.models.state.catalogue import Catalogue
from lyo.streams.event_files.reader import Piece, check
from lyo.streams.kafka.input_records import Record
from lyo.streams.topics import INPUT_KINDS
from lyo.tools.simulation import Plan
from tests.support.faults import agreement
from tests.support.faults.poison import KINDS_OF_POISON, Bad, bad_catalogue, bad_events, odd_lines
from tests.support.learners.event_records import LATER

ROUNDS = 6
APRIL = 1_776_643_200_000  # 2026-04-20T00:00:00Z


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


def fold(engine: Engine, records: list[Record | Bad]) -> Counter[str]:
    """Decode and fold records of any kind as one batch; how many bad and how many good ones are refused."""
    batches, refused = [], []
    for kind in INPUT_KINDS:
        mine = [one for one in records if one.kind is kind]
        keys, values = [one.key for one in mine], [one.value for one in mine]
        columns, rejected = decode(kind, keys, values, [APRIL] * len(mine))
        batches.append(columns)
        refused += [mine[one.index] for one in rejected]
    changes = engine.apply(batches)
    refused += [[one for one in records if one.kind is kind][bad.index] for kind, bad in changes.rejected]
    engine.commit(changes)
    return Counter("bad" if isinstance(one, Bad) else "good" for one in refused)


def test_rows_and_predictions_are_those_of_the_good_events_alone(tmp_path: Path) -> None:
    """As the integration test has it, without Kafka: the same stream with and without poison."""
    path = tmp_path / "events.jsonl"
    write(Plan(learners=6, days=30, seed=3, end=APRIL, bad=0.0, first_user=1), path)
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in odd_lines()))
    wanted = Replay()
    wanted.read(path, None, None, None)
    checked = check(Piece(1, path.read_bytes().splitlines(), 0), 2 * APRIL)
    found = Replay()
    found._learn(checked, None)
    events = [record for record in checked.records if record.user]
    members = cycle({record.user for record in events[:200] if b"organization_id" in record.value})
    poison, sent = bad_events(lambda: next(members)), 0
    refused: Counter[str] = Counter()
    for start in range(0, len(events), 100):
        some: list[Record | Bad] = list(events[start : start + 100])
        if start >= 200:
            some[50:50] = islice(poison, 10)
            sent += 10
        refused += fold(found.engine, some)
    assert refused == Counter({"bad": sent})
    assert sent >= len(KINDS_OF_POISON)
    found.settle(wanted.newest)
    wanted.settle(wanted.newest)
    assert agreement.rows(found.engine) == agreement.rows(wanted.engine)
    assert agreement.predicted(found) == agreement.predicted(wanted)

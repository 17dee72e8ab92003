"""The oracle finds what is planted: a loss, a double count, both at once, an id with two contents."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from lyo.models.events.decode import Kind
from lyo.models.state import layout
from lyo.models.state.learner import BOOKKEEPING
from tests.support.faults.found import Found, predictions_of, rows_of
from tests.support.faults.oracle import Expected, Report, compare, expect
from tests.support.learners.building import START, Sent, Stream, run
from tests.support.learners.sampled import lives

AT = START + 40 * 86_400_000
EVENTS = lives(3, 400, users=3, days=30)
COUNTED = [
    place
    for place, event in enumerate(EVENTS)
    if event.kind in {Kind.LESSON_COMPLETION, Kind.SESSION, Kind.SENTIMENT}
]
ONE, OTHER = next(
    (one, other)
    for one in COUNTED[100:]
    for other in COUNTED[200:]
    if one != other and EVENTS[one].body["user_id"] == EVENTS[other].body["user_id"]
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("oracle") / "events.jsonl"
    path.write_text("\n".join(json.dumps({"type": event.kind.value} | event.body) for event in EVENTS))
    return path


@pytest.fixture(scope="module")
def expected(file: Path) -> Expected:
    return expect([file], AT)


def found(stream: Stream) -> Found:
    """What the topics and Postgres would have of a stream."""
    stream.sweep(AT)
    rows = stream.learner_rows | stream.skill_rows
    rows.pop(layout.SWEEP_KEY, None)
    current = {(kind, key.decode()): record for (kind, key), record in stream.sent.items()}
    return Found(rows, current, stored_rows=dict(rows), stored=None)


def folded(events: Iterable[Sent]) -> Stream:
    return run(events)


def again(stream: Stream, event: Sent) -> Stream:
    """Count an event a second time: nothing remembers that it was there."""
    rows = stream.engine.state.learners.rows
    kept = {name: rows[name].copy() for name in BOOKKEEPING}
    for name in BOOKKEEPING:
        rows[name] = 0
    changes = stream.feed([event])
    assert changes.learner_rows, "the event was recognised"
    for name in BOOKKEEPING:
        rows[name] = kept[name]
    stream.learner_rows.update(layout.encode_learners(rows))
    return stream


def judged(expected: Expected, stream: Stream) -> Report:
    return compare(expected, found(stream))


def named(place: int) -> str:
    body = EVENTS[place].body
    return f"learner {body['user_id']}: {body['event_id']}"


def test_the_same_events_in_other_batches_differ_in_nothing(expected: Expected) -> None:
    stream = Stream()
    for start in range(0, len(EVENTS), 37):
        stream.feed(EVENTS[start : start + 37])
    report = judged(expected, stream)
    assert report.clean, str(report)
    assert report.compared["rows"] > 10
    assert report.compared["predictions"] > 10
    assert report.published == len(EVENTS)


def test_a_lost_event_is_found_and_named(expected: Expected) -> None:
    report = judged(expected, folded(EVENTS[:ONE] + EVENTS[ONE + 1 :]))
    assert (report.lost, report.twice) == ([named(ONE)], [])
    assert report.rows
    assert not report.clean


def test_an_event_counted_twice_is_found_and_named(expected: Expected) -> None:
    report = judged(expected, again(folded(EVENTS), EVENTS[ONE]))
    assert (report.lost, report.twice) == ([], [named(ONE)])
    assert any("applied" in text for text in report.rows), report.rows


def test_a_loss_and_a_double_count_that_cancel_are_both_found(expected: Expected) -> None:
    stream = again(folded(EVENTS[:ONE] + EVENTS[ONE + 1 :]), EVENTS[OTHER])
    user = b"%d" % EVENTS[ONE].body["user_id"]
    counts = [
        layout.decode_learners([rows[user]])["applied"] for rows in (expected.rows, stream.learner_rows)
    ]
    assert counts[0] == counts[1], "they do not cancel: the test says nothing"
    report = judged(expected, stream)
    assert (report.lost, report.twice) == ([named(ONE)], [named(OTHER)])


def test_a_learner_who_is_missing_loses_every_event(expected: Expected) -> None:
    there = found(folded(EVENTS))
    del there.rows[b"2"]
    report = compare(expected, there)
    mine = {EVENTS[place].body["event_id"] for place in COUNTED if EVENTS[place].body["user_id"] == 2}
    assert report.lost == [f"learner 2: {name}" for name in sorted(mine, key=_place)]


def _place(name: str) -> int:
    return next(place for place, event in enumerate(EVENTS) if event.body.get("event_id") == name)


def test_many_lost_events_are_counted_where_they_cannot_be_named(expected: Expected) -> None:
    user = EVENTS[ONE].body["user_id"]
    gone = [place for place in COUNTED if EVENTS[place].body["user_id"] == user][20:40]
    report = judged(expected, folded(event for place, event in enumerate(EVENTS) if place not in gone))
    assert len(report.lost) == len(gone)


def test_one_byte_of_a_row_is_a_difference_and_its_column_is_named(expected: Expected) -> None:
    there = found(folded(EVENTS))
    key = next(key for key in sorted(there.rows) if b"|" in key)
    raw = bytearray(there.rows[key])
    raw[3] ^= 1
    there.rows[key] = bytes(raw)
    report = compare(expected, there)
    assert len(report.rows) == 1
    assert "differs in" in report.rows[0]
    assert len(report.stored_rows) == 1


def test_a_prediction_that_is_older_than_its_rows_is_a_difference(expected: Expected) -> None:
    there = found(folded(EVENTS))
    key = next(key for key in there.predictions if key[0] == "dropout-risk")
    there.predictions[key] |= {"risk_score": 0.123}
    assert [text.split(")")[0] for text in compare(expected, there).predictions] == [f"{key}".rstrip(")")]


def test_postgres_behind_the_topic_is_a_difference_though_its_contents_agree(expected: Expected) -> None:
    there = found(folded(EVENTS))
    there.stored = {key: dict(record) for key, record in there.predictions.items()}
    assert compare(expected, there).clean
    key = next(key for key in there.stored if key[0] == "timing")
    there.stored[key]["prediction_id"] = "0" * 32
    report = compare(expected, there)
    assert len(report.stored) == 1
    assert "comes from prediction 000" in report.stored[0]


def value(number: str, version: int, score: float) -> bytes:
    record = {"prediction_id": number * 32, "version": version, "risk_score": score}
    return json.dumps(record, separators=(",", ":")).encode()


def test_an_id_with_two_contents_is_found_though_a_newer_record_covers_it() -> None:
    log = [(b"1", value("a", 1, 0.1)), (b"2", value("b", 1, 0.2)), (b"1", value("a", 1, 0.1))]
    log.append((b"1", value("c", 2, 0.4)))
    read = predictions_of(log)
    assert (read.newest[b"1"], read.ambiguous, read.older) == (log[-1][1], [], [])
    assert predictions_of([*log[:1], (b"1", value("a", 1, 0.3)), *log[1:], (b"2", None)]).ambiguous == [
        "a" * 32
    ]


def test_a_prediction_and_a_row_older_than_the_one_before_are_found() -> None:
    log = [(b"1", value("a", 5, 0.1)), (b"1", value("b", 4, 0.1)), (b"1", value("c", 6, 0.1))]
    assert predictions_of(log).older == ["1: version 4 after 5"]
    rows = [folded(EVENTS[:count]).learner_rows[b"1"] for count in (300, 200, 400)]
    assert len(rows_of([(b"1", row) for row in rows]).older) == 1
    assert rows_of([(b"1", row) for row in (rows[1], rows[0], rows[2])]).older == []


def test_the_report_says_every_number(expected: Expected) -> None:
    text = str(judged(expected, folded(EVENTS[:ONE] + EVENTS[ONE + 1 :])))
    for line in ("events published: 400", "lost: 1", "counted twice: 0", "ids with two contents: 0"):
        assert line in text.splitlines()

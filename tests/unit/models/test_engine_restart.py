"""The engine: what it sends is what it thinks, sweeps in any pieces, and a restart does not show."""

from __future__ import annotations

import json
import random

import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.engine import Engine
from lyo.models.state import layout
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.layout import LayoutError
from lyo.models.state.plateau_window import LEAST_ATTEMPTS
from tests.support.learners.building import START, Stream, columns, completion, iso, request, session
from tests.support.learners.engines import comparable, fading
from tests.support.learners.sampled import sample_catalogue


@pytest.mark.parametrize("value", [b"", b"\x00", b"\x03" + bytes(5000), b"\x01short", b"\x02short"])
def test_a_row_of_an_unknown_layout_is_refused(value: bytes) -> None:
    with pytest.raises(LayoutError, match=r"layout|bytes"):
        Engine(Catalogue()).load([(b"1", value)], [], [])
    with pytest.raises(LayoutError, match=r"layout|bytes"):
        Engine(Catalogue()).load([], [(b"1|a", value)], [])


@pytest.mark.parametrize("key", [b"1", b"|a", b"x|a", b"-1|a"])
def test_a_skill_row_under_a_wrong_key_is_refused(key: bytes) -> None:
    value = Stream().feed([completion(1, START, "a")]).skill_rows[0][1]
    with pytest.raises(LayoutError, match="user"):
        Engine(Catalogue()).load([], [(key, value)], [])


def test_the_sweep_record_is_no_learner() -> None:
    stream = Stream()
    stream.feed([session(1, START)])
    stream.sweep(START + 3 * DAY)
    assert layout.SWEEP_KEY in stream.learner_rows
    again = stream.restored()
    assert again.engine.sweeping.until == START + 3 * DAY
    assert len(again.engine.state.learners) == 1


def test_a_batch_before_the_last_was_committed_is_refused() -> None:
    engine = Engine(Catalogue())
    engine.apply(columns([session(1, START)]))
    with pytest.raises(RuntimeError, match="build the engine again"):
        engine.apply(columns([session(1, START)]))
    with pytest.raises(RuntimeError, match="build the engine again"):
        engine.sweep(START + DAY)


def test_as_of_is_the_newest_event_or_the_last_boundary() -> None:
    stream = Stream()
    stream.feed([session(1, START + HOUR)])
    assert stream.one("dropout-risk", "1")["as_of"] == iso(START + HOUR)
    stream.sweep(START + 20 * HOUR)
    assert stream.one("dropout-risk", "1")["as_of"] == iso(START + HOUR)
    stream.sweep(START + 3 * DAY + 2 * HOUR)
    swept = stream.one("dropout-risk", "1")["as_of"]
    assert iso(START + 3 * DAY) <= swept < iso(START + 3 * DAY + HOUR)
    stream.feed([session(1, START + 2 * DAY)])
    assert stream.one("dropout-risk", "1")["as_of"] == swept
    stream.feed([session(1, START + 4 * DAY)])
    assert stream.one("dropout-risk", "1")["as_of"] == iso(START + 4 * DAY)


def test_a_learner_is_swept_once_a_day_and_given_up_after_120_days() -> None:
    stream = Stream()
    stream.feed([session(1, START + HOUR)])
    for hours in range(0, 24 * 6, 3):
        stream.sweep(START + hours * HOUR)
    assert stream.counted("swept") == 5
    stream.sweep(START + 400 * DAY)
    assert stream.counted("swept") == 6
    assert not stream.engine.due(START + 4000 * DAY)
    assert stream.one("dropout-risk", "1")["as_of"] <= iso(START + 121 * DAY)
    stream.feed([session(1, START + 401 * DAY)])
    assert stream.engine.due(START + 403 * DAY)


def test_an_active_learner_gets_risk_and_timing_every_day_even_unchanged() -> None:
    stream = Stream()
    stream.feed([session(1, START + number * DAY) for number in range(5)])
    sent = []
    for number in range(1, 30):
        before = len(stream.changes)
        stream.sweep(START + (4 + number) * DAY + 2 * HOUR)
        sent.append(sum(len(one.predictions.get("timing", ())) for one in stream.changes[before:]))
    assert sent[:6] == [1] * 6
    assert sum(sent) < 29


def test_a_request_follows_the_learner_for_a_week_and_keeps_its_first_answer() -> None:
    stream = Stream()
    asked = request(1, START, content_id="c", prerequisites=["p"], difficulty_rating=0.9)
    stream.feed([completion(1, START - HOUR, "p", score=0.1), asked])
    first = stream.sent["struggle", b"1|c"]
    practice = [completion(1, START + number * HOUR, "p", score=1.0) for number in range(1, 8)]
    stream.feed(practice)
    later = stream.sent["struggle", b"1|c"]
    assert later["struggle_probability"] < first["struggle_probability"]
    assert later["answered"] == first["answered"]
    assert later["answered"]["probability"] == first["struggle_probability"]
    stream.feed([completion(1, START + 8 * DAY, "p", score=0.0)])
    assert stream.sent["struggle", b"1|c"] == later
    assert ("struggle", b"1|c") not in stream.current()


def test_only_the_four_newest_contents_asked_about_are_followed() -> None:
    asked = [request(1, START + number, content_id=f"c{number}") for number in range(6)]
    random.Random(1).shuffle(asked)
    stream = Stream()
    for one in asked:
        stream.feed([one])
    followed = {key for kind, key in stream.current() if kind == "struggle"}
    assert followed == {b"1|c2", b"1|c3", b"1|c4", b"1|c5"}
    assert {key for kind, key in stream.sent if kind == "struggle"} == {b"1|c%d" % n for n in range(6)}


def test_of_two_requests_about_a_content_in_one_batch_the_newer_is_the_last_record() -> None:
    stream = Stream()
    changes = stream.feed(
        [
            request(1, START, content_id="c", name="old", difficulty_rating=0.1),
            request(1, START + 1, content_id="c", name="new", difficulty_rating=0.9),
        ]
    )
    answers = [json.loads(value or b"")["request_id"] for _, value in changes.predictions["struggle"]]
    assert answers == ["old", "new"]


def test_a_plateau_undone_by_a_late_event_is_deleted() -> None:
    stream = Stream()
    stream.feed(
        [completion(1, START + number * DAY, "s", score=1.0 - number % 2) for number in range(LEAST_ATTEMPTS)]
    )
    assert stream.sent["plateaus", b"1|s"]["is_active"]
    changes = stream.feed([completion(1, START + number * HOUR, "s", score=0.0) for number in range(1, 4)])
    assert changes.predictions["plateaus"] == [(b"1|s", None)]
    assert ("plateaus", b"1|s") not in stream.current()


def test_a_regression_undone_by_late_events_is_deleted() -> None:
    stream = Stream()
    stream.feed(fading(START))
    stream.sweep(START + 60 * DAY)
    assert stream.sent["regressions", b"1|s"]["is_active"]
    changes = stream.feed([completion(1, START + day * DAY, "s", score=1.0) for day in range(9, 13)])
    assert changes.predictions["regressions"] == [(b"1|s", None)]
    assert ("regressions", b"1|s") not in stream.current()


def test_practice_of_a_prerequisite_alone_changes_what_a_plateau_suggests() -> None:
    stream = Stream(sample_catalogue())
    stream.feed([completion(1, START, "fractions", score=0.0) for _ in range(3)])
    stream.feed(
        [
            completion(1, START + number * DAY, "algebra", score=1.0 - number % 2)
            for number in range(LEAST_ATTEMPTS)
        ]
    )
    assert stream.sent["plateaus", b"1|algebra"]["intervention_suggested"].startswith("Review fractions")
    again = stream.restored()
    for each in (stream, again):
        each.feed(
            [
                completion(1, START + LEAST_ATTEMPTS * DAY, "fractions", score=1.0, name=f"f{n}")
                for n in range(8)
            ]
        )
        assert not each.sent["plateaus", b"1|algebra"]["intervention_suggested"].startswith("Review")


def test_a_learner_who_comes_back_after_being_given_up_has_current_skills() -> None:
    stream = Stream()
    stream.feed(fading(START))
    stream.sweep(START + 140 * DAY)
    before = stream.sent["regressions", b"1|s"]["days_since_practice"]
    stream.feed([session(1, START + 139 * DAY)])
    assert stream.sent["regressions", b"1|s"]["days_since_practice"] > before
    assert comparable(stream.sent, stream.current()) == comparable(stream.current(), stream.current())


def test_a_request_is_read_again_when_the_learners_organization_becomes_known() -> None:
    stream = Stream(sample_catalogue())
    stream.feed([completion(1, START, "algebra", score=0.0), request(1, START, content_id="lesson-x")])
    assert stream.sent["struggle", b"1|lesson-x"]["prereq_mastery"] is None
    stream.feed([session(1, START, organization_id=8)])
    assert stream.sent["struggle", b"1|lesson-x"]["prereq_mastery"] is not None

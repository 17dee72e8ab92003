"""History is not silence: nobody is judged by a file of old events until the last of it has come."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.backfill import HISTORY_KEY, LONGEST, SETTLE
from lyo.models.engine import Engine
from lyo.models.erasure import ErasureMarker
from lyo.models.events.decode import Kind, decode
from lyo.models.predictions.records import IDENTITY_FREE
from lyo.models.state.catalogue import Catalogue
from tests.support.learners.building import (
    START,
    Sent,
    Stream,
    columns,
    learner_row,
    session,
    stored,
    without,
)
from tests.support.learners.interventions import habit, of_dropout
from tests.support.learners.sampled import batches, sample_catalogue

TODAY = START + 40 * DAY
"""When the history is published; no other events come."""


def test_a_learner_of_whom_history_comes_is_not_judged_until_it_has_settled() -> None:
    stream = Stream()
    stream.feed(habit(1, 6), TODAY)
    stream.sweep(TODAY + 1_000, read_until=TODAY + 1_000)
    assert not stream.interventions, "the rest of the file is still to come"
    assert stream.one("dropout-risk", "1")["as_of"] < "2026-03-09", "no silence is seen either"
    stream.feed(habit(1, 34, first=6), TODAY + SETTLE - 1)
    stream.sweep(TODAY + SETTLE, read_until=TODAY + SETTLE)
    assert not stream.interventions
    settled = TODAY + 2 * SETTLE
    stream.sweep(settled, read_until=settled)
    assert stream.engine.sweeping.until == settled
    assert not of_dropout(stream), "the learner was there yesterday"
    assert stream.one("dropout-risk", "1")["risk_level"] == "low"


def test_the_sweep_after_history_decides() -> None:
    stream = Stream()
    stream.feed(habit(1, 6), TODAY)
    assert HISTORY_KEY + b"1" in stream.learner_rows
    stream.sweep(TODAY + SETTLE, read_until=TODAY + SETTLE)
    assert {one["audience"] for one in of_dropout(stream)} == {"learner", "educator"}
    assert HISTORY_KEY + b"1" not in stream.learner_rows, "what is settled is not held at a restore"
    before = dict(stream.interventions)
    stream.sweep(TODAY + SETTLE + HOUR, read_until=TODAY + SETTLE + HOUR)
    assert stream.interventions == before


def test_others_are_swept_meanwhile() -> None:
    stream = Stream()
    stream.feed([session(2, TODAY - HOUR)], TODAY)
    stream.sweep(TODAY + 1_000, read_until=TODAY + 1_000)
    stream.feed(habit(1, 6), TODAY + DAY)
    stream.sweep(TODAY + DAY + 2 * HOUR, read_until=TODAY + DAY + 1_000)
    as_of = {user: stream.one("dropout-risk", user)["as_of"] for user in ("1", "2")}
    assert as_of["2"] > "2026-04-12"
    assert as_of["1"] < "2026-03-09"


def test_who_was_judged_before_is_judged_again_by_what_history_adds() -> None:
    stream = Stream()
    stream.feed(habit(1, 6), TODAY)
    stream.sweep(TODAY + SETTLE, read_until=TODAY + SETTLE)
    assert len(of_dropout(stream, status="active")) == 2
    boundary = stream.one("dropout-risk", "1")["as_of"]
    stream.feed(habit(1, 30, first=9), TODAY + HOUR)
    assert stream.one("dropout-risk", "1")["as_of"] == boundary, "time does not run backwards"
    assert not of_dropout(stream, status="active")
    assert not stream.engine.due(TODAY + HOUR, TODAY + HOUR)
    assert stream.engine.due(TODAY + HOUR, TODAY + HOUR + SETTLE), "at the same boundary, once more"
    stream.sweep(TODAY + HOUR, read_until=TODAY + HOUR + SETTLE)
    assert not stream.engine.due(TODAY + HOUR, TODAY + HOUR + SETTLE)


def test_where_late_events_never_end_nobody_waits_for_longer_than_a_day() -> None:
    stream = Stream()
    stream.feed(habit(1, 6), TODAY)
    for hour in range(1, 25):
        stream.feed([session(2, START)], TODAY + hour * HOUR)
    now = TODAY + DAY
    assert stream.engine.due(now, TODAY + LONGEST)
    stream.sweep(now, read_until=TODAY + LONGEST)
    assert {one["user_id"] for one in of_dropout(stream)} == {1}


def story(seed: int) -> list[Sent]:
    """Learners with habits that end, some by and by, one of them of yesterday."""
    rng = random.Random(seed)
    made = habit(1, rng.randrange(8, 30)) + habit(2, 39, hour=rng.randrange(24)) + habit(3, 20)
    for user in (1, 2, 3, 4):
        days = rng.sample(range(39), 9)
        made += [session(user, START + day * DAY + rng.randrange(20) * HOUR) for day in days]
    made.sort(key=lambda one: str(one.body.get("occurred_at") or one.body.get("started_at")))
    return made


@settings(max_examples=15, deadline=None)
@example(7)
@given(st.integers(0, 2**32))
def test_a_file_gives_the_same_however_it_comes_and_whatever_is_restarted(seed: int) -> None:
    rng, events = random.Random(seed), story(seed)
    whole = Stream(sample_catalogue())
    whole.feed(events)
    now = TODAY + HOUR
    whole.sweep(now)
    stream, clock = Stream(sample_catalogue()), TODAY
    for piece in batches(rng, events, 60):
        stream.feed(piece, clock)
        if rng.random() < 0.2:
            stream = stream.restored()
        clock += rng.randrange(SETTLE)
        stream.sweep(clock, rng.choice((None, 1)), read_until=clock)
        assert not stream.interventions
    if rng.random() < 0.5:
        stream = stream.restored()
    assert clock < now
    stream.sweep(now, rng.choice((None, 1)), read_until=clock + SETTLE)
    assert stream.interventions == whole.interventions
    assert whole.interventions, "nothing was decided: the test says nothing"
    assert all(one["status"] == "active" for one in stream.told)
    assert stored(stream.engine) == stored(whole.engine)
    assert without(stream.current(), IDENTITY_FREE) == without(whole.current(), IDENTITY_FREE)
    assert without(stream.sent, IDENTITY_FREE) == without(whole.sent, IDENTITY_FREE)


def test_a_header_makes_a_recent_event_history() -> None:
    body = b'{"event_id": "a", "user_id": 1, "occurred_at": "2026-03-02T00:00:00Z", "sentiment": 0}'
    at = START + DAY
    for recorded, marked, history in (
        (at, [False, True], [0, at]),
        (at + 1, [False, True], [at + 1, at + 1]),
        (at + 1, None, [at + 1, at + 1]),
        (-1, [False, True], [0, 1]),
    ):
        found, _ = decode(Kind.SENTIMENT, None, [body, body], [recorded] * 2, marked=marked)
        assert found.history is not None
        assert found.history.tolist() == history
    found, _ = decode(Kind.SENTIMENT, None, [body], [at])
    assert found.history is None


def test_an_erased_learner_takes_in_nothing() -> None:
    stream = Stream()
    stream.feed(habit(1, 6), TODAY)
    stream.engine.erasing.markers.add(1, ErasureMarker(TODAY), on_topic=True)
    stream.engine.commit(stream.engine.erase(stream.engine.pending(0, 1)))
    assert not stream.engine.due(TODAY + DAY, TODAY + DAY)


@pytest.mark.parametrize("written", [1, 2])
def test_no_reader_of_the_layout_before_sees_a_record_that_it_does_not_know(written: int) -> None:
    engine = Engine(Catalogue(), write_layout=written)
    changes = engine.apply(columns(habit(1, 6), TODAY))
    engine.commit(changes)
    assert (HISTORY_KEY + b"1" in dict(changes.learner_rows)) == (written == 2)
    assert not engine.due(TODAY, TODAY), "in memory it holds in any case"


def test_a_move_amid_history_leaves_the_learner_unswept() -> None:
    """The partition was swept long ago: that sweep has not passed the learner by."""
    stream = Stream(sample_catalogue())
    stream.feed([session(2, TODAY - 2 * DAY)])
    stream.sweep(TODAY)
    stream.feed(habit(1, 6, organization_id=7), TODAY + 1)
    assert stream.one("dropout-risk", "1")["as_of"] < "2026-03-09"
    assert np.all(learner_row(stream, 1)["applied"] == 12)
    stream.sweep(TODAY + 1, read_until=TODAY + 1 + SETTLE)
    assert of_dropout(stream)

"""Stored rows of every layout: each is read by this version, and the one before can still be written."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lyo.models.engine import Engine
from lyo.models.state import layout, layout_1, skill
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.layout import LAYOUT, LAYOUTS, LayoutError
from lyo.models.state.learner import EVENT_IDS, LEARNER, RING_KINDS
from lyo.models.state.mastery import NO_STRENGTH, PEAK_ATTEMPTS
from lyo.models.state.reviews import NO_REVIEW
from lyo.models.state.skill import MEMORY
from lyo.streams.settings import Settings
from tests.support.learners.building import START, Stream, completion, run, session, stored
from tests.support.learners.sampled import batches, lives, sample_catalogue

BEFORE = LAYOUT - 1
SHARED = ("user", "organization", "newest", "first", "last_session", "last_completion")


def older(events: int = 200, seed: int = 5) -> Stream:
    """A stream whose rows are written in the layout before."""
    stream = Stream(sample_catalogue())
    stream.engine = Engine(sample_catalogue(), write_layout=BEFORE)
    stream.feed(lives(seed, events))
    return stream


def in_layout_before(engine: Engine) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """All rows as the layout before has them: what it lacks is left out."""
    skills = engine.state.encode_skills(np.arange(len(engine.state.skills)), BEFORE)
    return dict(layout.encode_learners(engine.state.learners.rows, BEFORE)), dict(skills)


def test_the_setting_offers_the_last_two_layouts() -> None:
    assert Settings.model_fields["write_layout"].default == LAYOUT
    for number in LAYOUTS[-2:]:
        assert Settings(write_layout=number).write_layout == number
    for number in (BEFORE - 1, LAYOUT + 1):
        with pytest.raises(ValueError, match="write_layout"):
            Settings(write_layout=number)


def test_columns_that_sql_reads_are_where_they_were() -> None:
    for dtype in (LEARNER, layout_1.LEARNER):
        assert dtype.fields is not None
        assert [dtype.fields[name][1] for name in SHARED] == list(range(0, 48, 8))


ESTIMATED = {
    *("right", "difficulty", "peak_strength", "regressed_since", "regressions", "strength", "review_days"),
    *(name for name in MEMORY.names or () if name.startswith("window_")),
    *("struggles", "tries", "usual_time", "timed", "struggled", "tried", "all_struggled", "all_tried"),
}
"""Columns that layout 1 does not hold, so that they are estimated or begin anew."""


def held_by_both(stream: Stream) -> list[bytes]:
    """What both layouts hold of all learners and skills."""
    found = []
    for table in (stream.engine.state.learners, stream.engine.state.skills):
        rows = table.rows[np.argsort(table.rows, order="user", kind="stable")]
        for part in [rows, *(rows[name] for name in ("now", "before") if name in (rows.dtype.names or ()))]:
            names = [
                name
                for name in part.dtype.names or ()
                if name not in ESTIMATED and part.dtype[name].names is None
            ]
            found += [part[name].tobytes() for name in names]
    return found


def test_what_the_layout_before_holds_is_not_lost_by_writing_it() -> None:
    present, before = run(lives(5, 200), sample_catalogue()), older()
    assert {value[0] for value in (before.learner_rows | before.skill_rows).values()} == {BEFORE}
    again = before.restored()
    assert held_by_both(again) == held_by_both(before) == held_by_both(present)


def test_what_the_layout_before_does_not_hold_is_estimated() -> None:
    rows = older().restored().engine.state.skills.rows
    now = rows["now"]
    practised = now["scored"] > 0
    assert practised.any()
    level = (now["hits"] / np.maximum(now["weight"], 1))[practised]
    assert np.abs(now["right"][practised] - now["scored"][practised] * level).max() <= 0.5
    assert ((now["peak_strength"] == NO_STRENGTH) == (now["scored"] < PEAK_ATTEMPTS)).all()
    assert (now["window_attempts"] == 0).all()
    assert (rows["strength"][np.arange(skill.HELD) < rows["held"][:, None]] == NO_REVIEW).all()


def test_a_worker_goes_on_from_rows_of_the_layout_before() -> None:
    rng, events = random.Random(3), lives(9, 300)
    whole = run(events, sample_catalogue())
    stream = Stream(sample_catalogue())
    stream.engine = Engine(sample_catalogue(), write_layout=BEFORE)
    stream.feed(events[:150])
    stream = stream.restored()
    # The last events again: they are recognised by the rings that were read.
    for piece in batches(rng, events[120:]):
        stream.feed(piece)
    learners = [table.engine.state.learners.rows for table in (stream, whole)]
    for name in set(LEARNER.names or ()) - ESTIMATED:
        assert learners[0][name].tobytes() == learners[1][name].tobytes(), name
    assert {value[0] for value in stored(stream.engine)[0].values()} == {LAYOUT}
    known = [
        {key for key in each.current() if key[0] not in {"plateaus", "regressions"}}
        for each in (stream, whole)
    ]
    assert known[0] == known[1]


def test_rows_of_the_layout_before_tell_struggles_by_their_scores() -> None:
    events = [completion(1, START + number, "s", score=float(number % 3 > 0)) for number in range(20)]
    whole, stream = run(events), Stream()
    stream.engine = Engine(Catalogue(), write_layout=BEFORE)
    stream.feed(events)
    again = stream.restored()
    mine, theirs = (one.engine.state.learners.rows for one in (again, whole))
    for name in ("tried", "struggled", "all_tried", "all_struggled"):
        assert mine[name].tobytes() == theirs[name].tobytes()
    mine, theirs = (one.engine.state.skills.rows for one in (again, whole))
    assert mine["struggled"].tolist() == theirs["struggled"].tolist()
    shares = [rows["now"]["struggles"] / rows["now"]["tries"] for rows in (mine, theirs)]
    assert shares[0] == pytest.approx(shares[1], abs=0.1)


def test_one_topic_may_hold_rows_of_both_layouts() -> None:
    rows = run(lives(5, 200)).engine.state.learners.rows
    values = [
        layout.encode_learners(rows[place : place + 1], number)[0][1]
        for place, number in zip(range(len(rows)), [LAYOUT, BEFORE, LAYOUT], strict=True)
    ]
    read = layout.decode_learners(values)
    assert layout.encode_learners(read, BEFORE) == layout.encode_learners(rows, BEFORE)
    assert read[0].tobytes() == rows[0].tobytes()


def test_a_row_from_before_a_kind_had_a_ring_is_read() -> None:
    stream = run([session(1, START + number, name=f"e{number}") for number in range(3)])
    value = stream.learner_rows[b"1"]
    [row] = layout.decode_learners([value[: -EVENT_IDS.itemsize]])
    assert row["rings"]["count"].tolist() == [0, 3, 0]
    [row] = layout.decode_learners([value[: -2 * EVENT_IDS.itemsize]])
    assert row["rings"]["count"].tolist() == [0, 0, 0]
    assert row["sessions"] == 3


def test_rings_of_kinds_that_a_later_version_has_are_left_out() -> None:
    value = run([session(1, START)]).learner_rows[b"1"]
    assert layout.decode_learners([value + bytes(EVENT_IDS.itemsize)]) == layout.decode_learners([value])


def test_rings_are_where_they_were() -> None:
    """The order of the kinds is part of the stored rows."""
    assert [kind.value for kind in RING_KINDS[:3]] == ["lesson_completion", "session", "sentiment"]
    assert LEARNER.names is not None
    assert LEARNER.names[-1] == "rings"


@pytest.mark.parametrize("cut", [1, EVENT_IDS.itemsize - 1, len(RING_KINDS) * EVENT_IDS.itemsize])
@pytest.mark.parametrize("number", LAYOUTS)
def test_a_row_that_was_cut_is_refused(cut: int, number: int) -> None:
    rows = run([session(1, START)]).engine.state.learners.rows
    [(_, value)] = layout.encode_learners(rows, number)
    with pytest.raises(LayoutError, match=f"{number} has {len(value) - cut} bytes: expected {len(value)}"):
        layout.decode_learners([value[:-cut]])


def test_columns_are_carried_by_name_as_far_as_both_reach() -> None:
    inner = np.dtype([("kept", "<i4"), ("added", "<i4")])
    old = np.ones(2, [("gone", "u1"), ("list", "<u2", (3,)), ("part", [("kept", "<i4")], (2,))])
    new = np.zeros(2, [("part", inner, (2,)), ("list", "<u2", (5,)), ("fresh", "<i8")])
    layout.carry(old, new)
    assert new["list"].tolist() == [[1, 1, 1, 0, 0]] * 2
    assert new["part"].tolist() == [[(1, 0), (1, 0)]] * 2
    assert new["fresh"].tolist() == [0, 0]

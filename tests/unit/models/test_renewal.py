"""A changed formula reaches the topics: after a restart what another model has computed is sent anew."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lyo.models.arrays import tzif
from lyo.models.arrays.coefficients import Hazard
from lyo.models.arrays.zones import DAY, HOUR, zone
from lyo.models.engine import Engine
from lyo.models.predictions.kinds import BY_NAME, KINDS
from lyo.models.predictions.records import IDENTITY_FREE
from lyo.models.renewal import MODELS_KEY, TZDATA
from lyo.models.state.layout import LAYOUT
from tests.support.learners.building import START, Stream, completion, preferences, session, without
from tests.support.learners.changed_formulas import changed
from tests.support.learners.fitted_hazards import shifted
from tests.support.learners.sampled import lives, sample_catalogue

END = START + 61 * DAY


@pytest.fixture(scope="module")
def lived() -> Stream:
    """Learners with predictions of every kind, swept."""
    stream = Stream(sample_catalogue())
    events = lives(5, 420, users=3, days=60)
    for start in range(0, len(events), 60):
        stream.feed(events[start : start + 60])
    stream.sweep(END)
    assert {kind for kind, _ in stream.sent} == set(BY_NAME)
    return stream


def agrees(stream: Stream) -> bool:
    """Whether the topics hold what the engine computes; of requests, those that it still follows."""
    free = IDENTITY_FREE | {"model"}
    now, sent = without(stream.current(), free), without(stream.sent, free)
    sent = {key: record for key, record in sent.items() if key[0] != "struggle" or key in now}
    return sent == now


def named(hazard: Hazard, model: str) -> Hazard:
    return dataclasses.replace(hazard, model=model)


def sweep_pieces(stream: Stream, most: int) -> list[int]:
    """Sweep piece by piece at the same instant; how many learners were sent anew in each."""
    found = []
    while stream.sweep_some(END, most):
        found.append(stream.changes[-1].counts["renewed"])
    return found


def models_of(stream: Stream) -> dict[str, str]:
    found: dict[str, str] = json.loads(stream.models[MODELS_KEY] or b"{}")
    return {name: model for name, model in found.items() if name in BY_NAME}


def tzdata_of(stream: Stream) -> str | None:
    """The release that the changelog names."""
    found: dict[str, str] = json.loads(stream.models[MODELS_KEY] or b"{}")
    return found.get(TZDATA)


@contextmanager
def other_zones(zones: dict[str, str], version: str) -> Iterator[None]:
    """Another release of the time zone database, in which some zones have the data of others."""
    read = tzif._read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tzif, "_read", lambda name: read(zones.get(str(name), str(name))))
        patch.setattr(tzif, "VERSION", version)
        _forget_zones()
        yield
    _forget_zones()


def _forget_zones() -> None:
    tzif.digests.cache_clear()
    zone.cache_clear()


def test_the_changelog_says_which_models_have_computed_what_was_sent(lived: Stream) -> None:
    assert models_of(lived) == {kind.name: kind.model for kind in KINDS}
    assert sum(MODELS_KEY in dict(changes.learner_rows) for changes in lived.changes) == 1


def test_nothing_is_sent_anew_by_the_same_models(lived: Stream) -> None:
    assert sweep_pieces(lived.restored(), 1) == []


@pytest.mark.parametrize("kind", sorted(BY_NAME))
def test_a_changed_formula_reaches_the_topic(lived: Stream, kind: str) -> None:
    with changed([kind]):
        stream = lived.restored()
        assert not agrees(stream), "the change changes nothing: the test says nothing"
        assert sweep_pieces(stream, 1) == [1, 1, 1]
        assert agrees(stream)
        assert models_of(stream)[kind] == BY_NAME[kind].model
        sent = {name for changes in stream.changes for name, pairs in changes.predictions.items() if pairs}
        assert sent == {kind}
        models = {record["model"] for (of, _), record in stream.sent.items() if of == kind}
        assert BY_NAME[kind].model in models
        assert models == {BY_NAME[kind].model} or kind == "struggle"
        assert sweep_pieces(stream.restored(), 1) == []


def test_fitted_coefficients_reach_the_topic_and_others_after_them(lived: Stream) -> None:
    known, before = lived.engine.state.catalogue, lived
    for hazard in (named(shifted(2.0), "fitted+1"), named(shifted(-2.0), "fitted+2"), None):
        known.hazard = hazard
        try:
            stream = before.restored()
            assert not agrees(stream), "the coefficients change nothing: the test says nothing"
            assert sweep_pieces(stream, 2) == [2, 1]
        finally:
            known.hazard = None
        model = BY_NAME["dropout-risk"].model if hazard is None else hazard.model
        assert models_of(stream)["dropout-risk"] == model
        assert {record["model"] for (of, _), record in stream.sent.items() if of == "dropout-risk"} == {model}
        assert {name for changes in stream.changes for name, some in changes.predictions.items() if some} == {
            "dropout-risk"
        }
        before = stream
    assert without(before.sent, IDENTITY_FREE) == without(lived.sent, IDENTITY_FREE)


def test_what_the_old_formula_said_and_the_new_does_not_is_deleted(lived: Stream) -> None:
    said = {key for key in lived.sent if key[0] == "regressions"}
    assert said
    with changed(["regressions"], compute=lambda _, skills, __: [None] * len(skills.names)):
        stream = lived.restored()
        sweep_pieces(stream, 2)
        assert not said & stream.sent.keys()
        assert agrees(stream)


def test_events_need_not_wait_and_send_the_new_formula_at_once(lived: Stream) -> None:
    with changed(["dropout-risk"]):
        stream = lived.restored()
        stream.feed([session(1, END + 1)])
        assert stream.sent["dropout-risk", b"1"]["model"] == BY_NAME["dropout-risk"].model
        assert "dropout-risk" not in models_of(stream), "some of the other model's are left"
        sweep_pieces(stream, 1)
        assert agrees(stream)


@pytest.mark.parametrize("pieces", [0, 1, 2])
def test_a_way_back_before_all_was_sent_anew_sends_the_old_formulas_anew(lived: Stream, pieces: int) -> None:
    with changed(["timing"]):
        stream = lived.restored()
        stream.feed([completion(1, END + 1, "algebra")])
        for _ in range(pieces):
            stream.sweep_some(END, 1)
    stream = stream.restored()
    assert not agrees(stream)
    assert sweep_pieces(stream, 2) == [2, 1]
    assert agrees(stream)
    assert models_of(stream) == {kind.name: kind.model for kind in KINDS}


def test_who_was_erased_meanwhile_is_not_sent_anew(lived: Stream) -> None:
    with changed(["timing"]):
        stream = lived.restored()
        stream.engine.erasing.forget(2)
        assert sweep_pieces(stream, 1) == [1, 0, 1]
        assert {key for changes in stream.changes for key, _ in changes.predictions.get("timing", [])} == {
            b"1",
            b"3",
        }


def test_rows_that_name_no_models_are_sent_anew(lived: Stream) -> None:
    stream = lived.restored()
    stream.models.clear()
    stream = stream.restored()
    assert sweep_pieces(stream, 5) == [3]
    assert models_of(stream) == {kind.name: kind.model for kind in KINDS}


def test_the_layout_before_names_none(lived: Stream) -> None:
    stream = Stream(sample_catalogue())
    stream.engine = Engine(sample_catalogue(), write_layout=LAYOUT - 1)
    stream.feed([session(1, START)])
    stream.sweep(START + DAY)
    assert not stream.models


def zoned() -> Stream:
    """Three learners with a timing profile each: of Vancouver, of Tokyo and of no known zone."""
    stream = Stream(sample_catalogue())
    for user, name in ((1, "America/Vancouver"), (2, "Asia/Tokyo")):
        stream.feed([preferences(user, START, timezone=name)])
    days = [session(user, START + day * DAY + 3 * HOUR) for day in range(30) for user in (1, 2, 3)]
    stream.feed(days)
    stream.sweep(END)
    return stream


def test_newer_time_zone_data_sends_anew_what_they_change() -> None:
    lived = zoned()
    assert tzdata_of(lived) == tzif.VERSION
    with other_zones({"America/Vancouver": "America/Phoenix"}, "2199z"):
        stream = lived.restored()
        assert not agrees(stream), "the zone's rules do not differ: the test says nothing"
        assert sweep_pieces(stream, 5) == [1]
        sent = [key for changes in stream.changes for key, _ in changes.predictions.get("timing", [])]
        assert sent == [b"1"]
        assert agrees(stream)
        assert tzdata_of(stream) == "2199z"
        assert sweep_pieces(stream.restored(), 5) == []
    # And back, as a worker of the release before would.
    assert sweep_pieces(stream.restored(), 5) == [1]


def test_a_release_that_changes_no_zone_of_a_learner_sends_nothing_and_is_recorded() -> None:
    with other_zones({"Europe/London": "Asia/Tokyo"}, "2199z"):
        stream = zoned().restored()
        assert sweep_pieces(stream, 5) == []
    lived = zoned()
    with other_zones({"Europe/London": "Asia/Tokyo"}, "2199z"):
        stream = lived.restored()
        assert sweep_pieces(stream, 5) == []
        stream.feed([session(3, END + 1)])
        assert tzdata_of(stream) == "2199z"


def test_a_way_back_before_all_was_sent_anew_sends_all_of_local_time_anew() -> None:
    lived = zoned()
    changes = {"America/Vancouver": "America/Phoenix", "Asia/Tokyo": "Asia/Kathmandu"}
    with other_zones(changes, "2199z"):
        stream = lived.restored()
        assert stream.sweep_some(END, 1)
        assert tzdata_of(stream) is None
    stream = stream.restored()
    assert sweep_pieces(stream, 5) == [3]
    assert agrees(stream)

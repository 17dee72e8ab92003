"""The marker: an erased learner stays erased in whatever order things come, and others do not notice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyo.models.arrays.zones import DAY
from lyo.models.engine import Engine
from lyo.models.erasure import (
    AppliedErasure,
    ErasureMarker,
    ErasureMarkers,
    applied_key,
    encode_applied,
    record_of,
)
from lyo.models.events.decode import Kind, decode
from lyo.models.state.layout import SWEEP_KEY
from tests.support.learners.building import START, Sent, Stream, by_kind, columns, iso
from tests.support.learners.lives import life
from tests.support.learners.sampled import lives, sample_catalogue

GONE, STAYS = 7, 8
ERASED = START + 40 * DAY
CONSENT = START + 50 * DAY


def erasure(markers: ErasureMarkers, user: int, asked: int, consent: int | None = None) -> None:
    body = {"event_id": f"x{user}-{asked}-{consent}", "user_id": user, "requested_at": iso(asked)}
    if consent is not None:
        body["consented_at"] = iso(consent)
    assert markers.put(b"%d" % user, json.dumps(body).encode(), max(asked, consent or 0)) is None


def erase(stream: Stream) -> None:
    """What a task does when an erasure marker is new: forget, and delete every key of these learners."""
    pending = stream.engine.pending(0, 1)
    if not pending:
        return
    look = [user for user in pending if stream.engine.erasing.needs_look(user)]
    stream.engine.commit(stream.engine.erase(pending))
    names = {str(user) for user in look}
    for kept in (stream.learner_rows, stream.skill_rows, stream.interventions, *stream.raw.values()):
        for key in [key for key in kept if key.decode().partition("|")[0] in names]:
            del kept[key]
    for place in [place for place in stream.sent if place[1].decode().partition("|")[0] in names]:
        del stream.sent[place]
    for user, marker in pending.items():
        said = AppliedErasure(user_id=user, erased_at=marker.erased_at, consented_at=marker.consented_at)
        stream.learner_rows[applied_key(user)] = encode_applied(said)


def state(stream: Stream) -> dict[str, dict[bytes, bytes]]:
    """Everything that is kept of everyone, but applied erasures and where the sweep stands."""
    rows = {key: value for key, value in stream.learner_rows.items() if not key.startswith(b"#")}
    predictions = {f"{kind}".encode() + b" " + key: value for kind, key, value in stream.engine.current()}
    return {"learners": rows, "skills": dict(stream.skill_rows), "predictions": predictions}


def of(user: int, kept: dict[str, dict[bytes, bytes]]) -> list[str]:
    name = str(user)
    keys = [key.decode().split(" ")[-1] for part in kept.values() for key in part]
    return [key for key in keys if key.split("|")[0] == name]


def stream_with(markers: ErasureMarkers) -> Stream:
    stream = Stream(sample_catalogue())
    stream.engine = Engine(stream.engine.state.catalogue, markers=markers)
    return stream


OLD = life(GONE, range(30))
OTHER = life(STAYS, range(0, 60, 2))
NEW = life(GONE, range(51, 60))


def expected(events: Sequence[Sent]) -> dict[str, dict[bytes, bytes]]:
    """The state of a stream that was only ever given these events, in the order of their times."""
    stream = Stream(sample_catalogue())
    stream.take(by_kind(events))
    return state(stream)


@settings(max_examples=25)
@given(st.data())
def test_any_order_of_old_events_and_the_erasure_gives_the_erased_result(data: st.DataObject) -> None:
    """Old events before, after, twice; the erasure once or again, in between a restart: as if never known."""
    old = data.draw(st.permutations(OLD))[: data.draw(st.integers(1, len(OLD)))]
    markers = ErasureMarkers()
    stream = stream_with(markers)
    cut = data.draw(st.integers(0, len(old)))
    parts = [old[:cut], old[cut:], OTHER, old[: data.draw(st.integers(0, 20))]]
    steps: list[list[Sent] | str] = [*parts, "erase"]
    for step in data.draw(st.permutations(steps)):
        if isinstance(step, str):
            erasure(markers, GONE, ERASED)
            erase(stream)
            if data.draw(st.booleans()):
                erasure(markers, GONE, ERASED - DAY)
                erase(stream)
        elif step:
            stream.take(by_kind(step))
        if data.draw(st.booleans()):
            stream = restarted(stream, markers)
    stream.sweep(START + 70 * DAY)
    assert of(GONE, state(stream)) == []
    only_other = Stream(sample_catalogue())
    only_other.take(by_kind(OTHER))
    only_other.sweep(START + 70 * DAY)
    assert state(stream) == state(only_other)


@settings(max_examples=15)
@given(st.data())
def test_after_consent_a_new_learner_begins_whatever_is_sent_again(data: st.DataObject) -> None:
    """Erasure and consent in any order, old events anywhere: only what came after the consent counts."""
    markers = ErasureMarkers()
    stream = stream_with(markers)
    stream.take(by_kind(OLD))
    for asked in data.draw(st.permutations([(ERASED, None), (ERASED - DAY, None), (CONSENT, CONSENT)])):
        erasure(markers, GONE, *asked)
        erase(stream)
        if data.draw(st.booleans()):
            stream.take(by_kind(OLD[: data.draw(st.integers(1, len(OLD)))]))
        if data.draw(st.booleans()):
            stream = restarted(stream, markers)
    mixed = data.draw(st.permutations([OLD, NEW, OTHER]))
    for some in mixed:
        stream.take(by_kind(some))
        erase(stream)
    assert state(stream) == expected([*NEW, *OTHER])


def restarted(stream: Stream, markers: ErasureMarkers) -> Stream:
    """The same from the topics, with the erasure markers read first, as far as the rows are carried out."""
    again = stream_with(markers)
    logs: list[dict[bytes, Any]] = [
        stream.learner_rows,
        stream.skill_rows,
        stream.raw.get("struggle", {}),
        stream.interventions,
    ]
    again.engine.load(*(list(log.items()) for log in logs))
    again.engine.loaded()
    again.learner_rows, again.skill_rows = dict(stream.learner_rows), dict(stream.skill_rows)
    again.raw = {kind: dict(values) for kind, values in stream.raw.items()}
    again.sent, again.interventions = dict(stream.sent), dict(stream.interventions)
    erase(again)
    return again


def test_a_restart_from_rows_older_than_the_erasure_erases_them_again() -> None:
    markers = ErasureMarkers()
    stream = stream_with(markers)
    stream.take(by_kind([*OLD, *OTHER]))
    assert of(GONE, state(stream))
    erasure(markers, GONE, ERASED)
    again = restarted(stream, markers)
    assert of(GONE, state(again)) == []
    assert of(STAYS, state(again)) == of(STAYS, state(stream))
    assert again.engine.pending(0, 1) == {}


def test_the_applied_erasure_keeps_the_marker_where_the_topic_has_lost_it() -> None:
    markers = ErasureMarkers()
    stream = stream_with(markers)
    erasure(markers, GONE, ERASED)
    erase(stream)
    forgetful = ErasureMarkers()
    again = restarted(stream, forgetful)
    again.take(by_kind(OLD))
    assert of(GONE, state(again)) == []
    assert forgetful.overtaken([GONE]) == [GONE]


def test_rows_and_requests_and_decisions_deleted_from_their_topics_are_not_restored() -> None:
    stream = Stream(sample_catalogue())
    stream.feed([*OLD, *OTHER])
    stream.sweep(START + 60 * DAY)
    logs: list[list[Any]] = []
    rows = stream.learner_rows | stream.models
    for log_of in (rows, stream.skill_rows, stream.raw["struggle"], stream.interventions):
        log = list(log_of.items())
        logs.append([*log, *((key, None) for key, _ in log if key.startswith(b"7"))])
    for pieces in (1, 5):
        again = stream_with(ErasureMarkers())
        for piece in range(pieces):
            again.engine.load(*(_piece(log, piece, pieces) for log in logs))
        again.engine.loaded()
        kept = {key for _, key, _ in again.engine.current()}
        assert kept
        assert not any(key.startswith(b"7") for key in kept)
        assert not again.engine.due(START + 60 * DAY)


def _piece(log: list[Any], piece: int, pieces: int) -> list[Any]:
    return log[piece * len(log) // pieces : (piece + 1) * len(log) // pieces]


def test_a_forgotten_learner_is_never_due_and_other_learners_keep_their_answers() -> None:
    markers = ErasureMarkers()
    stream = stream_with(markers)
    everyone = lives(3, 300, users=6, days=40)
    stream.take(by_kind(everyone))
    kept = {key: value for kind, key, value in stream.engine.current() if key.split(b"|")[0] != b"2"}
    erasure(markers, 2, START + 60 * DAY)
    erase(stream)
    assert {key: value for _, key, value in stream.engine.current()} == kept
    told = len(stream.changes)
    stream.sweep(START + 90 * DAY)
    keys = {
        key.split(b"|")[0]
        for changes in stream.changes[told:]
        for pairs in changes.predictions.values()
        for key, _ in pairs
    }
    assert keys
    assert b"2" not in keys
    assert b"0" not in keys


def test_erased_events_are_counted_and_leave_the_others_of_their_batch() -> None:
    markers = ErasureMarkers()
    stream = stream_with(markers)
    erasure(markers, GONE, ERASED)
    changes = stream.take(columns([*OLD[:5], *OTHER[:5]]))
    assert changes.counts["erased"] == 5
    assert changes.counts["applied"] + changes.counts["requests"] > 0
    assert {key for key, _ in changes.learner_rows if not key.startswith(b"#")} == {b"%d" % STAYS}


@pytest.mark.parametrize(
    ("marker", "at", "counts"),
    [
        (ErasureMarker(ERASED), CONSENT + DAY, False),
        (ErasureMarker(ERASED, CONSENT), CONSENT, True),
        (ErasureMarker(ERASED, CONSENT), CONSENT - 1, False),
        (ErasureMarker(ERASED, ERASED), CONSENT, False),  # a consent no newer than the erasure
        (ErasureMarker(CONSENT, ERASED), CONSENT + DAY, False),
    ],
)
def test_which_events_count(marker: ErasureMarker, at: int, counts: bool) -> None:
    assert marker.lets(np.array([at])).tolist() == [counts]


@given(st.lists(st.builds(ErasureMarker, st.integers(0, 9), st.integers(0, 9)), min_size=1), st.randoms())
def test_markers_are_the_same_in_any_order(markers: list[ErasureMarker], chance: object) -> None:
    def merged(some: list[ErasureMarker]) -> ErasureMarker:
        whole = some[0]
        for one in some[1:]:
            whole = whole.merged(one)
        return whole

    shuffled = [*markers, *markers]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merged(markers)[:2] == merged(shuffled)[:2]


@given(st.builds(ErasureMarker, st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 5)))
def test_a_marker_written_anew_is_read_as_the_same(marker: ErasureMarker) -> None:
    key, value = record_of(5, marker)
    _, rejected = decode(Kind.ERASURE, [key], [value], [10**13])
    assert rejected == []
    markers = ErasureMarkers()
    markers.put(key, value, CONSENT)
    found = markers.get(5)
    assert found is not None
    assert found.counts_from == marker.counts_from
    assert markers.overtaken([5]) == []


def test_an_old_record_or_a_tombstone_on_the_topic_lifts_nothing() -> None:
    markers = ErasureMarkers()
    erasure(markers, GONE, START, START + DAY)
    erasure(markers, GONE, ERASED)
    erasure(
        markers, GONE, START, START + DAY
    )  # the old consent, sent again: now the newest record of its key
    assert markers.overtaken([GONE, STAYS]) == [GONE]
    assert not markers.get(GONE).is_open  # type: ignore[union-attr]
    refused = markers.put(b"7", None)
    assert refused is not None
    assert "not taken back" in refused.reason
    assert markers.get(GONE) is not None
    assert markers.overtaken([GONE]) == [GONE]


def test_what_is_no_erasure_is_refused_by_its_field() -> None:
    markers = ErasureMarkers()
    body = {"event_id": "x", "user_id": 7, "requested_at": iso(START), "consented_at": "2026-03-01T00:00:00"}
    refused = markers.put(b"7", json.dumps(body).encode(), ERASED)
    assert refused is not None
    assert refused.field == "consented_at"
    late = json.dumps(body | {"consented_at": iso(START + 5 * DAY)}).encode()
    refused = markers.put(b"7", late, START)
    assert refused is not None
    assert refused.field == "consented_at"
    assert len(markers) == 0


def test_the_sweep_record_and_marks_stay_out_of_the_rows() -> None:
    markers = ErasureMarkers()
    stream = stream_with(markers)
    stream.take(by_kind([*OLD, *OTHER]))
    stream.sweep(START + 31 * DAY)
    erasure(markers, GONE, ERASED)
    erase(stream)
    assert {key for key in stream.learner_rows if key.startswith(b"#")} == {SWEEP_KEY, applied_key(GONE)}
    assert restarted(stream, markers).engine.sweeping.until == stream.engine.sweeping.until

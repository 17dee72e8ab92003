"""Whose a dead letter is, which offsets a task refuses, and what an erasure marker keeps out of Postgres."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from lyo.models.engine import Engine
from lyo.models.erasure import (
    ERASED_KEY,
    AppliedErasure,
    ErasureMarker,
    ErasureMarkers,
    applied_key,
    encode_applied,
)
from lyo.models.events.decode import Kind, Rejected
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.layout import encode_learners
from lyo.models.state.learner import empty_learners
from lyo.storage.sink.erasures import Gate, is_applied, learner_time, prediction_time, skill_time
from lyo.storage.sink.records import Item
from lyo.streams.dead_letters import encode
from lyo.streams.runtime.restore import (
    OffsetError,
    Restored,
    RestoreError,
    _load,
    committed_offsets,
    offsets_record,
)
from lyo.streams.runtime.tombstones import _owner, is_erased
from lyo.streams.settings import Settings
from lyo.streams.topics import Names
from tests.support.learners.building import START, by_kind, completion, iso, outcome

SESSIONS = TopicPartition("lyo.sessions", 0)
ROWS = TopicPartition("lyo.learner-rows", 0)
CLOSED, OPEN = ErasureMarker(START), ErasureMarker(START, START + 1_000)


def record(key: bytes | None, value: bytes | None, offset: int = 5, topic: str = "lyo.sessions") -> Any:
    return SimpleNamespace(topic=topic, partition=0, offset=offset, key=key, value=value, timestamp=START)


@pytest.mark.parametrize(
    ("key", "value", "whose"),
    [
        (b"7", b'{"user_id": 7}', {7}),
        (b"8", b'{"user_id": 7, "mood": 1}', {7, 8}),
        (b"7", b"\xff\x00", {7}),
        (b"7|skill", None, {7}),
        (None, b"[1]", set()),
        (b"x", b'{"user_id": "7"}', set()),
        (b"9" * 30, b'{"user_id": 1e999}', set()),
    ],
)
def test_whose_a_dead_letter_is(key: bytes | None, value: bytes | None, whose: set[int]) -> None:
    assert encode.learners(key, value) == whose
    _, letter = encode.dead_letter(record(key, value), Rejected(0, "bad", None), START)
    assert letter is not None
    assert encode.learners_of(letter) == encode.learners_of(letter, ["lyo.content"]) == whose


@pytest.mark.parametrize(
    ("topic", "owner"), [("lyo.sessions", 7), ("lyo.erasures", 7), ("lyo.content", None)]
)
def test_a_letter_about_a_content_is_no_learners(topic: str, owner: int | None) -> None:
    _, letter = encode.dead_letter(record(b"7", b"{", topic=topic), Rejected(0, "bad", None), START)
    assert _owner(Names(), record(b"x", letter, topic="lyo.dead-letters"), {7}) == owner


def test_what_is_no_letter_is_nobodys() -> None:
    for value in (b"", b"{", b"[]", b'{"key": 1}', b'{"value": "%%%"}'):
        assert encode.learners_of(value) == set()


@pytest.mark.parametrize(
    ("key", "topic", "forgotten"),
    [
        (b"7", "lyo.erasures", True),
        (b"7|s", "lyo.skill-rows", True),
        (b"8", "lyo.sessions", False),  # consented
        (b"9", "lyo.sessions", False),
        (b"7", "lyo.content", False),  # no learner's key
    ],
)
def test_of_whom_no_letter_is_kept(key: bytes, topic: str, *, forgotten: bool) -> None:
    markers = ErasureMarkers()
    markers.add(7, CLOSED)
    markers.add(8, OPEN)
    assert is_erased(markers, Names(), record(key, b"{", topic=topic)) is forgotten


# -- offsets -----------------------------------------------------------------------------------------------


class Group:
    """A group's committed offsets, and where the topic begins and ends."""

    def __init__(self, committed: int | None, first: int = 0, last: int = 100) -> None:
        self.committed, self.first, self.last = committed, first, last

    async def list_consumer_group_offsets(self, _group: str, partitions: Any) -> dict[Any, Any]:
        return {SESSIONS: OffsetAndMetadata(-1 if self.committed is None else self.committed, "")}

    async def beginning_offsets(self, partitions: Any) -> dict[Any, int]:
        return dict.fromkeys(partitions, self.first)

    async def end_offsets(self, partitions: Any) -> dict[Any, int]:
        return dict.fromkeys(partitions, self.last)


async def stands(group: Group, recorded: int | None, *, blank: bool = False) -> int:
    restored = Restored(3, {} if recorded is None else {SESSIONS: recorded}, blank)
    client = cast("Any", group)
    return (await committed_offsets(client, client, Settings(), [SESSIONS], restored))[SESSIONS]


@pytest.mark.parametrize(
    ("group", "recorded", "blank", "stand"),
    [
        (Group(40), 40, False, 40),
        (Group(None), None, True, 0),
        (Group(None, first=9), None, True, 9),
        (Group(40), None, False, 40),  # rows of a version that did not write the offsets
        (Group(9, first=9), None, True, 9),  # set to the beginning by a rebuild
    ],
)
async def test_offsets_that_fit_the_rows_are_gone_on_from(
    group: Group, recorded: int | None, blank: bool, stand: int
) -> None:
    assert await stands(group, recorded, blank=blank) == stand


@pytest.mark.parametrize(
    ("group", "recorded", "blank", "reason"),
    [
        (Group(0), 40, False, "has committed 0, but the rows hold everything up to 40"),
        (Group(41), 40, False, "the offsets or the rows were reset"),
        (Group(None), 40, False, "created again, or the offsets were deleted or have expired"),
        (Group(40), None, True, "the changelog of the learners' rows is empty"),
        (Group(140), 140, False, "but the topic has 0 to 100"),
    ],
)
async def test_offsets_that_are_not_the_rows_own_are_refused_with_the_way_to_rebuild(
    group: Group, recorded: int | None, blank: bool, reason: str
) -> None:
    with pytest.raises(OffsetError, match="run `lyo rebuild`") as refused:
        await stands(group, recorded, blank=blank)
    assert reason in str(refused.value)
    assert str(refused.value).startswith("lyo.sessions/0: ")


def test_the_offsets_record_holds_every_input_in_one_order() -> None:
    sentiment = TopicPartition("lyo.sentiment", 0)
    _, one = offsets_record({SESSIONS: 4, sentiment: 9})
    assert offsets_record({sentiment: 9, SESSIONS: 4})[1] == one
    assert json.loads(one) == {"lyo.sentiment": 9, "lyo.sessions": 4}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"7", b"\x09older"),
        (b"7", b"\x01short"),
        (b"seven", None),
        (ERASED_KEY + b"7", b"{}"),
        (b"#else", b"x"),
    ],
)
def test_a_record_that_cannot_be_restored_is_named(key: bytes, value: bytes | None) -> None:
    good = [record(*pair, topic=ROWS.topic) for pair in encode_learners(empty_learners(np.array([1, 2])))]
    sources = (ROWS, *(TopicPartition(name, 0) for name in ("a", "b", "c")))
    with pytest.raises(RestoreError, match=r"lyo.learner-rows/0 offset 77 cannot be read back .*lyo rebuild"):
        _load(Engine(Catalogue()), sources, ROWS, [*good, record(key, value, 77, ROWS.topic), *good])


# -- Postgres ----------------------------------------------------------------------------------------------


def test_the_gate_lets_tombstones_and_what_came_after_the_consent_through() -> None:
    gate = Gate({7: CLOSED, 8: OPEN})
    values = [b'{"as_of":"%s"}' % iso(START + at).encode() for at in (500, 1_500)]
    items = [Item(record(b"", value), user, "") for user in (6, 7, 8) for value in (*values, None)]
    kept = [(item.user, item.record.value) for item in gate.items(items, prediction_time)]
    everyone = [(6, values[0]), (6, values[1]), (6, None)]
    assert kept == [*everyone, (7, None), (8, values[1]), (8, None)]


def test_the_gate_reads_events_by_their_own_times() -> None:
    gate = Gate({7: CLOSED, 8: OPEN})
    events = [outcome(user, START + at, "returned") for user in (6, 7, 8) for at in (500, 1_500)]
    records = [record(b"%d" % one.body["user_id"], json.dumps(one.body).encode()) for one in events]
    kept = gate.events(Kind.OUTCOME, [*records, record(b"8", b"{"), record(None, b"{}")])
    assert kept == [records[0], records[1], records[5], kept[-1]]
    assert kept[-1].key is None


def test_rows_tell_their_own_times() -> None:
    engine = Engine(Catalogue())
    changes = engine.apply(by_kind([completion(7, START + 5, "s")]))
    assert learner_time(changes.learner_rows[0][1] or b"") == START + 5
    assert skill_time(changes.skill_rows[0][1]) == START + 5
    assert learner_time(b"\x09newer") == skill_time(b"\x09newer") == prediction_time(b"{") == 0


def test_what_is_a_mark() -> None:
    value = encode_applied(AppliedErasure(user_id=7, erased_at=1, consented_at=0))
    assert is_applied(record(applied_key(7), value))
    assert not is_applied(record(b"7", value))
    assert not is_applied(record(applied_key(7), None))
    assert not is_applied(record(applied_key(7), b"{}"))
    assert len(ErasureMarkers()) == 0

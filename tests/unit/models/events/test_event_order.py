"""A request is answered as of its own time: what came before it in its learner's order, nothing after."""

from __future__ import annotations

import heapq
import json
import random
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyo.evaluation.replay import Replay
from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.events.decode import Columns, Kind
from lyo.models.events.order import cut, merged
from tests.support.learners.building import START, Sent, Stream, by_kind, columns, completion, request, run
from tests.support.learners.sampled import batches, disturbed, lives, sample_catalogue

few = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**32)

Answers = dict[str, dict[str, Any]]


def first_answers(stream: Stream) -> Answers:
    """What each request was told first, by its id: the same in every record about it."""
    found: Answers = {}
    for changes in stream.changes:
        for _, value in changes.predictions.get("struggle", ()):
            record = json.loads(value or b"{}")
            assert found.setdefault(record["request_id"], record["answered"]) == record["answered"]
    return found


def one_by_one(events: list[Sent]) -> Stream:
    stream = Stream(sample_catalogue())
    for event in events:
        stream.feed([event])
    return stream


@few
@given(SEEDS, st.integers(1, 120), st.sampled_from([2, 7, 40, 1000]))
def test_every_cut_and_every_backlog_answers_as_one_event_at_a_time_does(
    seed: int, many: int, most: int
) -> None:
    rng = random.Random(seed)
    events = disturbed(rng, lives(seed, many), far=12, again=0.2)
    alone, pieces, backlog = one_by_one(events), Stream(sample_catalogue()), Stream(sample_catalogue())
    for piece in batches(rng, events, most):
        pieces.feed(piece)
        backlog.take(by_kind(piece))
    assert first_answers(pieces) == first_answers(backlog) == first_answers(alone)
    assert pieces.current() == backlog.current() == alone.current()


def story(user: int = 1) -> tuple[list[Sent], Sent, list[Sent]]:
    """Successes, a question, and the failures that came after it."""
    before = [completion(user, START + day * DAY, "s", score=1.0) for day in range(4)]
    asked = request(user, START + 3 * DAY + HOUR, content_id="c", prerequisites=["s"])
    after = [completion(user, START + day * DAY, "s", score=0.0) for day in range(4, 8)]
    return before, asked, after


def test_what_came_after_a_request_does_not_show_in_its_answer() -> None:
    before, asked, after = story()
    alone = run([*before, asked])
    told = alone.one("struggle", "1|c")["answered"]
    whole = Stream()
    whole.take(by_kind([*before, asked, *after]))
    record = whole.one("struggle", "1|c")
    assert record["answered"] == told
    assert told["as_of"] == asked.body["requested_at"]
    assert record["struggle_probability"] > told["probability"]
    records = [value for changes in whole.changes for _, value in changes.predictions["struggle"]]
    assert [json.loads(value or b"")["as_of"] for value in records] == [told["as_of"], record["as_of"]]


def test_the_same_file_in_a_replay_says_the_same(tmp_path: Path) -> None:
    before, asked, after = story()
    file = tmp_path / "events.jsonl"
    events = [*before, asked, *after]
    file.write_text("\n".join(json.dumps({"type": event.kind.value} | event.body) for event in events))
    replay = Replay()
    replay.read(file, None, None, None)
    (record,) = [json.loads(value) for kind, _, value in replay.predictions() if kind == "struggle"]
    assert record["answered"] == run([*before, asked]).one("struggle", "1|c")["answered"]


def test_what_was_folded_already_counts_and_as_of_says_so() -> None:
    before, asked, after = story()
    late = run([*before, *after, asked]).one("struggle", "1|c")
    assert late["answered"]["as_of"] == after[-1].body["occurred_at"]
    assert late["answered"]["probability"] == late["struggle_probability"]


def test_learners_whose_requests_nothing_follows_are_folded_whole() -> None:
    before, asked, after = story(1)
    others = [event for user in range(2, 9) for event in (*story(user)[0], *story(user)[2], story(user)[1])]
    parts = cut(by_kind([*others, *before, asked, *after]))
    assert [sorted({int(user) for each in part for user in each.user}) for part in parts] == [
        list(range(1, 9)),
        [1],
    ]
    assert sum(len(each.user) for each in parts[1]) == len(after)
    (whole,) = cut(by_kind([*others, *before, asked]))
    assert sum(len(each.user) for each in whole) == len(others) + len(before) + 1


@few
@given(SEEDS, st.integers(1, 150))
def test_parts_hold_every_event_once_and_nothing_after_a_request(seed: int, many: int) -> None:
    made = by_kind(lives(seed, many))
    parts = cut(made)
    assert _ids(each for part in parts for each in part) == _ids(made)
    turns = [_by_learner(part) for part in parts]
    for part in turns:
        for events in part.values():
            asks = [asked for _, asked in sorted(events)]
            assert asks == sorted(asks), "a request comes before what is no request"
    for user in {user for part in turns for user in part}:
        mine = [event for part in turns for event in sorted(part.get(user, []))]
        assert mine == sorted(mine)


def _ids(made: Any) -> list[tuple[Kind, int]]:
    return sorted((each.kind, number) for each in made for number in each.id.tolist())


def _by_learner(part: list[Columns]) -> dict[int, list[tuple[int, bool]]]:
    found: dict[int, list[tuple[int, bool]]] = {}
    for each in part:
        assert each.turn is not None
        for user, turn in zip(each.user.tolist(), each.turn.tolist(), strict=True):
            found.setdefault(user, []).append((turn, each.kind is Kind.STRUGGLE_REQUEST))
    return found


TIMES = st.lists(st.integers(-1, 12), max_size=12)


@given(st.dictionaries(st.sampled_from(list(Kind)[:5]), TIMES, max_size=5))
def test_topics_are_merged_by_the_time_of_their_heads(stamps: dict[Kind, list[int]]) -> None:
    queues = {kind: deque(enumerate(times)) for kind, times in stamps.items()}
    heads = [(queue[0][1], place, kind) for place, (kind, queue) in enumerate(queues.items()) if queue]
    heapq.heapify(heads)
    expected = {kind: [-1] * len(times) for kind, times in stamps.items()}
    turn = 0
    while heads:
        _, place, kind = heapq.heappop(heads)
        position, _ = queues[kind].popleft()
        expected[kind][position] = turn
        turn += 1
        if queues[kind]:
            heapq.heappush(heads, (queues[kind][0][1], place, kind))
    assert {kind: turns.tolist() for kind, turns in merged(stamps).items()} == expected


@pytest.mark.parametrize("kinds", [["completion"], ["request"], []])
def test_a_batch_without_requests_or_of_nothing_else_is_one_part(kinds: list[str]) -> None:
    made = {"completion": completion(1, START, "s"), "request": request(1, START, content_id="c")}
    batch = columns([made[kind] for kind in kinds])
    assert cut(batch) == [batch]
    assert all(isinstance(each.user, np.ndarray) for each in batch)

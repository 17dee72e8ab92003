"""The stream in time order, and the walk: each question sees what came before it and nothing else."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyo.evaluation.events.queries import Queries
from lyo.evaluation.events.stream import Events, read
from lyo.evaluation.events.walk import walk
from lyo.evaluation.run import observe, run
from lyo.evaluation.scoring import auc
from lyo.evaluation.tasks import TASKS, Options
from lyo.models.engine import Engine
from lyo.models.events.decode import Kind
from tests.support.learners.building import START, Sent, completion, iso, sentiment, session, stored
from tests.support.learners.sampled import lives, simulated

few = settings(max_examples=12, deadline=None)
SEEDS = st.integers(0, 2**32)
ALL = sorted(TASKS)


def written(path: Path, events: list[Sent]) -> Path:
    """Events as an event file."""
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        for event in events:
            file.write(json.dumps({"type": event.kind.value, **event.body}) + "\n")
    return path


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Events:
    events = lives(11, 2_000, users=5)
    return read([written(tmp_path_factory.mktemp("events") / "a.jsonl.gz", events)])


def shown(events: Events) -> list[tuple[str, int, int]]:
    """What happened, in the stream's order: kind, learner, time it became known."""
    found = [
        (int(turn), str(kind), int(user), int(when))
        for kind in events.columns
        for turn, user, when in zip(
            events.turn[kind], events.columns[kind].user, events.when[kind], strict=True
        )
    ]
    return [each[1:] for each in sorted(found)]


def test_files_are_one_stream_in_the_order_of_time(tmp_path: Path) -> None:
    first = [completion(1, START + 2000, "a", score=0.5), session(1, START, 30)]
    second = [completion(2, START + 1000, "a", score=1.0), completion(1, START + 2000, "b", score=0.0)]
    found = read([written(tmp_path / "1.jsonl", first), written(tmp_path / "2.jsonl.gz", second)])
    times = [when for _, _, when in shown(found)]
    assert times == sorted(times)
    assert times[-1] == START + 30 * 60_000  # a session is known when it ends
    assert [row.skills for row in found.completions.rows] == [["a"], ["a"], ["b"]]
    assert found.completions.skills == ["a", "a", "b"]


def test_bad_lines_are_named_and_what_comes_twice_counts_once(tmp_path: Path) -> None:
    once = completion(1, START, "a", score=1.0, name="same")
    path = written(tmp_path / "a.jsonl", [once, once, completion(1, START + 5, "a", score=0.0)])
    path.write_text(path.read_text() + '{"type":"applause"}\n\nnonsense\n')
    bad: list[tuple[Path, int]] = []
    found = read([path], lambda where, one: bad.append((where, one.line)))
    assert (len(found), found.repeated, found.bad) == (2, 1, 2)
    assert bad == [(path, 4), (path, 6)]


def test_erased_learners_are_not_looked_at(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.jsonl", [completion(1, START, "a", score=1.0), completion(2, START, "a", score=1.0)]
    )
    erasure = {"type": "erasure", "event_id": "x", "user_id": 1, "requested_at": iso(START + 5)}
    path.write_text(path.read_text() + json.dumps(erasure) + "\n")
    assert read([path]).completions.user.tolist() == [2]


def one_by_one(events: Events, queries: Queries) -> tuple[dict[int, tuple[bytes, list[bytes]]], Engine]:
    """Learner row and skill rows at each question, every event folded by itself in its turn; the end."""
    engine = Engine(events.catalogue, with_interventions=False)
    kinds = events.turn.items()
    order = sorted((int(turn), kind, at) for kind, turns in kinds for at, turn in enumerate(turns))
    asked = sorted(range(len(queries)), key=lambda one: int(queries.turn[one]))
    found: dict[int, tuple[bytes, list[bytes]]] = {}
    for turn, kind, at in [*order, (1 << 60, Kind.SESSION, -1)]:
        while asked and queries.turn[asked[0]] <= turn:
            one = asked.pop(0)
            found[one] = rows_of(engine, int(queries.user[one]))
        if at >= 0:
            engine.fold([events.columns[kind].take(np.array([at]))])
    return found, engine


def rows_of(engine: Engine, user: int) -> tuple[bytes, list[bytes]]:
    """Bytes of a learner's row and skill rows."""
    slots = engine.state.owners(np.array([user]))
    skills = engine.state.skills.rows[engine.state.skills_of(slots)]
    return engine.state.learners.rows[slots].tobytes(), sorted(row.tobytes() for row in skills)


@few
@given(SEEDS, st.integers(1, 60), st.integers(1, 4))
def test_rounds_show_every_question_what_one_event_at_a_time_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int, many: int, users: int
) -> None:
    rng = random.Random(seed)
    path = written(tmp_path_factory.mktemp("events") / "a.jsonl", lives(seed, many, users=users))
    events = read([path])
    turns = sorted(rng.choices(range(len(events) + 1), k=rng.randrange(1, 20)))
    who = np.array([rng.randrange(1, users + 2) for _ in turns])
    zeros = np.zeros(len(turns), np.int64)
    queries = Queries(who, zeros, np.array(turns), zeros > 0, zeros, zeros, zeros, zeros, who)
    expected, whole = one_by_one(events, queries)
    engine = Engine(events.catalogue, with_interventions=False)
    seen: set[int] = set()
    for which in walk(engine, events, queries, to_the_end=True):
        for one in which.tolist():
            assert rows_of(engine, int(queries.user[one])) == expected[one]
            seen.add(one)
    assert seen == set(range(len(queries)))
    assert stored(engine) == stored(whole)


@pytest.mark.parametrize("name", ALL)
def test_every_task_gives_probabilities_and_has_a_constant_and_a_rule(stream: Events, name: str) -> None:
    task = TASKS[name].over(stream, Options())
    assert len(task.queries) > 5
    assert {"weights", "constant", "rule"} <= set(task.contenders)
    assert (np.diff(task.queries.turn) >= 0).all()
    for verdict in run(stream, task, tuple(task.contenders), split=True).verdicts.values():
        assert np.isfinite(verdict.probability).all()
        assert (verdict.probability >= 0).all()
        assert (verdict.probability <= 1).all()


@pytest.mark.parametrize("name", ALL)
def test_a_shuffled_future_changes_nothing(tmp_path: Path, name: str) -> None:
    """What is asked before a moment is answered alike, whatever comes after it."""
    _, events = simulated(25, 40, 5, START + 40 * 86_400_000)
    activity = [event for event in events if event.kind in (Kind.LESSON_COMPLETION, Kind.SESSION)]
    times = sorted(time_of(event) for event in activity)
    until = times[len(times) * 2 // 3]
    past = [event for event in activity if time_of(event) < until]
    # Without stays that go on at that moment: when they began tells what was no beginning.
    future = [event for event in activity if time_of(event, "started_at") >= until]
    rng = random.Random(1)
    bodies = [event.body for event in future]
    rng.shuffle(bodies)
    moved = [
        event._replace(body={**event.body, "user_id": other["user_id"]})
        for event, other in zip(future, bodies, strict=True)
    ]
    options = Options()
    names = ("weights", "constant", "rule")
    found = []
    for place, rest in enumerate((future, moved)):
        stream = read([written(tmp_path / f"{place}.jsonl", [*past, *rest])])
        task = TASKS[name].over(stream, options)
        # Which questions there are may hang on what follows; those that both have must be answered alike.
        settled = task.queries.settled < until
        keys = list(
            zip(task.queries.user[settled].tolist(), task.queries.turn[settled].tolist(), strict=True)
        )
        skills = task.queries.skill[settled].tolist()
        verdicts = run(stream, task, names, split=False).verdicts
        found.append(
            {
                (key, skill, model): verdict.probability[settled][at].tolist()
                for model, verdict in verdicts.items()
                for at, (key, skill) in enumerate(zip(keys, skills, strict=True))
            }
        )
    assert len(found[0]) > 5
    assert found[0] == found[1]


def time_of(event: Sent, of_a_session: str = "ended_at") -> int:
    """When an event became known, ms; or when a session began."""
    body = event.body
    text = body.get("occurred_at") or body.get(of_a_session) or body["started_at"]
    return int(np.datetime64(text.replace("Z", ""), "ms").astype(np.int64))


@pytest.mark.parametrize("name", ["struggle", "recall", "regression"])
def test_permuted_labels_cannot_be_predicted(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(2)
    events = lives(3, 4_000, users=40)
    stream = read([written(tmp_path / "a.jsonl", events)])
    task = TASKS[name].over(stream, Options())
    # The scores themselves are permuted: what a learner did is no guide to anything any more.
    observed = observe(stream, task, {"weights": task.contenders["weights"]})[0]["weights"][:, 0]
    found = [auc(observed, rng.permutation(task.queries.label)) for _ in range(20)]
    assert abs(float(np.mean([each for each in found if each is not None])) - 0.5) < 0.02


def test_a_constant_knows_only_what_is_settled(tmp_path: Path) -> None:
    events = [completion(1, START + place * 1000, "a", score=float(place % 2)) for place in range(6)]
    stream = read([written(tmp_path / "a.jsonl", events)])
    task = TASKS["struggle"].over(stream, Options())
    found = run(stream, task, ("constant",), split=False).verdicts["constant"].probability
    assert found.tolist() == pytest.approx([1 / 2, 2 / 3, 2 / 4, 3 / 5, 3 / 6, 4 / 7])


def test_a_rule_knows_the_rate_of_its_own_answers(tmp_path: Path) -> None:
    marks = [0.0, 0.0, 1.0, 1.0, 0.0]
    events = [completion(1, START + place * 1000, "a", score=mark) for place, mark in enumerate(marks)]
    stream = read([written(tmp_path / "a.jsonl", events)])
    task = TASKS["struggle"].over(stream, Options())
    verdict = run(stream, task, ("rule",), split=False).verdicts["rule"]
    assert verdict.alarm is not None
    assert verdict.alarm.tolist() == [False, True, True, False, False]
    assert verdict.probability.tolist() == pytest.approx([1 / 2, 1 / 2, 2 / 3, 2 / 3, 2 / 4])


def test_sentiment_counts_as_activity_and_struggled_as_the_label(tmp_path: Path) -> None:
    events = [
        completion(1, START, "a", score=1.0, struggled=True),
        sentiment(1, START + 1000, 0.5),
        completion(1, START + 2000, "a", score=0.2, struggled=False),
    ]
    stream = read([written(tmp_path / "a.jsonl", events)])
    assert TASKS["struggle"].over(stream, Options()).queries.label.tolist() == [True, False]

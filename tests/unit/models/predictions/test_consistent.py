"""What a prediction says agrees with itself: names with contributions, sentences with their numbers."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyo.evaluation.replay import Replay
from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas import regression, send_time, struggle
from lyo.models.formulas.dropout_factors import A_STREAK, A_WHILE
from lyo.models.formulas.send_time import AGAINST, Limits
from lyo.models.predictions.compute import Group, group
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.partition import Ints
from tests.support.learners.building import START, Sent, Stream, completion, request, sentiment, session
from tests.support.learners.sampled import lives, sample_catalogue, simulated
from tests.support.processes import ROOT

Record = dict[str, Any]
SINCE = (0, DAY, 4 * DAY, 9 * DAY, 12 * DAY, 40 * DAY, 100 * DAY)
"""How long after the last event predictions are looked at."""
few = settings(max_examples=10, deadline=None)
REAL = ("assistments17", "oulad", "xuetang-a", "fsrs-user")
MOST = 1_500_000  # bytes of a real file's lines


@cache
def swept() -> tuple[list[Record], ...]:
    """Predictions of simulated learners, as of each of `SINCE`."""
    known, events = simulated(60, 60, 3, START + 60 * DAY)
    return tuple(_records(known, events))


def _records(known: Catalogue, events: list[Sent]) -> list[list[Record]]:
    stream = Stream(known)
    stream.feed(events)
    end, found = int(stream.engine.state.learners.rows["newest"].max()), []
    for since in SINCE:
        stream.sweep(end + since)
        found.append([{"kind": kind} | record for (kind, _), record in stream.current().items()])
    return found


def check_risk(record: Record) -> None:
    """The named factors raise the score, and each sentence about one is so by the record's own numbers."""
    parts = {part["name"]: part["contribution"] for part in record["factors"]}
    for name in record["risk_factors"]:
        assert parts[name] > 0, record
    holds: dict[str, Callable[[], bool]] = {
        "declining_engagement": lambda: record["session_frequency_trend"] < 0,
        "infrequent_sessions": lambda: record["avg_days_between_sessions"] is not None,
        "negative_sentiment": lambda: record["sentiment_trend_7d"] < 0,
        "no_progress": lambda: record["days_since_last_completion"] >= A_WHILE,
        "declining_performance": lambda: record["performance_trend"] < 0,
        "broken_streak": lambda: record["longest_streak"] >= max(A_STREAK, record["current_streak"] + 1),
    }
    for name in record["risk_factors"]:
        assert holds[name](), (name, record)


def check_plateau(record: Record) -> None:
    """It is active only while practice goes on without improvement, and says why it ended."""
    as_of, detected = (datetime.fromisoformat(record[name]) for name in ("as_of", "detected_at"))
    assert detected <= as_of, record
    if record["is_active"]:
        assert (record["ended_at"], record["ended_because"]) == (None, None), record
        assert record["mastery_improvement"] <= 0, record
        assert record["plateau_score"] != 0.5 or record["factors"], record
    if record["ended_because"] == "practice_moved_on":
        assert not record["resolved"], record
        assert as_of > datetime.fromisoformat(record["ended_at"]), record


def check_regression(record: Record) -> None:
    """What it says of mastery, days and urgency follows from its own numbers."""
    if not record["is_active"]:
        assert record["resolved_at"] is not None, record
        return
    away = datetime.fromisoformat(record["as_of"]) - datetime.fromisoformat(record["last_practiced_at"])
    assert record["days_since_practice"] == away.days, record
    assert record["current_mastery"] < record["peak_mastery"], record
    assert record["regression_amount"] == pytest.approx(
        record["peak_mastery"] - record["current_mastery"], abs=0.0101
    ), record
    assert record["predicted_mastery_in_week"] <= record["current_mastery"], record
    failing = 1 - record["current_mastery"]
    assert record["urgency_score"] == pytest.approx(failing, abs=0.0101), record
    level = regression.LEVELS[
        int(np.searchsorted(regression.LEVEL_BOUNDS, round(record["urgency_score"] * 100)))
    ]
    assert record["urgency"] == level, record


def check(records: list[Record]) -> set[str]:
    """Check everything that was predicted at one moment; gives what was named of risks and seen of skills."""
    seen: set[str] = set()
    active: dict[str, set[tuple[int, str]]] = {"plateaus": set(), "regressions": set()}
    for record in records:
        if record["kind"] == "dropout-risk":
            check_risk(record)
            seen |= set(record["risk_factors"])
        elif record["kind"] in active:
            (check_plateau if record["kind"] == "plateaus" else check_regression)(record)
            if record["is_active"]:
                active[record["kind"]].add((record["user_id"], record["skill_id"]))
                seen.add(record["kind"])
    assert not active["plateaus"] & active["regressions"], "one skill stands still and fades"
    return seen


def test_what_is_named_raises_the_risk_and_all_that_is_said_is_so() -> None:
    seen: set[str] = set()
    for records in swept():
        seen |= check(records)
    assert len(seen) == 6 + 2, "every sentence was looked at"


@few
@given(st.integers(0, 2**32))
def test_so_it_is_of_any_life(seed: int) -> None:
    for records in _records(sample_catalogue(), lives(seed, 150)):
        check(records)


@pytest.mark.parametrize("name", REAL)
def test_so_it_is_of_real_learners(name: str, tmp_path: Any) -> None:
    path = ROOT.parent / "shared" / "data" / f"{name}.events.jsonl.gz"
    if not path.exists():
        pytest.skip("no ../shared/data here")

    with gzip.open(path) as file:
        lines = file.read(MOST)
    (tmp_path / "events.jsonl").write_bytes(lines[: lines.rindex(b"\n") + 1])
    replay = Replay()
    replay.read(tmp_path / "events.jsonl", None, None, None)
    for since in SINCE:
        replay.settle(replay.newest + since)
        check([{"kind": kind} | json.loads(value) for kind, _, value in replay.predictions()])


def test_a_plateau_is_said_of_nobody_who_stopped_practising() -> None:
    """Whether the learner left the skill or altogether: fourteen days after the last answer it is over."""
    stuck = [
        completion(1, START + day * DAY + hour * HOUR, "algebra", score=score)
        for day in range(8)
        for hour, score in ((9, 1.0), (15, 0.0))
    ]
    for elsewhere in (0, 40):
        stream = Stream()
        stream.feed(
            [*stuck, *(completion(1, START + day * DAY, "sets", score=1.0) for day in range(8, elsewhere))]
        )
        for days, active in ((1, True), (13, True), (15, False), (40, False)):
            stream.sweep(START + (7 + days) * DAY + 16 * HOUR)
            record = stream.one("plateaus", "1|algebra")
            if days == 40 or not elsewhere:
                assert record["is_active"] == active, (days, record)
                assert record["ended_because"] == (None if active else "practice_moved_on")


def test_there_is_no_trend_of_seven_days_in_which_nothing_was_felt() -> None:
    stream = Stream()
    stream.feed([session(1, START), sentiment(1, START + HOUR, -0.9), sentiment(1, START + 2 * HOUR, -0.9)])
    for days in range(30):
        stream.sweep(START + days * DAY + 12 * HOUR)
        record = stream.one("dropout-risk", "1")
        fresh = days < 7
        assert (record["sentiment_trend_7d"] is not None) == fresh, days
        assert ("negative_sentiment" in record["risk_factors"]) == fresh, days
        parts = {part["name"]: part["contribution"] for part in record["factors"]}
        assert parts["negative_sentiment"] > 0, "the risk is no lower for the silence"


def test_how_it_felt_weeks_ago_is_no_reason_to_offer_help_today() -> None:
    events = [completion(1, START, "algebra", score=0.4), sentiment(1, START + HOUR, -0.9)]
    for days in (1, 6, 7, 20):
        stream = Stream()
        stream.feed(
            [*events, request(1, START + days * DAY + 12 * HOUR, content_id="x", difficulty_rating=0.9)]
        )
        record = stream.one("struggle", "1|x")
        assert (record["sentiment_trend"] is not None) == (days < 7)
        assert (record["features"]["sentiment"] is not None) == (days < 7)


def _hours(stream: Stream, at: int) -> list[tuple[Group, int, int]]:
    state = stream.engine.state
    slots: Ints = np.flatnonzero(state.learners.rows["user"] > 0)
    learners = group(state.learners.rows[slots], np.full(len(slots), at), state.catalogue)
    return [(learners, one, at + hour * HOUR) for one in range(len(slots)) for hour in range(7 * 24)]


def test_a_good_time_is_praised_and_a_bad_one_blamed_for_what_counts() -> None:
    """To the hour, for each learner over a week, studied on the day or not."""
    known, events = simulated(40, 40, 5, START + 40 * DAY)
    stream = Stream(known)
    stream.feed(events)
    said = set()
    for learners, one, at in _hours(stream, START + 40 * DAY):
        zones = Zones([learners.zones.names[one]])
        for studied in (False, True):
            answer = send_time.check(learners.profile, one, at, zones, studied, Limits())
            parts = dict(zip(send_time.FACTORS, answer.contributions, strict=True))
            said.add(answer.reasoning)
            if answer.is_good:
                assert parts["hour"] > 0, answer
                assert answer.reasoning not in AGAINST.values()
            elif learners.profile.confidence[one] > 0:
                worst = next(name for name, text in AGAINST.items() if text == answer.reasoning)
                assert parts[worst] == min(parts.values()) < 0, answer
                assert worst != "studied_today" or studied
    assert said >= {"You often study around this time", *AGAINST.values()}


@few
@given(st.integers(0, 2**32))
def test_help_is_not_withdrawn_when_more_is_told(seed: int) -> None:
    """Added metadata that raises the probability never turns the help off."""
    rng = random.Random(seed)
    events = lives(seed, 120, users=1)
    stream = Stream(sample_catalogue())
    stream.feed([one for one in events if one.kind != "struggle_request"])
    at = int(stream.engine.state.learners.rows["newest"].max()) + HOUR
    told: dict[str, Any] = {}
    whole = {
        "difficulty_rating": rng.choice((0.3, 0.7, 0.95)),
        "prerequisites": rng.sample(
            ["algebra", "fractions", "unheard", "never", "größen"], rng.randint(1, 4)
        ),
        "similar_topics": rng.sample(["Numbers", "Algebra", "unknown"], rng.randint(1, 3)),
    }
    before: Record | None = None
    for number, name in enumerate(rng.sample(sorted(whole), 3)):
        told[name] = whole[name]
        stream.feed([request(1, at, content_id=f"content-{seed}-{number}", **told)])
        record = stream.one("struggle", f"1|content-{seed}-{number}")
        if before is not None and record["struggle_probability"] >= before["struggle_probability"]:
            assert record["should_offer_help"] >= before["should_offer_help"], (before, record)
        likely = record["struggle_probability"] * 100 >= struggle.HELP_PROBABILITY
        assert record["should_offer_help"] or not likely or record["reason"] is not None
        before = record

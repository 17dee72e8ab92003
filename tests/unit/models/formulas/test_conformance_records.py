"""One suite over every predictor: what must hold whatever it predicts."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas import dropout, send_time, struggle
from lyo.models.state.history import history, recent_sentiment
from tests.support.learners.building import START, Stream, request, run, sentiment, session
from tests.support.learners.conformance import (
    PAUSES,
    SEEDS,
    Model,
    call_timing,
    few,
    learner_inputs,
    question_inputs,
    silence,
)
from tests.support.learners.sampled import lives, sample_catalogue

ANY_SEED = st.integers(0, 2**32)


@few
@given(SEEDS, st.integers(0, 7 * 24))
def test_an_alternative_is_itself_a_good_time(seed: int, hours: int) -> None:
    inputs = learner_inputs(seed)
    profile = call_timing(inputs)
    limits = send_time.Limits(22 * 60, 7 * 60, most_per_day=2, sent_today=2)
    for one in range(len(inputs["as_of"])):
        zones = Zones(inputs["names"][one : one + 1])
        at = int(inputs["as_of"][one]) + hours * HOUR
        found = send_time.check(profile, one, at, zones, studied_today=True, limits=limits)
        if found.alternative is not None:
            then = dataclasses.replace(limits, sent_today=0)
            later = send_time.check(profile, one, found.alternative, zones, studied_today=False, limits=then)
            assert later.is_good


SCORE_OF = {
    "dropout-risk": "risk_score",
    "struggle": "struggle_probability",
    "plateaus": "plateau_score",
    "regressions": "urgency_score",
}


def numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for part in value.values():
            yield from numbers_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from numbers_in(part)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


@few
@given(SEEDS, st.integers(1, 150), st.sampled_from([0, 3, 60, 130]))
def test_records_explain_themselves(seed: int, many: int, after: int) -> None:
    stream = Stream(sample_catalogue())
    events = lives(seed, many, pauses=PAUSES)
    stream.feed(events)
    end = int(stream.engine.state.learners.rows["newest"].max())
    stream.feed([request(user, end, content_id="asked", prerequisites=["algebra"]) for user in (1, 2, 3)])
    stream.sweep(end + after * DAY)
    for (kind, _), record in stream.current().items():
        assert all(math.isfinite(number) for number in numbers_in(record))
        assert 0 <= record["confidence"] <= 1
        assert record["as_of"] < record["valid_until"]
        told = record["confidence"] > 0 or kind in {"plateaus", "regressions"}
        # Struggle also says why no help is offered where it would be if more were known.
        withheld = kind == "struggle" and record["struggle_probability"] >= 0.6 > record["confidence"] * 1.2
        assert (record["reason"] is None) == (told and not withheld)
        if kind in SCORE_OF:
            score = record[SCORE_OF[kind]]
            assert 0 <= score <= 1
            total = 0.5 + sum(factor["contribution"] for factor in record["factors"])
            assert total == pytest.approx(score, abs=1e-9)
            if record["confidence"] == 0:
                assert (score, record["factors"]) == (0.5, []), record


whichever = pytest.mark.parametrize("model", [dropout.predict, dropout.predict_weights])


@whichever
@settings(max_examples=25, deadline=None)
@given(
    seed=ANY_SEED,
    many=st.integers(3, 150),
    name=st.sampled_from(["UTC", "Pacific/Auckland", "America/New_York"]),
)
def test_risk_never_falls_while_a_learner_is_silent(model: Model, seed: int, many: int, name: str) -> None:
    for row in run(lives(seed, many, users=3, pauses=PAUSES)).engine.state.learners.rows:
        risk = silence(row[None].copy(), 150, name, model)
        known = risk.score[risk.enough]
        assert (np.diff(known) >= 0).all()
        assert (np.diff(risk.probability[risk.enough], axis=0) >= 0).all()
        assert (np.diff(risk.enough.astype(int)) >= 0).all()


@whichever
@settings(max_examples=25, deadline=None)
@given(seed=ANY_SEED, many=st.integers(8, 120), days=st.integers(8, 100))
def test_coming_back_lowers_the_risk(model: Model, seed: int, many: int, days: int) -> None:
    stream = run(lives(seed, many, users=1, pauses=PAUSES))
    rows = stream.engine.state.learners.rows.copy()
    before = silence(rows, days + 1, "UTC", model)
    if not before.enough[-1]:
        return
    back = int(rows["newest"][0]) + days * DAY
    stream.feed([session(1, back)])
    after = silence(stream.engine.state.learners.rows.copy(), 1, "UTC", model)
    low = dropout.LEVEL_BOUNDS[0]
    if before.score[-1] > low:
        assert after.score[0] < before.score[-1]
    else:  # a low risk may move by what a session without a lesson says, and stays low
        assert after.score[0] <= low


@few
@given(SEEDS, st.integers(0, 10), st.integers(1, 2_000_000))
def test_fewer_struggles_with_a_prerequisite_never_raise_the_probability(
    seed: int, which: int, fewer: int
) -> None:
    inputs = question_inputs(seed)
    if not len(inputs["prereq"]):
        return
    before = struggle.predict(struggle.StruggleInputs(**inputs))
    inputs = copy.deepcopy(inputs)
    one = which % len(inputs["prereq"])
    state = inputs["prereq"][one : one + 1]
    state["struggles"] = np.maximum(state["struggles"] - fewer, 0)
    after = struggle.predict(struggle.StruggleInputs(**inputs))
    assert (after.score <= before.score).all()


def test_recent_sentiment_counts_a_week() -> None:
    stream = run([sentiment(1, START + day * DAY, -1.0 if day < 10 else 1.0) for day in range(20)])
    rows = stream.engine.state.learners.rows
    mean, count, _ = recent_sentiment(history(rows, rows["newest"], Zones(["UTC"])))
    assert count.tolist() == [7]
    assert mean[0] > 0.7

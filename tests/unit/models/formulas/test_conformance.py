"""One suite over every predictor: what must hold whatever it predicts."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas import dropout, plateau, regression, send_time, struggle, timing
from lyo.models.predictions.compute import quiet_hours_of
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.history import history, recent_sentiment
from lyo.models.state.learner import empty_learners
from lyo.models.state.skill import MEMORY
from tests.support.learners.building import (
    MINUTE,
    START,
    ZONE_NAMES,
    Stream,
    lives,
    request,
    run,
    sample_catalogue,
    sentiment,
    session,
)

few = settings(max_examples=12, deadline=None)
# The inputs of the suite: few enough lives that predictors share them.
SEEDS = st.integers(0, 50)
ANY_SEED = st.integers(0, 2**32)
PAUSES = (MINUTE, 20 * MINUTE, 5 * HOUR, DAY, 2 * DAY, 9 * DAY)
Ints = NDArray[np.int64]
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Predictor:
    """How the suite makes inputs for a predictor, takes one of them, and calls it."""

    name: str
    make: Callable[[int], Inputs]
    one: Callable[[Inputs, int], Inputs]
    call: Callable[[Inputs], Any]
    nothing: Callable[[], Inputs]
    unknown: tuple[str, ...] = ()  # fields in which NaN means unknown


@cache
def lived(seed: int, users: int = 4) -> Stream:
    rng = np.random.default_rng(seed)
    return run(lives(seed, int(rng.integers(1, 160)), users=users, pauses=PAUSES))


# -- learners ----------------------------------------------------------------------------------------------


def learner_inputs(seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    rows = lived(seed).engine.state.learners.rows.copy()
    silence = rng.integers(0, 40 * DAY, len(rows)) * rng.integers(0, 2, len(rows))
    names = [rng.choice([name or "UTC" for name in ZONE_NAMES]) for _ in rows]
    return {"rows": rows, "as_of": rows["newest"] + silence, "names": [str(name) for name in names]}


def one_learner(inputs: Inputs, one: int) -> Inputs:
    return {name: values[one : one + 1] for name, values in inputs.items()}


def no_learner() -> Inputs:
    return {
        "rows": empty_learners(np.array([1, 2])),
        "as_of": np.array([START, 0]),
        "names": ["UTC", "Asia/Tokyo"],
    }


def call_dropout(inputs: Inputs) -> dropout.DropoutRisk:
    return dropout.predict(history(inputs["rows"], inputs["as_of"], Zones(inputs["names"])))


def call_timing(inputs: Inputs) -> timing.TimingProfile:
    zones = Zones(inputs["names"])
    rows = inputs["rows"]
    past = history(rows, inputs["as_of"], zones)
    return timing.predict(past, rows, inputs["as_of"], zones, quiet_hours_of(rows, Catalogue()))


# -- skills ------------------------------------------------------------------------------------------------


def skill_inputs(seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    states = lived(seed, 2).engine.state.skills.rows["now"].copy()
    if not len(states):
        return skill_inputs(seed + 1)
    return {
        "states": states,
        "as_of": states["last_at"] + rng.integers(0, rng.choice([1, 10, 200]) * DAY, len(states)),
    }


def one_skill(inputs: Inputs, one: int) -> Inputs:
    return {name: values[one : one + 1] for name, values in inputs.items()}


def no_skill() -> Inputs:
    states = np.zeros(1, MEMORY)
    states["stability"] = 2_000
    return {"states": states, "as_of": np.array([START])}


# -- questions ---------------------------------------------------------------------------------------------


def question_inputs(seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    states = np.r_[skill_inputs(seed)["states"], np.zeros(2, MEMORY)]
    many = int(rng.integers(1, 9))
    flat: Inputs = {}
    for name in ("prereq", "similar"):
        of = np.sort(rng.integers(0, many, int(rng.integers(0, 12))))
        chosen = states[rng.integers(0, len(states), len(of))]
        flat |= {f"{name}_of": of, name: chosen, f"{name}_seen": chosen["attempts"] > 0}
    known = rng.random(many) < 0.6
    felt = rng.integers(0, 5, many).astype(float)
    return {
        "as_of": np.full(many, states["last_at"].max() + int(rng.integers(0, 90 * DAY))),
        **flat,
        "difficulty": np.where(known, rng.random(many), np.nan),
        "load": rng.random(many),
        "sentiment": np.where(felt > 0, rng.uniform(-1, 1, many), 0.0),
        "sentiments": felt,
    }


def one_question(inputs: Inputs, one: int) -> Inputs:
    taken: Inputs = {
        name: inputs[name][one : one + 1]
        for name in ("as_of", "difficulty", "load", "sentiment", "sentiments")
    }
    for name in ("prereq", "similar"):
        mine = inputs[f"{name}_of"] == one
        taken |= {f"{name}_of": np.zeros(int(mine.sum()), np.int64), name: inputs[name][mine]}
        taken[f"{name}_seen"] = inputs[f"{name}_seen"][mine]
    return taken


def no_question() -> Inputs:
    nothing, empty = np.zeros(0, np.int64), np.zeros(0, MEMORY)
    return {
        "as_of": np.array([START]),
        "prereq_of": nothing,
        "prereq": empty,
        "prereq_seen": np.zeros(0, bool),
        "similar_of": np.zeros(1, np.int64),
        "similar": np.zeros(1, MEMORY),
        "similar_seen": np.zeros(1, bool),
        "difficulty": np.array([np.nan]),
        "load": np.array([0.7]),
        "sentiment": np.array([-0.5]),
        "sentiments": np.array([3.0]),
    }


PREDICTORS = [
    Predictor(
        "dropout",
        learner_inputs,
        one_learner,
        call_dropout,
        no_learner,
        ("trend", "gap", "sentiment", "since_completion", "performance"),
    ),
    Predictor("timing", learner_inputs, one_learner, call_timing, no_learner, ("scores", "average_minutes")),
    Predictor(
        "struggle",
        question_inputs,
        one_question,
        lambda inputs: struggle.predict(struggle.Questions(**inputs)),
        no_question,
        ("features",),
    ),
    Predictor("plateau", skill_inputs, one_skill, lambda inputs: plateau.predict(**inputs), no_skill),
    Predictor("regression", skill_inputs, one_skill, lambda inputs: regression.predict(**inputs), no_skill),
]
each = pytest.mark.parametrize("predictor", PREDICTORS, ids=[predictor.name for predictor in PREDICTORS])


def columns_of(prediction: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    for field in dataclasses.fields(prediction):
        yield field.name, np.asarray(getattr(prediction, field.name))


def as_bytes(inputs: Inputs) -> dict[str, bytes]:
    return {name: np.asarray(values).tobytes() for name, values in inputs.items()}


@each
@few
@given(seed=SEEDS)
def test_a_prediction_changes_nothing_that_it_is_made_from(predictor: Predictor, seed: int) -> None:
    inputs = predictor.make(seed)
    before = as_bytes(inputs)
    for values in inputs.values():
        if isinstance(values, np.ndarray):
            values.setflags(write=False)
    first = predictor.call(inputs)
    assert as_bytes(inputs) == before
    second = predictor.call(copy.deepcopy(inputs))
    for (name, one), (_, other) in zip(columns_of(first), columns_of(second), strict=True):
        assert one.tobytes() == other.tobytes(), name


@each
@few
@given(seed=SEEDS)
def test_numbers_are_finite_and_in_their_ranges(predictor: Predictor, seed: int) -> None:
    prediction = predictor.call(predictor.make(seed))
    for name, values in columns_of(prediction):
        if values.dtype.kind == "f":
            known = values[~np.isnan(values)] if name in predictor.unknown else values
            assert np.isfinite(known).all(), name
        if name in {"score", "confidence"}:
            assert values.min() >= 0, name
            assert values.max() <= 100, name


@each
@few
@given(seed=SEEDS)
def test_contributions_add_up_to_the_score(predictor: Predictor, seed: int) -> None:
    prediction = predictor.call(predictor.make(seed))
    if not hasattr(prediction, "contributions"):
        assert predictor.name == "timing"  # a profile, no score; `moment` scores it
        return
    assert (prediction.contributions.sum(axis=1) == prediction.score - 50).all()


@each
@few
@given(seed=SEEDS)
def test_a_batch_of_n_is_n_batches_of_one(predictor: Predictor, seed: int) -> None:
    inputs = predictor.make(seed)
    together = predictor.call(inputs)
    for one in range(len(inputs["as_of"])):
        alone = dict(columns_of(predictor.call(predictor.one(inputs, one))))
        for name, values in columns_of(together):
            assert values[one : one + 1].tobytes() == alone[name].tobytes(), name


@each
def test_without_data_the_answer_is_neutral_without_confidence(predictor: Predictor) -> None:
    prediction = predictor.call(predictor.nothing())
    assert (prediction.confidence == 0).all()
    if hasattr(prediction, "score"):
        assert (prediction.score == 50).all()
        assert (prediction.contributions == 0).all()


@each
@few
@given(seed=SEEDS)
def test_a_neutral_answer_has_no_confidence_and_no_contribution(predictor: Predictor, seed: int) -> None:
    prediction = predictor.call(predictor.make(seed))
    for flag in ("enough", "found", "active"):
        if hasattr(prediction, flag) and not (flag == "active" and hasattr(prediction, "found")):
            unknown = ~getattr(prediction, flag)
            assert (prediction.score[unknown] == 50).all()
            assert (prediction.confidence[unknown] == 0).all()
            assert (prediction.contributions[unknown] == 0).all()


def test_the_suite_sees_answers_of_every_sort() -> None:
    seen: Counter[str] = Counter()
    for seed in range(51):
        for predictor in PREDICTORS:
            prediction = predictor.call(predictor.make(seed))
            seen[f"{predictor.name} sure"] += int((prediction.confidence > 0).sum())
            seen[f"{predictor.name} not"] += int((prediction.confidence == 0).sum())
            for flag in ("enough", "found", "active", "help"):
                if hasattr(prediction, flag):
                    seen[f"{predictor.name} {flag}"] += int(getattr(prediction, flag).sum())
    assert min(seen.values()) >= 5, seen
    assert len(seen) == 16


# -- the moment --------------------------------------------------------------------------------------------


@few
@given(
    SEEDS, st.integers(0, 14 * 24 * 60), st.booleans(), st.sampled_from([(-1, -1), (0, 1439), (1320, 420)])
)
def test_a_moment_is_judged_as_every_prediction(
    seed: int, minutes: int, studied: bool, hours: tuple[int, int]
) -> None:
    inputs = learner_inputs(seed)
    profile = call_timing(inputs)
    before = [values.tobytes() for _, values in columns_of(profile)]
    limits = send_time.Limits(*hours, most_per_day=1, sent_today=minutes % 2)
    for one in range(len(inputs["as_of"])):
        at, zones = int(inputs["as_of"][one]) + minutes * MINUTE, Zones(inputs["names"][one : one + 1])
        found = send_time.check(profile, one, at, zones, studied, limits)
        assert send_time.is_good(profile, one, at, zones, studied, limits) == found.is_good
        assert 0 <= found.score <= 100
        assert sum(found.contributions) == found.score - 50
        assert found.confidence == profile.confidence[one]
        assert found.reasoning
        assert (found.alternative is None) or (not found.is_good and found.alternative > at)
        if found.confidence == 0:
            assert (found.score, set(found.contributions)) == (50, {0})
        alone = call_timing(one_learner(inputs, one))
        assert send_time.check(alone, 0, at, zones, studied, limits) == found
    assert [values.tobytes() for _, values in columns_of(profile)] == before


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


# -- records -----------------------------------------------------------------------------------------------

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
        assert (record["reason"] is None) == (record["confidence"] > 0 or kind in {"plateaus", "regressions"})
        if kind in SCORE_OF:
            score = record[SCORE_OF[kind]]
            assert 0 <= score <= 1
            total = 0.5 + sum(factor["contribution"] for factor in record["factors"])
            assert total == pytest.approx(score, abs=1e-9)
            if record["confidence"] == 0:
                assert (score, record["factors"]) == (0.5, []), record


# -- what may not go the wrong way -------------------------------------------------------------------------


def silence(rows: NDArray[np.void], days: int, name: str) -> dropout.DropoutRisk:
    """Risk of one learner, day by day, while nothing happens."""
    as_of = rows["newest"] + np.arange(days) * DAY
    return dropout.predict(history(np.repeat(rows, days), as_of, Zones([name] * days)))


@settings(max_examples=25, deadline=None)
@given(ANY_SEED, st.integers(3, 150), st.sampled_from(["UTC", "Pacific/Auckland", "America/New_York"]))
def test_risk_never_falls_while_a_learner_is_silent(seed: int, many: int, name: str) -> None:
    for row in run(lives(seed, many, users=3, pauses=PAUSES)).engine.state.learners.rows:
        risk = silence(row[None].copy(), 150, name)
        known = risk.score[risk.enough]
        assert (np.diff(known) >= 0).all()
        assert (np.diff(risk.enough.astype(int)) >= 0).all()


@settings(max_examples=25, deadline=None)
@given(ANY_SEED, st.integers(8, 120), st.integers(8, 100))
def test_coming_back_lowers_the_risk(seed: int, many: int, days: int) -> None:
    stream = run(lives(seed, many, users=1, pauses=PAUSES))
    rows = stream.engine.state.learners.rows.copy()
    before = silence(rows, days + 1, "UTC")
    if not before.enough[-1]:
        return
    back = int(rows["newest"][0]) + days * DAY
    stream.feed([session(1, back)])
    after = silence(stream.engine.state.learners.rows.copy(), 1, "UTC")
    low = dropout.LEVEL_BOUNDS[0]
    if before.score[-1] > low:
        assert after.score[0] < before.score[-1]
    else:  # a low risk may move by what a session without a lesson says, and stays low
        assert after.score[0] <= low


@few
@given(SEEDS, st.integers(0, 10), st.integers(1, 2_000_000))
def test_more_mastery_of_a_prerequisite_never_raises_the_probability(
    seed: int, which: int, more: int
) -> None:
    inputs = question_inputs(seed)
    if not len(inputs["prereq"]):
        return
    before = struggle.predict(struggle.Questions(**inputs))
    inputs = copy.deepcopy(inputs)
    one = which % len(inputs["prereq"])
    state = inputs["prereq"][one : one + 1]
    state["hits"] = np.minimum(state["hits"] + more, state["weight"])
    after = struggle.predict(struggle.Questions(**inputs))
    assert (after.score <= before.score).all()


def test_recent_sentiment_counts_a_week() -> None:
    stream = run([sentiment(1, START + day * DAY, -1.0 if day < 10 else 1.0) for day in range(20)])
    rows = stream.engine.state.learners.rows
    mean, count = recent_sentiment(history(rows, rows["newest"], Zones(["UTC"])))
    assert count.tolist() == [7]
    assert mean[0] > 0.7

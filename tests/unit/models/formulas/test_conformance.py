"""One suite over every predictor: what must hold whatever it predicts."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lyo.models.arrays.zones import Zones
from lyo.models.formulas import dropout, plateau, regression, send_time, struggle
from lyo.models.formulas.recall import Calibration, calibrate
from lyo.models.state.history import history
from lyo.models.state.learner import empty_learners
from lyo.models.state.skill import MEMORY
from tests.support.learners.building import MINUTE, START
from tests.support.learners.conformance import (
    SEEDS,
    Inputs,
    call_timing,
    few,
    learner_inputs,
    lived,
    question_inputs,
    skill_inputs,
)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Predictor:
    """How the suite makes inputs for a predictor, takes one of them, and calls it."""

    name: str
    make: Callable[[int], Inputs]
    one: Callable[[Inputs, int], Inputs]
    call: Callable[[Inputs], Any]
    nothing: Callable[[], Inputs]
    unknown: tuple[str, ...] = ()  # fields in which NaN means unknown


# -- learners ----------------------------------------------------------------------------------------------


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


def call_dropout_weights(inputs: Inputs) -> dropout.DropoutRisk:
    return dropout.predict_weights(history(inputs["rows"], inputs["as_of"], Zones(inputs["names"])))


# -- skills ------------------------------------------------------------------------------------------------


def one_skill(inputs: Inputs, one: int) -> Inputs:
    return {name: values[one : one + 1] for name, values in inputs.items()}


def no_skill() -> Inputs:
    states = np.zeros(1, MEMORY)
    states["stability"] = 2_000
    return {"states": states, "as_of": np.array([START])}


def reviewed_inputs(seed: int) -> Inputs:
    """Skills with what is known of their learners' memory."""
    inputs = skill_inputs(seed)
    rows = lived(seed, 2).engine.state.learners.rows
    rng = np.random.default_rng(seed)
    learners = calibrate(rows[rng.integers(0, len(rows), len(inputs["states"]))], inputs["as_of"])
    return inputs | {each.name: getattr(learners, each.name) for each in dataclasses.fields(learners)}


def no_reviews() -> Inputs:
    learners = calibrate(empty_learners(np.array([1])), np.array([START]))
    return no_skill() | {each.name: getattr(learners, each.name) for each in dataclasses.fields(learners)}


def call_regression(inputs: Inputs) -> regression.Regressions:
    learners = Calibration(*(inputs[each.name] for each in dataclasses.fields(Calibration)))
    return regression.predict(inputs["states"], inputs["as_of"], learners)


# -- questions ---------------------------------------------------------------------------------------------


def one_question(inputs: Inputs, one: int) -> Inputs:
    taken: Inputs = {
        name: inputs[name][one : one + 1]
        for name in ("as_of", "own", "difficulty", "load", "sentiment", "sentiments")
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
        "own": np.array([0.3]),
        "prereq_of": nothing,
        "prereq": empty,
        "prereq_seen": np.zeros(0, bool),
        "similar_of": nothing,
        "similar": empty,
        "similar_seen": np.zeros(0, bool),
        "difficulty": np.array([np.nan]),
        "load": np.array([0.7]),
        "sentiment": np.array([-0.5]),
        "sentiments": np.array([3.0]),
    }


METRICS = ("trend", "gap", "sentiment", "since_completion", "performance")
PREDICTORS = [
    Predictor("dropout", learner_inputs, one_learner, call_dropout, no_learner, METRICS),
    Predictor("dropout weights", learner_inputs, one_learner, call_dropout_weights, no_learner, METRICS),
    Predictor("timing", learner_inputs, one_learner, call_timing, no_learner, ("scores", "average_minutes")),
    Predictor(
        "struggle",
        question_inputs,
        one_question,
        lambda inputs: struggle.predict(struggle.StruggleInputs(**inputs)),
        no_question,
        ("features",),
    ),
    Predictor("plateau", skill_inputs, one_skill, lambda inputs: plateau.predict(**inputs), no_skill),
    Predictor("regression", reviewed_inputs, one_skill, call_regression, no_reviews),
]
each = pytest.mark.parametrize("predictor", PREDICTORS, ids=[predictor.name for predictor in PREDICTORS])


def columns_of(prediction: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    for field in dataclasses.fields(prediction):
        value = getattr(prediction, field.name)
        if dataclasses.is_dataclass(value):
            yield from columns_of(value)
        elif not isinstance(value, tuple):  # what the columns are called
            yield field.name, np.asarray(value)


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
    for flag in ("enough", "is_plateau", "active"):
        if hasattr(prediction, flag) and not (flag == "active" and hasattr(prediction, "is_plateau")):
            unknown = ~getattr(prediction, flag)
            assert (prediction.score[unknown] == 50).all()
            assert (prediction.confidence[unknown] == 0).all()
            assert (prediction.contributions[unknown] == 0).all()


def test_the_suite_sees_answers_of_every_sort() -> None:
    seen: Counter[str] = Counter()
    for seed in range(125):
        for predictor in PREDICTORS:
            prediction = predictor.call(predictor.make(seed))
            seen[f"{predictor.name} sure"] += int((prediction.confidence > 0).sum())
            seen[f"{predictor.name} not"] += int((prediction.confidence == 0).sum())
            for flag in ("enough", "is_plateau", "active", "help"):
                if hasattr(prediction, flag):
                    seen[f"{predictor.name} {flag}"] += int(getattr(prediction, flag).sum())
    assert min(seen.values()) >= 5, seen
    assert len(seen) == 19


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
            # By people's hours in general: the learner's weekdays say nothing yet.
            assert found.contributions[send_time.FACTORS.index("weekday")] == 0
        alone = call_timing(one_learner(inputs, one))
        assert send_time.check(alone, 0, at, zones, studied, limits) == found
    assert [values.tobytes() for _, values in columns_of(profile)] == before


# -- records -----------------------------------------------------------------------------------------------


# -- what may not go the wrong way -------------------------------------------------------------------------

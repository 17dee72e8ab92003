"""The hazard of silence: what must hold for any coefficients, and that a fit finds what there is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lyo.evaluation.dropout.fit import FREE, Labelled, fit, fit_labels
from lyo.evaluation.dropout.populations import moments
from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas import hazard
from lyo.models.formulas.dropout import level_of, predict
from lyo.models.formulas.dropout_factors import factors
from lyo.models.formulas.hazard import HORIZONS, RISING, SHIPPED, TERMS, Hazard
from lyo.models.state.history import History, history
from tests.support.learners.building import START, completion, run, session
from tests.support.learners.sampled import lives

Floats = NDArray[np.float64]
SEEDS = st.integers(0, 2**32 - 1)
PAUSES = (6 * HOUR, DAY, DAY, 3 * DAY, 20 * DAY)


def past_of(rows: NDArray[np.void], as_of: NDArray[np.int64]) -> History:
    return history(rows, as_of, Zones(["UTC"] * len(rows)))


def terms_of(past: History) -> Floats:
    return hazard.terms(past, factors(past))


def any_hazard(seed: int) -> Hazard:
    """Coefficients such as a fit may give: no term that silence moves has a negative weight."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(0.0, 1.5, (len(HORIZONS), len(TERMS)))
    weights = np.where(RISING, np.abs(weights), weights)
    return Hazard(rng.normal(0.0, 1.0, len(TERMS)), rng.normal(0.0, 1.5, len(HORIZONS)), weights)


def lived(seed: int, many: int) -> NDArray[np.void]:
    return run(lives(seed, many, users=3, pauses=PAUSES)).engine.state.learners.rows.copy()


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 150))
def test_no_term_but_the_static_ones_falls_in_silence_whatever_the_weights(seed: int, many: int) -> None:
    model = any_hazard(seed)
    for row in lived(seed, many):
        as_of = row["newest"] + np.arange(150) * DAY
        given_terms = terms_of(past_of(np.repeat(row[None], 150), as_of))
        moved = np.diff(given_terms, axis=0)
        assert (moved[:, RISING] >= -1e-12).all()
        assert np.abs(moved[:, ~RISING]).max() <= 1e-12
        assert (np.diff(hazard.score(model, given_terms)[0]) >= -1e-9).all()


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 100))
def test_longer_silences_are_never_more_likely_and_parts_add_up_to_the_score(seed: int, many: int) -> None:
    model = any_hazard(seed)
    rows = lived(seed, many)
    given_terms = terms_of(past_of(rows, rows["newest"] + 3 * DAY))
    probability = hazard.probabilities(model, given_terms)
    assert (np.diff(probability, axis=1) <= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()
    score, parts = hazard.score(model, given_terms)
    assert np.isfinite(parts).all()
    assert parts.sum(axis=1) == pytest.approx(score - 0.5, abs=0.004)


def test_the_score_is_a_half_at_five_times_the_references_odds_and_its_bounds_a_third_and_thrice() -> None:
    intercepts = np.array([0.4, 6.0, 0.2])
    weights = np.zeros((3, len(TERMS)))
    weights[0, 0] = 1.0
    model = Hazard(np.zeros(len(TERMS)), intercepts, weights)
    silent = np.zeros((4001, len(TERMS)))
    silent[:, 0] = np.linspace(-6.0, 6.0, 4001)
    probability = hazard.probabilities(model, silent)[:, 1]
    odds = probability / (1 - probability)
    score = hazard.score(model, silent)[0]
    middle = odds[2000]
    for bound, times in ((0.3, 5 / 3), (0.5, 5.0), (0.7, 15.0)):
        assert np.interp(bound, score, odds / middle) == pytest.approx(times, rel=0.01)
    assert (np.diff(score) > 0).all()


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 100), st.sampled_from([0, 3, 12, 40]))
def test_each_level_says_how_likely_silence_is(seed: int, many: int, days: int) -> None:
    """By the shipped coefficients: low to one in four, medium to one in two, high to three in four."""
    rows = lived(seed, many)
    risk = predict(past_of(rows, rows["newest"] + days * DAY))
    bounds, level = np.array([0, 25, 50, 75, 100]), level_of(risk.score)
    near = 4  # a hundredth of the score is about as much as one of the probability
    silence = risk.probability[:, 1]
    holds = (bounds[level] - near <= silence) & (silence <= bounds[level + 1] + near)
    assert holds[risk.enough].all()


def test_no_single_session_or_day_makes_a_jump() -> None:
    stream = run([session(1, START)])
    scores = []
    for day in range(1, 60):
        stream.sweep(START + day * DAY + 2 * HOUR)
        scores.append(stream.sent["dropout-risk", b"1"]["risk_score"])
    assert all(0 <= after - before <= 0.065 for before, after in pairwise(scores)), scores


def test_the_more_a_learner_did_the_lower_the_risk() -> None:
    few = run([session(1, START + day * DAY, 5) for day in range(10)])
    more = run([session(1, START + day * DAY, 50) for day in range(10)])
    low = run([completion(1, START + day * DAY, "a", score=0.2) for day in range(10)])
    high = run([completion(1, START + day * DAY, "a", score=0.9) for day in range(10)])
    score = [stream.one("dropout-risk", "1")["probability_14d"] for stream in (few, more, low, high)]
    assert score[1] < score[0]
    assert score[3] < score[2]


# -- fitting -----------------------------------------------------------------------------------------------


def test_a_fit_finds_the_coefficients_that_made_the_silences() -> None:
    rng = np.random.default_rng(7)
    many = 40_000
    given_terms = rng.normal(0.0, 1.0, (many, len(TERMS)))
    truth = any_hazard(3)
    truth = Hazard(np.zeros(len(TERMS)), truth.intercepts, truth.weights * 0.4)
    stays = hazard.probabilities(truth, given_terms)
    drawn = rng.random(many)
    following = np.select(
        [drawn < stays[:, 2], drawn < stays[:, 1], drawn < stays[:, 0]], [999, 20, 10], default=2
    )
    found = fit(given_terms, following)
    assert np.abs(hazard.probabilities(found, given_terms) - stays).mean() < 0.015
    assert np.abs(found.weights - truth.weights).max() < 0.25
    for place, horizon in enumerate(HORIZONS):
        mean = hazard.probabilities(found, given_terms)[:, place].mean()
        assert mean == pytest.approx((following >= horizon).mean(), abs=0.005)


def test_a_weight_that_wants_to_lie_below_its_bound_is_held_there() -> None:
    rng = np.random.default_rng(1)
    given_terms = rng.normal(0.0, 1.0, (5_000, len(TERMS)))
    wrong = given_terms[:, 0] + rng.normal(0.0, 1.0, 5_000) < 0  # more silence, less leaving
    assert fit_labels(given_terms, wrong).weights[0, 0] == 0.0
    least = FREE.copy()
    least[3] = 0.7
    found = fit(given_terms, np.where(wrong, 999, 1), least=least)
    assert found.weights[0, 3] == 0.7


def test_labels_of_no_stated_horizon_are_each_horizons_probability() -> None:
    rng = np.random.default_rng(2)
    given_terms = rng.normal(0.0, 1.0, (5_000, len(TERMS)))
    label = rng.random(5_000) < 1 / (1 + np.exp(-given_terms[:, 2]))
    model = fit_labels(given_terms, label)
    probability = hazard.probabilities(model, given_terms)
    assert probability[:, 0] == pytest.approx(probability[:, 2], abs=1e-9)
    assert probability[:, 0].mean() == pytest.approx(label.mean(), abs=0.005)
    score, parts = hazard.score(model, given_terms)
    assert parts.sum(axis=1) == pytest.approx(score - 0.5, abs=0.004)


def test_labels_beside_the_silences_have_an_intercept_of_their_own() -> None:
    rng = np.random.default_rng(4)
    given_terms = rng.normal(0.0, 1.0, (4_000, len(TERMS)))
    following = np.where(rng.random(4_000) < 0.5, 999, 1)
    rare = rng.random(4_000) < 0.02
    alone = fit(given_terms, following)
    both = fit(given_terms, following, beside=Labelled(given_terms, rare))
    assert both.intercepts[0] == pytest.approx(alone.intercepts[0], abs=0.1)


def test_the_shipped_coefficients_are_calibrated_on_populations_that_they_were_not_fitted_on() -> None:
    found = list(moments(40, seed=99))
    given_terms = np.concatenate([terms_of(past_of(one.rows, one.as_of)) for one in found])
    following = np.concatenate([one.following for one in found])
    probability = hazard.probabilities(SHIPPED, given_terms)
    for place, horizon in enumerate(HORIZONS):
        assert probability[:, place].mean() == pytest.approx((following >= horizon).mean(), abs=0.06)
    deciles = np.digitize(probability[:, 1], np.quantile(probability[:, 1], np.arange(0.1, 1.0, 0.1)))
    rates = [(following >= 14)[deciles == one].mean() for one in range(10)]
    assert rates == sorted(rates)


def test_true_rates_rise_from_low_to_critical_where_most_leave_as_where_few_do() -> None:
    told = {"few": np.zeros((4, 2)), "most": np.zeros((4, 2))}
    for one in moments(60, seed=5, each=1):
        if len(one.rows) < 250:  # not all have come yet
            continue
        past = past_of(one.rows, one.as_of)
        left = one.following >= 14
        which = "few" if 0.1 <= left.mean() <= 0.4 else "most" if 0.6 <= left.mean() <= 0.9 else None
        if which is not None:
            level = level_of(predict(past, fit(terms_of(past), one.following)).score)
            np.add.at(told[which], (level, left.astype(int)), 1)
    for counts in told.values():
        assert counts.sum(axis=1).min() >= 30
        rates = counts[:, 1] / counts.sum(axis=1)
        assert rates.tolist() == sorted(rates)

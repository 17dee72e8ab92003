"""Metrics and intervals, by hand and against slow definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyo.evaluation.alarms import alarms, odds_ratio, odds_ratio_within
from lyo.evaluation.logistic import fit_logistic
from lyo.evaluation.scoring import CLIP, auc, auc_within, reliability, scores
from lyo.evaluation.splits import folds

DAY = 86_400_000
ANSWERS = st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=40)


def test_scores_of_a_small_example() -> None:
    found = scores(np.array([0.9, 0.2, 0.6, 0.4]), np.array([True, False, False, True]))
    assert (found.n, found.positives) == (4, 2)
    assert found.auc == pytest.approx(0.75)
    assert found.accuracy == pytest.approx(0.5)
    assert found.brier == pytest.approx((0.01 + 0.04 + 0.36 + 0.36) / 4)
    assert found.log_loss == pytest.approx(-(math.log(0.9) + math.log(0.8) + 2 * math.log(0.4)) / 4)
    assert found.ece == pytest.approx((0.1 + 0.2 + 0.6 + 0.6) / 4)


def test_a_certain_mistake_costs_what_half_a_hundredth_does() -> None:
    assert scores(np.array([0.0]), np.array([True])).log_loss == pytest.approx(-math.log(CLIP))


def test_nothing_to_score_gives_none() -> None:
    assert scores(np.zeros(0), np.zeros(0, bool)).auc is None
    assert scores(np.array([0.3]), np.array([True])).auc is None
    assert auc_within(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool)) is None


@given(ANSWERS)
def test_auc_is_the_share_of_pairs_in_the_right_order(answers: list[tuple[int, bool]]) -> None:
    score = np.array([each for each, _ in answers], float)
    label = np.array([each for _, each in answers], bool)
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high, positive in zip(score, label, strict=True)
        for low, other in zip(score, label, strict=True)
        if positive and not other
    ]
    expected = sum(pairs) / len(pairs) if pairs else None
    assert auc(score, label) == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5), st.booleans()), min_size=1, max_size=40))
def test_auc_within_is_the_mean_of_each_learners_own(rows: list[tuple[int, int, bool]]) -> None:
    user, score = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], float)
    label = np.array([row[2] for row in rows], bool)
    own = [auc(score[user == one], label[user == one]) for one in np.unique(user)]
    known = [each for each in own if each is not None]
    expected = sum(known) / len(known) if known else None
    assert auc_within(user, score, label) == (None if expected is None else pytest.approx(expected))


def test_reliability_holds_every_probability_once() -> None:
    probability = np.array([0.0, 0.05, 0.95, 1.0, 0.5])
    table = reliability(probability, np.array([False, True, True, True, False]))
    assert [each.n for each in table] == [2, 1, 2]
    assert [each.true for each in table] == [0.5, 0.0, 1.0]


def test_alarms_of_a_small_example() -> None:
    alarm = np.array([True, True, False, False, True, False])
    label = np.array([True, True, True, False, False, False])
    rule = np.array([True, False, False, True, False, False])
    user, at = np.array([1, 1, 2, 2, 3, 3]), np.array([0, 1, 0, 1, DAY, DAY])
    found = alarms(alarm, label, user, at, rule)
    assert found.flagged == 3
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.lift == pytest.approx(4 / 3)
    assert found.lift_over_rule == pytest.approx(4 / 3)
    assert found.flagged_a_day == pytest.approx(1.0)  # learner 1 on the first day, learner 3 on the second
    assert found.flagged_share == pytest.approx(2 / 3)


def test_an_odds_ratio_and_its_bounds_against_a_worked_table() -> None:
    alarm = np.repeat([True, True, False, False], [30, 10, 20, 40])
    label = np.repeat([True, False, True, False], [30, 10, 20, 40])
    found = odds_ratio(alarm, label)
    assert found is not None
    spread = math.sqrt(1 / 30.5 + 1 / 10.5 + 1 / 20.5 + 1 / 40.5)
    ratio = 30.5 * 40.5 / (10.5 * 20.5)
    assert found.ratio == pytest.approx(ratio)
    assert found.lower == pytest.approx(ratio * math.exp(-1.959964 * spread))
    assert found.upper == pytest.approx(ratio * math.exp(1.959964 * spread))
    assert odds_ratio(np.ones(4, bool), np.array([True, False, True, False])) is None


def test_what_only_separates_learners_has_no_odds_within_them() -> None:
    """Simpson: alarms go to the learner who fails often, and tell nothing about which attempt fails."""
    user = np.repeat([1, 2], 400)
    alarm = np.r_[np.tile([True, True, True, False], 100), np.tile([True, False, False, False], 100)]
    label = np.r_[np.repeat([True, True, True, False], 100), np.repeat([True, False, False, False], 100)]
    pooled, within = odds_ratio(alarm, label), odds_ratio_within(alarm, label, user)
    assert pooled is not None
    assert within is not None
    assert pooled.lower > 1.2
    assert within.lower < 1 < within.upper
    assert within.ratio == pytest.approx(1.0, abs=0.01)


def test_one_learner_has_the_plain_odds_ratio_within() -> None:
    alarm = np.repeat([True, True, False, False], [300, 100, 200, 400])
    label = np.repeat([True, False, True, False], [300, 100, 200, 400])
    found = odds_ratio_within(alarm, label, np.zeros(1000, np.int64))
    assert found is not None
    assert found.ratio == pytest.approx(300 * 400 / (100 * 200))
    assert math.log(found.upper / found.lower) == pytest.approx(
        2 * 1.959964 * math.sqrt(1 / 300 + 1 / 100 + 1 / 200 + 1 / 400), rel=1e-6
    )


@given(st.lists(st.integers(0, 9), min_size=1, max_size=200))
def test_folds_keep_groups_whole_and_are_of_like_size(groups: list[int]) -> None:
    group = np.array(groups)
    fold = folds(group)
    for one in np.unique(group):
        assert len(np.unique(fold[group == one])) == 1
    assert fold.max() + 1 == min(5, len(np.unique(group)))
    largest = max(int((group == one).sum()) for one in np.unique(group))
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= largest


def test_the_logistic_finds_the_weights_that_made_the_labels() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20_000, 2)) * [1.0, 10.0] + [3.0, 0.0]
    true = 1 / (1 + np.exp(-(0.5 + 1.0 * (x[:, 0] - 3) - 0.05 * x[:, 1])))
    predict = fit_logistic(x, rng.random(20_000) < true)
    assert np.abs(predict(x) - true).max() < 0.03
    assert np.isfinite(predict(np.array([[1e9, -1e9]]))).all()

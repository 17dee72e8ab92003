"""Success figures at their edges; a whole story of them is in `tests/integration/storage/test_quality.py`."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lyo.models import quality as q
from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.quality import Moments
from lyo.models.state.learner import RECENT, Rows
from tests.support.learners.building import MINUTE, START, completion, learner_row, run, session

NOW = START + 60 * DAY
UTC = Zones(["UTC"])


def moments(*at: int, since: int = 0) -> Moments:
    return Moments(np.zeros(len(at), np.int64), np.array(at, np.int64), np.array([since]))


def peak(*hours: int) -> q.Bools:
    found = np.zeros((1, 24), bool)
    found[0, list(hours)] = True
    return found


def hours_of(rows: Rows, zones: Zones) -> q.Floats:
    begun, ended, held = q._recent_sessions(rows)
    return q._hours_of_study(begun, ended, held, zones)


def test_nothing_is_none_and_never_0() -> None:
    none, empty = np.zeros(0, bool), np.zeros(0, np.int64)
    figures = [
        *q.struggle_accuracy(np.zeros(0), np.zeros(0), empty),
        *q.help_acceptance(none, none, empty),
        *q.learning_with_help(none, none, np.zeros(0), empty),
        *q.coverage(0, 0),
        *q.early_intervention(empty, empty),
        *q.reengagement(empty, empty, NOW),
        *q.effectiveness("plateau", none, none, empty),
        *q.timing_impact(np.zeros((0, 24), bool), np.zeros((0, 24))),
    ]
    assert {figure.value for figure in figures} == {None}
    assert {figure.size for figure in figures} == {0}


def test_half_is_a_prediction_of_struggle() -> None:
    (accuracy, brier) = q.struggle_accuracy(np.array([0.5, 0.49]), np.array([1.0, 1.0]), np.array([3, 1]))
    assert accuracy.value == 0.75
    assert brier.value == pytest.approx((3 * 0.25 + 0.51**2) / 4)


def test_bands_begin_where_the_specification_says() -> None:
    confidence = np.array([0.0, 0.01, 0.49, 0.5, 0.69, 0.7, 1.0])
    found = q.confidence_bands("timing", confidence, np.ones(7, np.int64))
    assert {figure.labels[1]: figure.value for figure in found} == {
        "none": 1,
        "low": 2,
        "middle": 2,
        "high": 2,
    }


def test_a_learner_who_came_yesterday_has_not_gone() -> None:
    rows = learner_row(run([session(1, NOW - 40 * DAY), session(1, NOW - DAY)]), 1)
    current, previous, reduction = q.churn(rows, NOW)
    assert (current.value, current.size) == (0.0, 1)
    assert (previous.value, reduction.value) == (None, None)


def test_no_churn_in_the_period_before_gives_no_reduction() -> None:
    rows = learner_row(run([session(1, NOW - 59 * DAY), session(1, NOW - 40 * DAY)]), 1)
    assert [figure.value for figure in q.churn(rows, NOW)] == [1.0, 0.0, None]


def test_a_session_is_cut_into_the_local_hours_that_it_covers() -> None:
    rng = random.Random(5)
    for _ in range(50):
        begun, minutes = NOW - rng.randrange(20 * DAY), rng.randrange(1, 1_440)
        rows = learner_row(run([session(1, begun // 1000 * 1000, minutes)]), 1)
        hours = hours_of(rows, Zones([rng.choice(["UTC", "Asia/Kolkata"])]))
        assert hours.sum() == pytest.approx(minutes / 60)
        assert hours.max() <= 1 or minutes > 23 * 60
    rows = learner_row(run([session(1, NOW + 22 * HOUR + 30 * MINUTE, 120)]), 1)
    hours = hours_of(rows, UTC)[0]
    assert {hour: hours[hour] for hour in np.flatnonzero(hours).tolist()} == {22: 0.5, 23: 1.0, 0: 0.5}


def test_what_was_before_the_oldest_kept_says_nothing() -> None:
    starts = [NOW - day * DAY for day in range(20, 0, -1)]  # 16 are kept
    rows = learner_row(run([session(1, at, 10) for at in starts]), 1)
    since = q.session_starts(rows).since
    assert since.tolist() == [NOW - RECENT * DAY]
    nudges = moments(*(at - HOUR for at in starts))
    (conversion,) = q.session_conversion(nudges, q.session_starts(rows), NOW)
    assert (conversion.value, conversion.size) == (1.0, RECENT - 1)


def test_a_nudge_that_has_not_had_its_day_is_not_counted() -> None:
    nudges, responses = moments(NOW - DAY + 1, NOW - DAY, NOW - 28 * DAY - DAY), moments(NOW - HOUR)
    found = {
        figure.labels: (figure.value, figure.size)
        for figure in q.response_rate(nudges, responses, peak(0), UTC, NOW)
    }
    assert found == {("peak",): (1.0, 1), ("other",): (None, 0)}


def test_an_answer_counts_only_after_its_nudge() -> None:
    nudges, responses = moments(NOW - 3 * DAY), moments(NOW - 3 * DAY, NOW - 2 * DAY + 1)
    assert q.response_rate(nudges, responses, peak(0), UTC, NOW)[0].value == 0.0
    assert q.response_rate(nudges, moments(NOW - 2 * DAY), peak(0), UTC, NOW)[0].value == 1.0


def test_hours_without_study_give_no_lift() -> None:
    rows = learner_row(run([session(1, NOW - DAY, 60), completion(1, NOW - DAY, "algebra")]), 1)
    assert q.completion_lift(rows, peak(0), UTC)[0] == ("completion_lift", None, 0, ())
    assert q.completion_lift(rows, peak(), UTC)[0].value is None

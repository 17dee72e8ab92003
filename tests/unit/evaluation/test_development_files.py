"""On the development files, where they are: their counts, and baselines that were measured elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lyo.evaluation.events.stream import read
from lyo.evaluation.report import report
from lyo.evaluation.run import run
from lyo.evaluation.tasks import TASKS, Options

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data here"),
    pytest.mark.slow,
]


def measured(
    name: str, task: str, models: tuple[str, ...], options: Options, *, split: bool
) -> dict[str, Any]:
    events = read([DATA / f"{name}.events.jsonl.gz"])
    assert not events.bad
    asked = TASKS[task].over(events, options)
    return report(asked, run(events, asked, models, split=split))


def test_the_logistic_of_eight_on_other_courses_is_as_good_as_when_it_was_measured_first() -> None:
    labels = DATA / "xuetang-a.labels.csv.gz"
    options = Options(labels=labels, split="course")
    found = measured("xuetang-a", "dropout", ("constant", "logistic"), options, split=True)["models"]
    first = {7: (0.785, 0.416), 14: (0.824, 0.355), 21: (0.851, 0.314), 30: (0.875, 0.280)}
    for day, (auc, log_loss) in first.items():
        part = found["logistic"]["slices"][f"day {day}"]
        assert part["auc"] == pytest.approx(auc, abs=0.005)
        assert part["log_loss"] == pytest.approx(log_loss, abs=0.005)
    rates = [found["constant"]["slices"][f"day {day}"] for day in first]
    assert [part["positives"] / part["n"] for part in rates] == pytest.approx(
        [0.794, 0.820, 0.833, 0.836], abs=0.001
    )


def test_oulads_enrolments_can_be_asked_about_as_they_are() -> None:
    options = Options(labels=DATA / "oulad.enrolments.csv.gz", split="course")
    found = measured("oulad", "dropout", ("constant",), options, split=True)
    assert found["n"] > 50_000
    assert {"day 28", "day 56", "day 84", "day 112"} <= set(found["slices"])
    # Who has the course behind is not asked about any more.
    assert found["positives"] / found["n"] == pytest.approx(0.025, abs=0.005)


def test_the_constant_for_struggle_is_as_good_as_its_rate() -> None:
    found = measured("assistments17", "struggle", ("constant",), Options(), split=False)
    assert (found["n"], found["positives"]) == (90_586, 52_347)
    assert found["log_loss"] == pytest.approx(0.681, abs=0.001)


def test_repetitions_after_a_day_and_more_are_those_of_the_baselines() -> None:
    found = measured("fsrs-user", "recall", ("constant",), Options(least_gap=1.0), split=False)
    assert found["n"] == 5_329
    assert found["log_loss"] == pytest.approx(0.511, abs=0.002)


@pytest.mark.parametrize(
    ("name", "task", "least"),
    [
        ("oulad", "regression", 2.0),
        ("assistments17", "plateau", 1.5),
        ("fsrs-user", "plateau", 1.5),
    ],
)
def test_what_an_alarm_claims_comes_true_far_more_often_where_it_is_raised(
    name: str, task: str, least: float
) -> None:
    """What calls for an intervention, of regressions urgency high and critical, on 200 questions and more."""
    found = measured(name, task, ("weights", "rule"), Options(), split=False)
    odds = found["alarms"]["odds"]
    assert found["n"] >= 200
    assert odds["ratio"] >= least
    assert odds["lower"] > 1
    assert {"precision", "recall", "lift", "lift_over_rule", "flagged_a_day"} <= set(found["alarms"])

"""How often a learner struggles: giving up, taking long, of late, and with one skill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyo.models.arrays.zones import DAY
from lyo.models.formulas.struggle_rates import PRIOR_RATE, own_rate, skill_rate
from lyo.models.state.learner import empty_learners
from lyo.models.state.skill import MEMORY
from tests.support.learners.building import START, Sent, completion, request, run, skill_row

HARD: dict[str, Any] = {"difficulty_rating": 0.9}
UNKNOWN: dict[str, Any] = {"prerequisites": ["never", "heard"]}
METADATA: tuple[dict[str, Any], ...] = (
    HARD,
    {"difficulty_rating": 0.3},
    UNKNOWN,
    {"prerequisites": ["p"]},
    {"prerequisites": ["p", "q", "never"]},
    {"similar_topics": ["q"]},
    {"similar_topics": ["never"]},
    {"similar_topics": ["p", "q", "never"]},
)


def practised(scores: list[float], skill: str = "p", **more: Any) -> list[Sent]:
    return [
        completion(1, START + number * DAY, skill, score=score, **more) for number, score in enumerate(scores)
    ]


def rate(events: list[Sent], later: int = 0) -> float:
    rows = run(events).engine.state.learners.rows
    return float(own_rate(rows, rows["newest"] + later)[0])


def test_a_learner_of_whom_nothing_is_known_has_the_prior() -> None:
    assert own_rate(empty_learners(np.array([1])), np.array([START])).tolist() == [PRIOR_RATE]


def test_of_late_counts_more_than_long_ago_and_both_stay() -> None:
    fell, rose = [1.0] * 60 + [0.0] * 30, [0.0] * 30 + [1.0] * 60
    assert 0.3 < rate(practised(fell)) < 0.5
    assert rate(practised(rose)) < rate(practised(fell))
    assert rate(practised(fell), later=400 * DAY) == pytest.approx(30.3 / 91)


def test_a_grade_over_the_half_is_a_success_however_high() -> None:
    assert rate(practised([0.6] * 9)) == rate(practised([1.0] * 9))
    assert rate(practised([0.4] * 9)) == rate(practised([0.0] * 9))


@pytest.mark.parametrize("said", [{"gave_up": True}, {"struggled": True}])
def test_giving_up_is_a_struggle_whatever_the_score(said: dict[str, Any]) -> None:
    well, gave_up = practised([0.9] * 6), [*practised([0.9] * 5), *practised([0.9], **said)]
    assert rate(gave_up) > rate(well)
    asked = request(1, START + 9 * DAY, content_id="c", prerequisites=["p"])
    before, after = (run([*events, asked]).one("struggle", "1|c") for events in (well, gave_up))
    assert after["struggle_probability"] > before["struggle_probability"]
    assert after["prereq_mastery"] < before["prereq_mastery"]


def struggles(*seconds: float | None) -> int:
    events = [
        completion(1, START + number * DAY, "p", score=0.9, duration_seconds=took)
        for number, took in enumerate(seconds)
    ]
    return int(skill_row(run(events), 1, "p")["now"]["struggles"][0])


def test_a_success_that_takes_longer_than_usual_is_a_sign_of_a_struggle() -> None:
    usual = (60.0, 60.0, 60.0)
    assert struggles(*usual, 60.0) == struggles(*usual, 30.0) == struggles(*usual, None) == 0
    assert struggles(*usual, 75.0) == pytest.approx(62_500, abs=1)
    assert struggles(*usual, 120.0) == struggles(*usual, 900.0) == 250_000
    assert struggles(*usual[:2], 900.0) == 0, "two attempts make no usual time"


def test_an_interruption_hardly_moves_the_usual_time() -> None:
    # It counts as three times the usual, of which the usual time takes over a fifth: 84 seconds.
    faded = 175_000
    assert struggles(*(60.0,) * 9, 36_000.0, 84.0) == pytest.approx(faded, abs=1)
    assert struggles(*(60.0,) * 9, 36_000.0, 126.0) == pytest.approx(faded + 125_000, abs=1)


def test_a_skill_never_tried_has_the_learners_rate_and_one_tried_its_own() -> None:
    states = np.zeros(3, MEMORY)
    states["tries"], states["struggles"] = [0, 3_333_333, 3_333_333], [0, 3_333_333, 0]
    unseen, failed, passed = skill_rate(states, np.full(3, 0.4)).tolist()
    assert unseen == pytest.approx(0.4)
    assert passed < 0.3
    assert failed > 0.6


@given(
    failed=st.integers(0, 20),
    passed=st.integers(0, 20),
    told=st.sampled_from(METADATA),
    added=st.sampled_from(METADATA),
)
def test_metadata_that_raises_the_probability_takes_no_help_away(
    failed: int, passed: int, told: dict[str, Any], added: dict[str, Any]
) -> None:
    known = practised([0.0] * failed) + practised([1.0] * passed, "q")
    at = START + 40 * DAY
    asked = [request(1, at, content_id="a", **told), request(1, at, content_id="b", **{**added, **told})]
    stream = run([*known, *asked])
    less, more = stream.one("struggle", "1|a"), stream.one("struggle", "1|b")
    if less["should_offer_help"] and more["struggle_probability"] >= less["struggle_probability"]:
        assert more["should_offer_help"]
    for record in (less, more):
        assert record["should_offer_help"] == (
            record["struggle_probability"] >= 0.6 and record["confidence"] >= 0.5
        )
        withheld = record["struggle_probability"] >= 0.6 and not record["should_offer_help"]
        assert record["reason"] is not None or not withheld


def test_help_for_a_hard_content_stays_when_unknown_prerequisites_are_told() -> None:
    at = START + 40 * DAY
    asked = [request(1, at, content_id="a", **HARD), request(1, at, content_id="b", **HARD, **UNKNOWN)]
    stream = run([*practised([0.0] * 20, "other"), *asked])
    alone, told = stream.one("struggle", "1|a"), stream.one("struggle", "1|b")
    assert alone["should_offer_help"]
    assert told["should_offer_help"]
    assert told["confidence"] < alone["confidence"]


def test_too_little_known_for_help_is_said_as_the_reason() -> None:
    asked = request(1, START + 40 * DAY, content_id="c", **UNKNOWN)
    record = run([*practised([0.0] * 20, "other"), asked]).one("struggle", "1|c")
    assert record["struggle_probability"] >= 0.6
    assert not record["should_offer_help"]
    assert record["reason"] == "not enough data: too little is known of the learner to offer help"

"""Struggle: the specification's tests, and what notes and docs say of features, help and confidence."""

from __future__ import annotations

import numpy as np
import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.formulas import struggle
from lyo.models.formulas.struggle_rates import PRIOR_RATE
from lyo.models.state.skill import MEMORY
from tests.support.learners.building import START, catalogue, completion, request, run


def test_struggle_weights_are_the_specifications() -> None:
    assert struggle.WEIGHTS == {
        "prereq_mastery": 0.35,
        "similar_performance": 0.25,
        "content_difficulty": 0.20,
        "recency": 0.10,
        "cognitive_load": 0.05,
        "sentiment": 0.05,
    }


def test_the_examples_probability_cannot_come_from_its_features() -> None:
    """API Endpoints, "Struggle Prediction": 0.72 with these features; its own weights give 0.57."""
    example = {
        "prereq_mastery": 0.45,
        "similar_performance": 0.60,
        "content_difficulty": 0.80,
        "recency": 0.40,
        "cognitive_load": 0.50,
        "sentiment": 0.30,
    }
    good = {"prereq_mastery", "similar_performance", "recency", "sentiment"}
    hard = {name: 1.0 - value if name in good else value for name, value in example.items()}
    assert sum(struggle.WEIGHTS[name] * value for name, value in hard.items()) == pytest.approx(0.5725)
    assert sum(struggle.WEIGHTS[name] * value for name, value in example.items()) < 0.72


# -- Struggle: Testing Guide -------------------------------------------------------------------------------


def mastered(level: float, attempts: int = 8) -> np.ndarray:
    """The state of a skill just practised, of whose attempts this share went without struggling."""
    state = np.zeros(1, MEMORY)
    state["tries"] = 3_333_333
    state["struggles"] = round((1 - level) * 3_333_333)
    state["attempts"] = state["scored"] = attempts
    state["last_at"], state["stability"] = START, 30_000
    return state


def ask(
    *prerequisites: np.ndarray,
    difficulty: float = 0.5,
    load: float = 0.0,
    mood: float | None = None,
    own: float | None = None,
) -> struggle.Struggle:
    """The answer for a learner who struggles as often as with these prerequisites, unless ``own`` says."""
    many = len(prerequisites)
    states = np.concatenate(prerequisites) if prerequisites else np.zeros(0, MEMORY)
    tries = states["tries"].sum()
    usual = states["struggles"].sum() / tries if tries else PRIOR_RATE
    return struggle.predict(
        struggle.StruggleInputs(
            as_of=np.array([START]),
            own=np.array([usual if own is None else own]),
            prereq_of=np.zeros(many, np.int64),
            prereq=states,
            prereq_seen=states["attempts"] > 0,
            similar_of=np.zeros(0, np.int64),
            similar=np.zeros(0, MEMORY),
            similar_seen=np.zeros(0, bool),
            difficulty=np.array([difficulty]),
            load=np.array([load]),
            sentiment=np.array([0.0 if mood is None else mood]),
            sentiments=np.array([0.0 if mood is None else 5.0]),
        )
    )


def test_predict_struggle_high_prereq_mastery() -> None:
    """Testing Guide: prerequisite mastery 0.9 and difficulty 0.5."""
    answer = ask(mastered(0.9), mastered(0.9))
    assert answer.score[0] < 30
    assert answer.confidence[0] > 70
    assert answer.features[0, struggle.FEATURES.index("prereq_mastery")] > 0.8
    assert not answer.help[0]


def test_high_prerequisite_mastery_through_the_engine() -> None:
    practice = [
        completion(1, START + number * DAY, skill, score=1.0)
        for number in range(10)
        for skill in ("skill_1", "skill_2")
    ]
    asked = request(
        1,
        START + 9 * DAY + HOUR,
        content_id="test_lesson",
        type="lesson",
        difficulty_rating=0.5,
        prerequisites=["skill_1", "skill_2"],
    )
    record = run([*practice, asked]).one("struggle", "1|test_lesson")
    assert record["struggle_probability"] < 0.3
    assert record["confidence"] > 0.7
    assert record["features"]["prereq_mastery"] > 0.8
    assert record["content_type"] == "lesson"
    assert not record["should_offer_help"]
    assert (record["help_message"], record["actions"]) == (None, [])


def test_help_comes_with_a_message_and_the_two_actions() -> None:
    """API Endpoints, "Struggle Prediction", and Usage Examples, Example 1."""
    practice = [completion(1, START + number * HOUR, "p", score=0.1) for number in range(8)]
    asked = request(1, START + DAY, content_id="c", difficulty_rating=0.8, prerequisites=["p"])
    record = run([*practice, asked]).one("struggle", "1|c")
    assert record["struggle_probability"] >= 0.6
    assert record["confidence"] >= 0.5
    assert record["should_offer_help"]
    assert (
        record["help_message"]
        == "This builds on concepts you haven't fully mastered. Want to review the basics first?"
    )
    assert record["actions"] == [
        {"type": "review_prerequisites", "label": "Review Basics First"},
        {"type": "continue_anyway", "label": "I'm Ready!"},
    ]
    assert set(record["features"]) == set(struggle.FEATURES)


def test_help_is_offered_from_its_two_thresholds_on() -> None:
    assert (struggle.HELP_PROBABILITY, struggle.HELP_CONFIDENCE) == (60, 50)
    levels = np.arange(0.02, 0.99, 0.02).tolist()
    answers = [ask(mastered(level, attempts), difficulty=0.9) for level in levels for attempts in (1, 9)]
    answers += [
        ask(np.zeros(1, MEMORY), difficulty=difficulty, own=level)
        for level in levels
        for difficulty in (level, np.nan)
    ]
    for answer in answers:
        assert answer.help[0] == (answer.score[0] >= 60 and answer.confidence[0] >= 50)
    assert 60 in {int(answer.score[0]) for answer in answers}
    assert 0 < sum(bool(answer.help[0]) for answer in answers) < len(answers)
    assert any(answer.score[0] >= 60 and not answer.help[0] for answer in answers)


def test_every_feature_has_a_help_message() -> None:
    assert set(struggle.MESSAGES) == set(struggle.FEATURES)
    for place in range(len(struggle.FEATURES)):
        contributions = np.zeros(6, np.int64)
        contributions[place] = 10
        assert struggle.help_message(contributions) == struggle.MESSAGES[struggle.FEATURES[place]]


def test_an_unseen_prerequisite_goes_as_the_learners_work_usually_does_and_is_less_sure() -> None:
    for own in (0.1, 0.3, 0.8):
        unseen, known = ask(np.zeros(1, MEMORY), load=0.5, own=own), ask(mastered(1.0), load=0.5, own=own)
        assert unseen.score[0] == pytest.approx(100 * own, abs=1)
        assert unseen.score[0] > known.score[0]
        assert 0 < unseen.confidence[0] < known.confidence[0]


def test_the_weakest_prerequisite_counts_more_than_the_mean() -> None:
    uneven, even = ask(mastered(0.9), mastered(0.1), own=0.5), ask(mastered(0.5), mastered(0.5), own=0.5)
    assert uneven.score[0] > even.score[0]


def test_forgetting_is_counted_once_as_recency() -> None:
    fresh, stale = mastered(0.9), mastered(0.9)
    stale["last_at"] -= 720 * DAY
    now, later = ask(fresh), ask(stale)
    assert later.score[0] > now.score[0]
    moved = np.flatnonzero(~np.isclose(later.features[0], now.features[0], rtol=0, equal_nan=True))
    assert [struggle.FEATURES[place] for place in moved] == ["recency"]
    assert later.days_since_review[0] == 720


def test_a_little_forgetting_is_what_spaced_practice_intends() -> None:
    stale = mastered(0.9)
    stale["last_at"] -= 30 * DAY
    assert ask(stale).features[0, struggle.FEATURES.index("recency")] == pytest.approx(0.9, abs=0.02)
    assert ask(stale).score[0] == ask(mastered(0.9)).score[0]


def test_neutral_features_leave_the_learners_own_rate() -> None:
    for own in (0.05, 0.5, 0.9):
        assert ask(load=0.5, own=own).score[0] == pytest.approx(100 * own, abs=0.5)
        assert ask(load=0.5, mood=0.0, own=own).score[0] == pytest.approx(100 * own, abs=0.5)


def test_nothing_is_certain() -> None:
    assert ask(difficulty=1.0, load=1.0, mood=-1.0, own=0.999).score[0] == 99
    assert ask(difficulty=0.0, load=0.0, mood=1.0, own=0.0).score[0] == 1


def test_what_is_not_asked_for_costs_no_confidence_and_what_is_unknown_does() -> None:
    practice = [completion(1, START + number * DAY, "p", score=0.9) for number in range(9)]
    at = START + 9 * DAY
    plain = request(1, at, content_id="a", difficulty_rating=0.5, prerequisites=["p"])
    unknown = request(
        1, at, content_id="b", difficulty_rating=0.5, prerequisites=["p"], similar_topics=["never"]
    )
    stream = run([*practice, plain, unknown])
    assert stream.one("struggle", "1|a")["confidence"] > stream.one("struggle", "1|b")["confidence"]
    assert stream.one("struggle", "1|a")["similar_performance"] is None


def test_similar_topics_are_contents_then_topics_then_skills() -> None:
    known = catalogue(
        {"content_id": "x", "skills": ["of-content"]},
        {"content_id": "c2", "skills": ["of-topic"], "topic": "x"},
        {"content_id": "c3", "skills": ["of-topic-2"], "topic": "y"},
    )
    assert list(known.skills_of(["x", "y", "z"], 0)) == ["of-content", "of-topic-2", "z"]


def test_a_question_about_nothing_known_is_answered_as_such() -> None:
    record = run([request(1, START, content_id="c")]).one("struggle", "1|c")
    assert (record["struggle_probability"], record["confidence"], record["factors"]) == (0.5, 0, [])
    assert record["reason"].startswith("not enough data")
    assert record["content_type"] == "unknown"


def test_a_request_without_a_content_id_is_about_itself() -> None:
    record = run([request(1, START, name="r-1", difficulty_rating=0.9)]).one("struggle", "1|r-1")
    assert record["content_id"] == record["request_id"] == "r-1"
    assert record["content_difficulty"] == 0.9


def test_load_and_mood_move_the_probability_by_at_most_their_weights() -> None:
    calm, loaded = ask(mastered(0.5), mood=0.9), ask(mastered(0.5), load=1.0, mood=-0.9)
    assert 0 < loaded.score[0] - calm.score[0] <= 14

"""Will a learner struggle with a content: six weighted features (specification, "Struggle Predictor").

A feature that the question does not ask for is left out and costs nothing; one that it asks for and of
which nothing is known is left out and costs confidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths, round_contributions
from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.state.forgetting import recall
from lyo.models.state.learner import Rows
from lyo.models.state.mastery import MASTERY_UNIT, mastery

__all__ = [
    "ACTIONS",
    "FEATURES",
    "HELP_CONFIDENCE",
    "HELP_PROBABILITY",
    "MODEL",
    "WEIGHTS",
    "Questions",
    "Struggle",
    "cognitive_load",
    "help_message",
    "predict",
]

MODEL = "struggle-weights-1"
WEIGHTS = {
    "prereq_mastery": 0.35,
    "similar_performance": 0.25,
    "content_difficulty": 0.20,
    "recency": 0.10,
    "cognitive_load": 0.05,
    "sentiment": 0.05,
}
FEATURES = tuple(WEIGHTS)
HELP_PROBABILITY = 60
HELP_CONFIDENCE = 50
ACTIONS = (
    {"type": "review_prerequisites", "label": "Review Basics First"},
    {"type": "continue_anyway", "label": "I'm Ready!"},
)
MESSAGES = {
    "prereq_mastery": "This builds on concepts you haven't fully mastered. Want to review the basics first?",
    "similar_performance": "Similar topics were hard for you. Want to see a worked example first?",
    "content_difficulty": "This is one of the harder lessons. Want to start with an easier introduction?",
    "recency": "It has been a while since you practised what this builds on. Want a quick refresher?",
    "cognitive_load": "You have done a lot already. Want to take a short break first?",
    "sentiment": "Learning has felt hard lately. Want to take this one step by step together?",
}
UNSEEN_MASTERY, UNSEEN_EVIDENCE = 0.25, 0.3
LOAD_WINDOW = 2 * HOUR
LATE_HOURS = (23, 0, 1, 2, 3, 4)
_WEIGHT = np.array(list(WEIGHTS.values()))

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class Questions:
    """``n`` questions. Skills that they name are flat: ``prereq_of (k,)`` says whose each one is.

    States of skills never practised are zero rows with ``seen`` false. ``difficulty`` and ``sentiment``
    are NaN where unknown.
    """

    as_of: Ints
    prereq_of: Ints
    prereq: NDArray[np.void]  # (k,) MEMORY
    prereq_seen: Bools
    similar_of: Ints
    similar: NDArray[np.void]  # (j,) MEMORY
    similar_seen: Bools
    difficulty: Floats
    load: Floats
    sentiment: Floats  # [-1, 1]
    sentiments: Floats  # how many


@dataclass(slots=True)
class Struggle:
    """Answers. ``score``, ``confidence`` and ``contributions (n, 6)`` in hundredths; NaN = unknown.

    ``features (n, 6)`` are as named in the specification: mastery, performance, recency and sentiment are
    high when all is well. ``days_since_review`` is -1 where nothing was ever practised.
    """

    score: Ints
    confidence: Ints
    contributions: Ints
    features: Floats
    enough: Bools
    days_since_review: Ints
    help: Bools


def help_message(contributions: Ints) -> str:
    """What to say, from one answer's contributions ``(6,)``: about the feature that weighs most."""
    return MESSAGES[FEATURES[int(np.argmax(contributions))]]


def cognitive_load(rows: Rows, as_of: Ints, zones: Zones) -> Floats:
    """Load ``(n,)`` in [0, 1] from the last two hours' minutes and completions, and the hour of the night."""
    now, since = as_of[:, None], as_of[:, None] - LOAD_WINDOW
    sessions = rows["recent_sessions"]
    ended = ((sessions >> np.uint64(16)).astype(np.int64) - 1) * 1000
    length = (sessions & np.uint64(0xFFFF)).astype(np.int64) * 60_000
    overlap = np.clip(np.minimum(ended, now) - np.maximum(ended - length, since), 0, None)
    minutes = np.minimum(overlap.sum(axis=1) / 60_000, 120.0)
    done = (rows["recent_completions"].astype(np.int64) - 1) * 1000
    completions = ((done >= 0) & (done > since) & (done <= now)).sum(axis=1)
    late = np.isin((as_of + zones.offsets(as_of)) // HOUR % 24, LATE_HOURS)
    return 0.6 * minutes / 120.0 + 0.3 * np.minimum(completions / 12.0, 1.0) + 0.1 * late


def predict(questions: Questions) -> Struggle:
    """Answer each question."""
    many = len(questions.as_of)
    prereq, prereq_evidence, asked_prereq = _prerequisites(questions, many)
    similar, similar_evidence, asked_similar = _similar(questions, many)
    fresh, seen, days = _recency(questions, many)
    difficulty_known = ~np.isnan(questions.difficulty)
    mood_known = questions.sentiments > 0
    mood = np.where(mood_known, (1.0 + np.nan_to_num(questions.sentiment)) / 2.0, np.nan)
    features = np.stack([prereq, similar, questions.difficulty, fresh, questions.load, mood], axis=1)
    evidence = np.stack(
        [
            prereq_evidence,
            similar_evidence,
            difficulty_known * 1.0,
            seen * 1.0,
            np.ones(many),
            questions.sentiments / (questions.sentiments + 1.5),
        ],
        axis=1,
    )
    always = np.ones(many, bool)
    asked = np.stack([asked_prereq, asked_similar, difficulty_known, asked_prereq, always, always], axis=1)
    values = np.nan_to_num(features)
    values = np.where(np.array([True, True, False, True, False, True]), 1.0 - values, values)
    evidence = np.where(np.isnan(features) | ~asked, 0.0, evidence)
    enough = evidence[:, :3].sum(axis=1) > 0
    weights = evidence * _WEIGHT
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    contributions = np.where(enough[:, None], weights * (values - 0.5), 0.0)
    score = hundredths(np.clip(0.5 + contributions.sum(axis=1), 0.0, 1.0))
    covered = (evidence * _WEIGHT).sum(axis=1) / np.maximum((asked * _WEIGHT).sum(axis=1), 1e-9)
    confidence = np.where(enough, hundredths(covered), 0)
    return Struggle(
        score=score,
        confidence=confidence,
        contributions=round_contributions(contributions, score - 50),
        features=features,
        enough=enough,
        days_since_review=days,
        help=(score >= HELP_PROBABILITY) & (confidence >= HELP_CONFIDENCE),
    )


def _mastery_now(states: NDArray[np.void], as_of: Ints) -> tuple[Floats, Floats]:
    level = mastery(states["hits"], states["weight"]) / MASTERY_UNIT
    kept = recall(as_of - states["last_at"], np.maximum(states["stability"], 1))
    return level, kept


def _prerequisites(questions: Questions, many: int) -> tuple[Floats, Floats, Bools]:
    """Mastery now of the prerequisites (0.6 weakest, 0.4 mean), evidence, whether any is named."""
    of, seen = questions.prereq_of, questions.prereq_seen
    level, kept = _mastery_now(questions.prereq, questions.as_of[of])
    now = np.where(seen, level * kept, UNSEEN_MASTERY)
    scored = questions.prereq["scored"].astype(np.float64)
    sure = np.where(seen, scored / (scored + 1.0), UNSEEN_EVIDENCE)
    count = np.bincount(of, minlength=many)
    weakest = np.full(many, np.inf)
    np.minimum.at(weakest, of, now)
    mean = np.bincount(of, now, many) / np.maximum(count, 1)
    value = np.where(count > 0, 0.6 * weakest + 0.4 * mean, np.nan)
    return value, np.bincount(of, sure, many) / np.maximum(count, 1), count > 0


def _similar(questions: Questions, many: int) -> tuple[Floats, Floats, Bools]:
    """Mean level of the similar skills practised, the better remembered ones counting more."""
    of, seen = questions.similar_of, questions.similar_seen
    level, kept = _mastery_now(questions.similar, questions.as_of[of])
    weight = np.where(seen, kept, 0.0)
    total = np.bincount(of, weight, many)
    scored = np.bincount(of, np.where(seen, questions.similar["scored"], 0), many)
    value = np.where(total > 0, np.bincount(of, weight * level, many) / np.maximum(total, 1e-9), np.nan)
    return value, scored / (scored + 2.0), np.bincount(of, minlength=many) > 0


def _recency(questions: Questions, many: int) -> tuple[Floats, Bools, Ints]:
    """Mean recall of the practised prerequisites, whether there is any, days since the longest ago."""
    of, seen = questions.prereq_of, questions.prereq_seen
    _, kept = _mastery_now(questions.prereq, questions.as_of[of])
    count = np.bincount(of[seen], minlength=many)
    fresh = np.bincount(of[seen], kept[seen], many) / np.maximum(count, 1)
    days = np.full(many, -1)
    elapsed = np.maximum(questions.as_of[of] - questions.prereq["last_at"], 0) // DAY
    np.maximum.at(days, of[seen], elapsed[seen])
    return np.where(count > 0, fresh, np.nan), count > 0, days

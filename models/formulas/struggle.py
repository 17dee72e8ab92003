"""How likely a learner struggles with a content, by six features (specification, "Struggle Predictor").

A feature that the request does not ask for is left out and costs nothing. A requested feature of which little
is known costs confidence. Each feature is read on the learner's own scale: a neutral feature means that the
learner struggles as often as usual, so the weighted mean is a probability (docs/accuracy.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths, round_contributions
from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas.struggle_rates import skill_rate
from lyo.models.state.forgetting import recall
from lyo.models.state.learner import Rows

__all__ = [
    "ACTIONS",
    "FEATURES",
    "HELP_CONFIDENCE",
    "HELP_PROBABILITY",
    "MODEL",
    "WEIGHTS",
    "Struggle",
    "StruggleInputs",
    "cognitive_load",
    "help_message",
    "predict",
]

MODEL = "struggle-weights-3"
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
UNSEEN_EVIDENCE = 0.3
LEAST, MOST = 0.01, 0.99
"""Bounds of a probability: nothing is certain."""
LOAD_WINDOW = 2 * HOUR
LATE_HOURS = (23, 0, 1, 2, 3, 4)
WEAKEST_SHARE = 0.6
_WEIGHT = np.array(list(WEIGHTS.values()))
# The features of each subset of a request's metadata: recency comes with prerequisites, load and mood always.
_PARTS = [
    np.array([prereq, similar, difficulty, prereq, True, True])
    for prereq, similar, difficulty in product((False, True), repeat=3)
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class StruggleInputs:
    """Inputs of ``n`` requests. Named skills are flat: ``prereq_of (k,)`` is the index of each one's request.

    States of skills never practised are zero rows with ``seen`` false. ``difficulty`` and ``load`` are in
    [0, 1]. ``difficulty`` and ``sentiment`` are NaN where unknown.
    """

    as_of: Ints
    own: Floats  # how often the learner struggles: see `struggle_rates.own_rate`
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
    """Predictions for ``n`` requests; ``score``, ``confidence`` and ``contributions (n, 6)`` in hundredths.

    ``features (n, 6)`` are in [0, 1], named as in the specification, NaN where unknown: mastery,
    performance, recency and sentiment are high when all is well. ``days_since_review`` is -1 where nothing
    was ever practised. ``unsure`` marks requests for which help would be offered if more were known.
    """

    score: Ints
    confidence: Ints
    contributions: Ints
    features: Floats
    enough: Bools
    days_since_review: Ints
    help: Bools
    unsure: Bools


def help_message(contributions: Ints) -> str:
    """Message that offers help, about the largest of one prediction's contributions ``(6,)``."""
    return MESSAGES[FEATURES[int(np.argmax(contributions))]]


def cognitive_load(rows: Rows, as_of: Ints, zones: Zones) -> Floats:
    """Cognitive load ``(n,)`` in [0, 1] of LEARNER rows ``(n,)`` as of instants ``(n,)`` in ms.

    It grows with the minutes and completions of the last two hours, and at night.
    """
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


def predict(inputs: StruggleInputs) -> Struggle:
    """Struggle predictions for the requests ``(n,)`` of ``inputs``; none is below 0.01 or above 0.99."""
    many, own = len(inputs.as_of), inputs.own
    prereq = _skills(inputs.prereq_of, inputs.prereq, inputs.prereq_seen, own, WEAKEST_SHARE)
    similar = _skills(inputs.similar_of, inputs.similar, inputs.similar_seen, own, 0.0)
    fresh, reviewed, days = _recency(inputs, many)
    mood = np.where(inputs.sentiments > 0, (1.0 + np.nan_to_num(inputs.sentiment)) / 2.0, np.nan)
    difficult = ~np.isnan(inputs.difficulty)
    features = np.stack(
        [1.0 - prereq.rate, 1.0 - similar.rate, inputs.difficulty, fresh, inputs.load, mood], axis=1
    )
    always, felt = np.ones(many), inputs.sentiments / (inputs.sentiments + 1.5)
    asked = np.stack([prereq.asked, similar.asked, difficult, prereq.asked, always > 0, always > 0], axis=1)
    known = np.stack([prereq.known, similar.known, difficult * 1.0, reviewed * 1.0, always, felt], axis=1)
    enough = prereq.asked | similar.asked | difficult
    # Thin evidence has already drawn the rates toward the learner's own; their weights do not do it again.
    usable = np.stack([asked[:, 0], asked[:, 1], difficult, reviewed, always, felt], axis=1) * _WEIGHT
    shares = usable / np.maximum(usable.sum(axis=1, keepdims=True), 1e-9)
    contributions = np.where(enough[:, None], shares * (_values(np.nan_to_num(features), own) - 0.5), 0.0)
    total = contributions.sum(axis=1)
    bounded = np.clip(total, LEAST - 0.5, MOST - 0.5)
    contributions *= (bounded / np.where(total == 0, 1.0, total))[:, None]
    score = hundredths(0.5 + bounded)
    confidence = np.where(enough, hundredths(_covered(known, asked)), 0)
    best = known.copy()
    best[:, 0], best[:, 1] = prereq.best, similar.best
    supported = hundredths(_best_covered(best, asked)) >= HELP_CONFIDENCE
    likely = enough & (score >= HELP_PROBABILITY)
    # A requested feature that is unknown lowers the confidence, but does not withdraw help.
    confidence = np.where(likely & supported, np.maximum(confidence, HELP_CONFIDENCE), confidence)
    offered = likely & (confidence >= HELP_CONFIDENCE)
    return Struggle(
        score=score,
        confidence=confidence,
        contributions=round_contributions(contributions, score - 50),
        features=features,
        enough=enough,
        days_since_review=days,
        help=offered,
        unsure=likely & ~offered,
    )


def _values(features: Floats, own: Floats) -> Floats:
    """Probability of struggle ``(n, 6)`` by each feature ``(n, 6)`` alone; unknown features are zeros."""
    prereq, similar = 1.0 - features[:, 0], 1.0 - features[:, 1]
    forgotten = 1.0 - features[:, 3]
    return np.stack(
        [
            prereq,
            similar,
            _on_own_scale(features[:, 2], own),
            # Spaced practice intends some forgetting; only much of it is a burden.
            prereq + forgotten * forgotten * forgotten * (1.0 - prereq),
            _on_own_scale(features[:, 4], own),
            _on_own_scale(1.0 - features[:, 5], own),
        ],
        axis=1,
    )


def _on_own_scale(burden: Floats, own: Floats) -> Floats:
    """Probability of struggle ``(n,)`` by a burden in [0, 1]: 0 at 0, the own rate at 0.5, 1 at 1."""
    return np.where(burden <= 0.5, 2.0 * burden * own, own + (2.0 * burden - 1.0) * (1.0 - own))


def _covered(known: Floats, asked: Bools) -> Floats:
    """Share ``(n,)`` of the requested features' weight that is known."""
    covered: Floats = (known * asked * _WEIGHT).sum(axis=1) / np.maximum((asked * _WEIGHT).sum(axis=1), 1e-9)
    return covered


def _best_covered(known: Floats, asked: Bools) -> Floats:
    """The largest `_covered` ``(n,)`` of any subset of a request's three kinds of metadata."""
    best = np.zeros(len(known))
    for chosen in _PARTS:
        has = asked & chosen
        best = np.maximum(best, np.where(has[:, :3].any(axis=1), _covered(known, has), 0.0))
    return best


@dataclass(slots=True)
class _Skills:
    """The skills that requests ``(n,)`` name: ``rate`` of struggle, NaN where none is named.

    ``known`` in [0, 1] is the mean evidence of the skills, ``best`` that of all their attempts together.
    """

    rate: Floats
    known: Floats
    best: Floats
    asked: Bools


def _skills(of: Ints, states: NDArray[np.void], seen: Bools, own: Floats, weakest: float) -> _Skills:
    """Rate of struggle with the named skills: their mean, and the worst with a share of ``weakest``."""
    many = len(own)
    rate, count = skill_rate(states, own[of]), np.bincount(of, minlength=many)
    worst = np.zeros(many)
    np.maximum.at(worst, of, rate)
    mean = np.bincount(of, rate, many) / np.maximum(count, 1)
    scored = np.where(seen, states["scored"], 0).astype(np.float64)
    sure = np.where(scored > 0, scored / (scored + 1.0), UNSEEN_EVIDENCE)
    together = np.bincount(of, scored, many)
    return _Skills(
        rate=np.where(count > 0, weakest * worst + (1.0 - weakest) * mean, np.nan),
        known=np.bincount(of, sure, many) / np.maximum(count, 1),
        best=np.where(together > 0, together / (together + 1.0), UNSEEN_EVIDENCE),
        asked=count > 0,
    )


def _recency(inputs: StruggleInputs, many: int) -> tuple[Floats, Bools, Ints]:
    """Mean recall of the practised prerequisites, whether there are any, days since the oldest practice."""
    of, seen = inputs.prereq_of, inputs.prereq_seen
    elapsed = inputs.as_of[of] - inputs.prereq["last_at"]
    kept = recall(elapsed, np.maximum(inputs.prereq["stability"], 1))
    count = np.bincount(of[seen], minlength=many)
    fresh = np.bincount(of[seen], kept[seen], many) / np.maximum(count, 1)
    days = np.full(many, -1)
    np.maximum.at(days, of[seen], np.maximum(elapsed[seen], 0) // DAY)
    return np.where(count > 0, fresh, np.nan), count > 0, days

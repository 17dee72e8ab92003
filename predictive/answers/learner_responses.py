"""Answers about a learner who has been read: plain JSON types under the specification's field names.

A learner has to be read with the kinds that an answer needs (`reading.LearnerQuery.kinds`).
"""

from __future__ import annotations

from collections.abc import Sequence

from lyo.models.interventions import insights as overview
from lyo.models.predictions.kinds import DROPOUT_RISK, PLATEAUS, REGRESSIONS, TIMING, PredictionKind
from lyo.predictive.answers import recording
from lyo.predictive.answers.reading import LearnerSnapshot, struggles
from lyo.predictive.answers.responses import (
    Answer,
    dropout_answer,
    moment_answer,
    plain,
    plateau_answers,
    regression_answers,
    struggle_answer,
    text_of,
)

__all__ = [
    "dropout_risk",
    "insights",
    "of_kind",
    "plateaus",
    "ranked",
    "regressions",
    "timing_check",
    "timing_profile",
]


def dropout_risk(learner: LearnerSnapshot) -> Answer:
    """Dropout risk, with what came of it; needs `DROPOUT_RISK`."""
    (record,) = learner.records[DROPOUT_RISK.name]
    return dropout_answer(record, learner.row) | learner.completeness


def timing_profile(learner: LearnerSnapshot) -> Answer:
    """When the learner learns; needs `TIMING`."""
    (record,) = learner.records[TIMING.name]
    return plain(record) | learner.completeness


def timing_check(learner: LearnerSnapshot) -> Answer:
    """Whether the moment asked about is a good one; needs `TIMING`."""
    (record,) = learner.records[TIMING.name]
    return moment_answer(learner.judged(), record, studied=learner.studied()) | learner.completeness


def plateaus(learner: LearnerSnapshot, *, active_only: bool) -> list[Answer]:
    """Plateaus, the longest first; needs `PLATEAUS`."""
    rows = learner.row.get("plateaus", ())
    episodes = plateau_answers(learner.records[PLATEAUS.name], rows, active_only=active_only)
    complete = learner.completeness
    return [episode | complete for episode in episodes]


def regressions(learner: LearnerSnapshot, *, active_only: bool) -> list[Answer]:
    """Regressions, the most urgent first; needs `REGRESSIONS`."""
    rows = learner.row.get("regressions", ())
    episodes = regression_answers(learner.records[REGRESSIONS.name], rows, active_only=active_only)
    complete = learner.completeness
    return [episode | complete for episode in episodes]


def insights(learner: LearnerSnapshot) -> Answer:
    """Every prediction, and what to do first; needs all kinds."""
    good = learner.is_good()
    risk, timing = dropout_risk(learner), timing_profile(learner)
    stuck, fading = plateaus(learner, active_only=True), regressions(learner, active_only=True)
    nudge = good and timing["confidence"] > 0 and not learner.studied()
    return {
        "user_id": learner.query.user_id,
        "dropout_risk": risk,
        "active_plateaus": stuck,
        "skill_regressions": fading,
        "timing_profile": timing,
        "is_good_time_now": good,
        "total_insights": overview.count(risk, stuck, fading, timing),
        "priority_actions": overview.priority_actions(risk, stuck, fading, nudge=nudge),
        "generated_at": text_of(learner.query.at),
        "stale": learner.completeness["stale"],
    }


def of_kind(learner: LearnerSnapshot, kind: PredictionKind) -> Answer | list[Answer]:
    """The record of a kind about learners, or the records of one about skills; needs the kind."""
    complete = learner.completeness
    responses = [plain(record) | complete for record in learner.records[kind.name]]
    return responses if kind.subject else responses[0]


def ranked(learner: LearnerSnapshot, contents: Sequence[Answer]) -> list[Answer]:
    """Struggle with each of ``contents`` (content_metadata), the lowest risk first; needs `STRUGGLE`."""
    user, now = learner.query.user_id, learner.query.now
    requests = [
        recording.struggle_request(user, None, f"rank-{place}", now, content).request()
        for place, content in enumerate(contents)
    ]
    records = struggles(learner, requests).records if requests else []
    complete = learner.completeness
    answers = [
        struggle_answer(record) | {"position": place} | complete for place, record in enumerate(records)
    ]
    for answer, content in zip(answers, contents, strict=True):
        answer["content_id"] = content.get("content_id")
    return sorted(answers, key=lambda answer: (answer["struggle_probability"], answer["position"]))

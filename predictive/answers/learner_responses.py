"""What is told of a learner who has been read: plain JSON under the specification's field names."""

from __future__ import annotations

from collections.abc import Sequence

from lyo.models.interventions import insights as overview
from lyo.models.predictions.kinds import DROPOUT_RISK, PLATEAUS, REGRESSIONS, TIMING, PredictionKind
from lyo.predictive.answers import recording
from lyo.predictive.answers.reading import Seen, struggles
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


def dropout_risk(seen: Seen) -> Answer:
    """Dropout risk; of a learner read with `DROPOUT_RISK`."""
    (record,) = seen.records[DROPOUT_RISK.name]
    return dropout_answer(record, seen.row) | seen.completeness


def timing_profile(seen: Seen) -> Answer:
    """When the learner learns; of one read with `TIMING`."""
    (record,) = seen.records[TIMING.name]
    return plain(record) | seen.completeness


def timing_check(seen: Seen) -> Answer:
    """Whether the moment asked about is a good one; of a learner read with `TIMING`."""
    (record,) = seen.records[TIMING.name]
    return moment_answer(seen.judged(), record, studied=seen.studied()) | seen.completeness


def plateaus(seen: Seen, *, active_only: bool) -> list[Answer]:
    """Plateaus, the longest first; of a learner read with `PLATEAUS`."""
    rows = seen.row.get("plateaus", ())
    found = plateau_answers(seen.records[PLATEAUS.name], rows, active_only=active_only)
    complete = seen.completeness
    return [each | complete for each in found]


def regressions(seen: Seen, *, active_only: bool) -> list[Answer]:
    """Regressions, the most urgent first; of a learner read with `REGRESSIONS`."""
    rows = seen.row.get("regressions", ())
    found = regression_answers(seen.records[REGRESSIONS.name], rows, active_only=active_only)
    complete = seen.completeness
    return [each | complete for each in found]


def insights(seen: Seen) -> Answer:
    """All of it, and what to do first; of a learner read with every kind."""
    good = seen.is_good()
    risk, timing = dropout_risk(seen), timing_profile(seen)
    stuck, fading = plateaus(seen, active_only=True), regressions(seen, active_only=True)
    nudge = good and timing["confidence"] > 0 and not seen.studied()
    return {
        "user_id": seen.asked.user_id,
        "dropout_risk": risk,
        "active_plateaus": stuck,
        "skill_regressions": fading,
        "timing_profile": timing,
        "is_good_time_now": good,
        "total_insights": overview.count(risk, stuck, fading, timing),
        "priority_actions": overview.priority_actions(risk, stuck, fading, nudge=nudge),
        "generated_at": text_of(seen.asked.at),
        "stale": seen.completeness["stale"],
    }


def of_kind(seen: Seen, kind: PredictionKind) -> Answer | list[Answer]:
    """What a kind without an answer of its own says of the learner, or of each skill; read with this kind."""
    complete = seen.completeness
    found = [plain(record) | complete for record in seen.records[kind.name]]
    return found if kind.subject else found[0]


def ranked(seen: Seen, contents: Sequence[Answer]) -> list[Answer]:
    """Struggle with many contents, the lowest risk first; of a learner read with `STRUGGLE`."""
    user, now = seen.asked.user_id, seen.asked.now
    asked = [
        recording.question(user, None, f"rank-{place}", now, each).request()
        for place, each in enumerate(contents)
    ]
    records = struggles(seen, asked).records if asked else []
    complete = seen.completeness
    answers = [
        struggle_answer(record) | {"position": place} | complete for place, record in enumerate(records)
    ]
    for answer, each in zip(answers, contents, strict=True):
        answer["content_id"] = each.get("content_id")
    return sorted(answers, key=lambda answer: (answer["struggle_probability"], answer["position"]))

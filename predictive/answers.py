"""What the API and the predictors answer and record, from Postgres alone (specification, "API Endpoints").

Every function takes an `AsyncSession` and returns plain JSON types under the specification's field names;
times are RFC 3339 text. `at` is the moment (ms) that is asked about, `now` the caller's clock (ms): `at` None
means `now`. `organization` is the tenant that the caller is restricted to, None for one who may see all; a
learner of another organization is answered as one of whom nothing is known.

A learner of whom too little is known is no error: the answer is neutral, with confidence 0 and a `reason`.

Functions that record commit what they wrote, unless `commit=False`: then the caller's transaction decides.

All functions raise:
    models.layout.LayoutError: a stored row that this version cannot read.
    models.events.EventError: bad input, with the `field` to blame.
    sqlalchemy.exc.SQLAlchemyError, OSError: Postgres refuses, or cannot be reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from models import insights as overview
from models import stored
from models.answering import Group
from models.event_types import OutcomeKind
from models.events import Kind
from predictive import reading, recording
from predictive.erasure import erasure_progress, request_erasure
from predictive.reading import Found, is_foreign
from predictive.shapes import (
    Answer,
    dropout_answer,
    moment_answer,
    plateau_answers,
    regression_answers,
    struggle_answer,
    text_of,
    timing_answer,
)
from storage import lookups, outbox, questions
from streams.topics import Names

__all__ = [
    "Answer",
    "dropout_risk",
    "dropout_risks",
    "erasure_progress",
    "insights",
    "is_foreign",
    "plateaus",
    "predict_struggle",
    "rank_struggle",
    "record_outcome",
    "regressions",
    "request_erasure",
    "timing_check",
    "timing_profile",
]


async def dropout_risk(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    at: int | None = None,
    now: int | None = None,
    names: Names | None = None,
) -> Answer:
    """Dropout risk, with the specification's fields.

    Also: as_of, valid_until, stale, confidence, reason, factors, timezone, model, organization_id, user_id,
    strategy_executed, strategy_executed_at, user_returned, returned_at.
    """
    (answer,) = await dropout_risks(
        db, user_ids=[user_id], organization=organization, at=at, now=now, names=names
    )
    return answer


async def dropout_risks(
    db: AsyncSession,
    *,
    user_ids: Sequence[int],
    organization: int | None,
    at: int | None = None,
    now: int | None = None,
    names: Names | None = None,
) -> list[Answer]:
    """Dropout risks of many learners, in one query and in the order given, each learner once."""
    at, now = reading.moments(at, now)
    users = list(dict.fromkeys(user_ids))
    if not users:
        return []
    found = await reading.learners(db, users, organization, now, names)
    return _risks(found, found.stored.as_of(found.catalogue, at), now)


async def timing_profile(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    at: int | None = None,
    now: int | None = None,
    names: Names | None = None,
) -> Answer:
    """Timing profile, with the specification's fields; unknown hours and times are null.

    Also: as_of, valid_until, stale, reason, timezone, model, recommended_time, organization_id.
    """
    at, now = reading.moments(at, now)
    found = await reading.learners(db, [user_id], organization, now, names)
    records, _ = stored.timing_profiles(found.stored.as_of(found.catalogue, at))
    return timing_answer(records[0]) | {"stale": found.stale(user_id, now)}


async def timing_check(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    at: int | None = None,
    now: int | None = None,
    names: Names | None = None,
) -> Answer:
    """Whether `at` is a good time: is_good_time, reasoning, alternative_time.

    alternative_time is null when the time is good, or when none is within two weeks. Also: score, confidence,
    factors, studied_today, timezone, as_of, stale.
    """
    at, now = reading.moments(at, now)
    found = await reading.learners(db, [user_id], organization, now, names)
    learners = found.stored.as_of(found.catalogue, at)
    records, profile = stored.timing_profiles(learners)
    judged = stored.moment(learners, profile, 0, at, found.catalogue)
    answer = moment_answer(judged, records[0], studied=stored.studied(learners, 0, at))
    return answer | {"stale": found.stale(user_id, now)}


async def plateaus(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    at: int | None = None,
    now: int | None = None,
    active_only: bool = True,
    names: Names | None = None,
) -> list[Answer]:
    """The specification's plateau objects, the longest first.

    `plateau_id` is the row's number, null for one that has been found for this moment and is not stored yet.
    Also: resolved(_at), ended_at, ended_because, intervention_taken, confidence, factors, model, as_of,
    valid_until, stale, updated_at.
    """
    at, now = reading.moments(at, now)
    found = await reading.learners(db, [user_id], organization, now, names, with_skills=True)
    records = stored.plateaus(found.stored, found.catalogue, at)
    rows = await lookups.plateau_episodes(db, [user_id]) if records else []
    stale = {"stale": found.stale(user_id, now)}
    return [each | stale for each in plateau_answers(records, rows, active_only=active_only)]


async def regressions(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    at: int | None = None,
    now: int | None = None,
    active_only: bool = True,
    names: Names | None = None,
) -> list[Answer]:
    """The specification's regression objects, the most urgent first.

    `regression_id` is the row's number, null for one that has been found for this moment and is not stored
    yet. Also: is_active, resolved_at, predicted_mastery_in_week, urgency_score, reminder_sent_at,
    user_reviewed, reviewed_at, confidence, factors, model, as_of, valid_until, stale.
    """
    at, now = reading.moments(at, now)
    found = await reading.learners(db, [user_id], organization, now, names, with_skills=True)
    records = stored.regressions(found.stored, found.catalogue, at)
    rows = await lookups.regression_episodes(db, [user_id]) if records else []
    stale = {"stale": found.stale(user_id, now)}
    return [each | stale for each in regression_answers(records, rows, active_only=active_only)]


async def insights(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    at: int | None = None,
    now: int | None = None,
    names: Names | None = None,
) -> Answer:
    """All of it in one answer, with the specification's fields.

    They are user_id, dropout_risk, active_plateaus, skill_regressions, timing_profile, is_good_time_now,
    total_insights, priority_actions {type, message, action, priority}, generated_at. Also: stale.
    """
    at, now = reading.moments(at, now)
    found = await reading.learners(db, [user_id], organization, now, names, with_skills=True)
    stuck, fading = (
        report(found.stored, found.catalogue, at) for report in (stored.plateaus, stored.regressions)
    )
    stuck_rows = await lookups.plateau_episodes(db, [user_id]) if stuck else []
    fading_rows = await lookups.regression_episodes(db, [user_id]) if fading else []
    learners = found.stored.as_of(found.catalogue, at)
    timings, profile = stored.timing_profiles(learners)
    good = stored.moment(learners, profile, 0, at, found.catalogue).is_good
    stale = {"stale": found.stale(user_id, now)}
    (risk,) = _risks(found, learners, now)
    timing = timing_answer(timings[0]) | stale
    plateaus_now = [each | stale for each in plateau_answers(stuck, stuck_rows, active_only=True)]
    regressions_now = [each | stale for each in regression_answers(fading, fading_rows, active_only=True)]
    nudge = good and timing["confidence"] > 0 and not stored.studied(learners, 0, at)
    return {
        "user_id": user_id,
        "dropout_risk": risk,
        "active_plateaus": plateaus_now,
        "skill_regressions": regressions_now,
        "timing_profile": timing,
        "is_good_time_now": good,
        "total_insights": overview.count(risk, plateaus_now, regressions_now, timing),
        "priority_actions": overview.priority_actions(risk, plateaus_now, regressions_now, nudge=nudge),
        "generated_at": text_of(at),
        **stale,
    }


async def predict_struggle(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    content_metadata: Answer,
    at: int | None = None,
    now: int | None = None,
    request_id: str | None = None,
    names: Names | None = None,
    commit: bool = True,
) -> Answer:
    """The specification's struggle prediction; `prediction_id` is the integer id of its stored row.

    Also: content_id, request_id, content_type, reason, factors, actions, model, as_of, valid_until, stale.
    The same `request_id` again is answered as the first time and asks nothing anew.
    """
    at, now = reading.moments(at, now)
    found = await reading.learners(db, [user_id], organization, now, names)
    owner = found.organization_of(user_id) or organization
    asked = recording.question(user_id, owner, request_id or recording.new_id(), now, content_metadata)
    (record,) = await reading.struggles(db, found, [asked.request()], at)
    stale = {"stale": found.stale(user_id, now), "request_id": asked.id}
    if user_id in found.foreign:
        return struggle_answer(record) | {"prediction_id": await questions.spare_id(db), **stale}
    written = await questions.write(db, msgspec.json.encode(record))
    if written.written:
        await outbox.add(db, [asked.outgoing(names or reading.default_names())])
    answered: Mapping[str, Any] = record
    if written.again:
        answered = await questions.stored(db, written.id)
    number = await questions.spare_id(db) if written.foreign else written.id
    if commit:
        await db.commit()
    return struggle_answer(answered) | {"prediction_id": number, **stale}


async def rank_struggle(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    contents: list[Answer],
    at: int | None = None,
    now: int | None = None,
    names: Names | None = None,
) -> list[Answer]:
    """Answers for many `content_metadata`, the lowest risk first; stores nothing.

    Each has the fields of `predict_struggle` except prediction_id and request_id, and `position`, its place
    in `contents`.
    """
    at, now = reading.moments(at, now)
    found = await reading.learners(db, [user_id], organization, now, names)
    asked = [
        recording.question(user_id, None, f"rank-{place}", now, each).request()
        for place, each in enumerate(contents)
    ]
    records = await reading.struggles(db, found, asked, at) if asked else []
    stale = {"stale": found.stale(user_id, now)}
    answers = [struggle_answer(record) | {"position": place} | stale for place, record in enumerate(records)]
    for answer, each in zip(answers, contents, strict=True):
        answer["content_id"] = each.get("content_id")
    return sorted(answers, key=lambda answer: (answer["struggle_probability"], answer["position"]))


async def record_outcome(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    content_id: str,
    struggled: bool,
    completion_time_seconds: float | None = None,
    gave_up: bool | None = None,
    at: int | None = None,
    now: int | None = None,
    event_id: str | None = None,
    names: Names | None = None,
    commit: bool = True,
) -> Answer:
    """{"success": true, "message": ..., "event_id": ...}; the same `event_id` again counts once."""
    at, now = reading.moments(at, now)
    fields = {
        "content_id": content_id,
        "kind": (OutcomeKind.STRUGGLED if struggled else OutcomeKind.NOT_STRUGGLED).value,
        "completion_time_seconds": completion_time_seconds,
        "gave_up": gave_up,
    }
    event = await recording.record(
        db,
        Kind.OUTCOME,
        user_id,
        organization,
        fields,
        event_id=event_id,
        at=at,
        now=now,
        names=names or reading.default_names(),
        commit=commit,
    )
    return {"success": True, "message": "Outcome recorded successfully", "event_id": event.id}


def _risks(found: Found, learners: Group, now: int) -> list[Answer]:
    """Dropout risks of the learners found."""
    return [
        dropout_answer(record, found.row(user)) | {"stale": found.stale(user, now)}
        for user, record in zip(found.users, stored.dropout_risks(learners), strict=True)
    ]

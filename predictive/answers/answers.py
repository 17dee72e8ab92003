"""What the API and the predictors answer and record, from Postgres alone (specification, "API Endpoints").

Every function takes an `AsyncSession` and returns plain JSON types under the specification's field names;
times are RFC 3339 text. `at` is the moment asked about and `now` the caller's clock, both in ms; `at` None
means `now`. `organization` is the tenant that the caller is restricted to, None for a caller who may see all;
about a learner of another organization the answer is that of an unknown learner. `learner` is the learner, if
the caller has read it already.

Too little data is no error: the answer is neutral, with confidence 0 and a `reason`.

Functions that write commit, unless `commit=False`: then the caller commits.

All functions raise:
    lyo.models.state.layout.LayoutError: a stored row that this version cannot read.
    lyo.models.events.decode.EventError: bad input, with the `field` to blame.
    sqlalchemy.exc.SQLAlchemyError, OSError: Postgres refuses, or cannot be reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.events.decode import Kind
from lyo.models.events.types import OutcomeKind
from lyo.models.predictions.kinds import (
    DROPOUT_RISK,
    KINDS,
    PLATEAUS,
    REGRESSIONS,
    STRUGGLE,
    TIMING,
    PredictionKind,
)
from lyo.predictive.answers import learner_responses, reading, recording
from lyo.predictive.answers.erasure import erasure_progress, request_erasure
from lyo.predictive.answers.reading import LearnerQuery, LearnerSnapshot
from lyo.predictive.answers.responses import Answer, stored_struggle_answer, struggle_answer
from lyo.storage.outbox import struggle_requests
from lyo.streams.topics import Names

__all__ = [
    "Answer",
    "dropout_risk",
    "dropout_risks",
    "erasure_progress",
    "insights",
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
    return learner_responses.dropout_risk(
        await _learner(db, user_id, organization, at, now, names, DROPOUT_RISK)
    )


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
    queries = [LearnerQuery(user, organization, at, now, (DROPOUT_RISK,)) for user in users]
    return [learner_responses.dropout_risk(learner) for learner in await reading.many(db, queries, names)]


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
    return learner_responses.timing_profile(await _learner(db, user_id, organization, at, now, names, TIMING))


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
    return learner_responses.timing_check(await _learner(db, user_id, organization, at, now, names, TIMING))


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
    learner = await _learner(db, user_id, organization, at, now, names, PLATEAUS)
    return learner_responses.plateaus(learner, active_only=active_only)


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
    learner = await _learner(db, user_id, organization, at, now, names, REGRESSIONS)
    return learner_responses.regressions(learner, active_only=active_only)


async def insights(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    at: int | None = None,
    now: int | None = None,
    names: Names | None = None,
) -> Answer:
    """Every prediction in one answer, with the specification's fields.

    They are user_id, dropout_risk, active_plateaus, skill_regressions, timing_profile, is_good_time_now,
    total_insights, priority_actions {type, message, action, priority}, generated_at. Also: stale.
    """
    return learner_responses.insights(await _learner(db, user_id, organization, at, now, names, *KINDS))


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
    learner: LearnerSnapshot | None = None,
) -> Answer:
    """The specification's struggle prediction; `prediction_id` is the integer id of its stored row.

    Also: content_id, request_id, content_type, reason, factors, actions, model, as_of, valid_until, stale.
    The same `request_id` again gets the first answer and writes nothing; another one makes another row. For
    an erased learner no row is stored, and `reason` says so. `learner` has to be read for the same moments,
    with `STRUGGLE`.
    """
    at, now = reading.moments(at, now)
    learner = learner or await _learner(db, user_id, organization, at, now, names, STRUGGLE)
    event = recording.struggle_request(
        user_id, learner.owner, request_id or recording.new_id(), now, content_metadata
    )
    predicted = reading.struggles(learner, [event.request()])
    answer = struggle_answer(predicted.records[0])
    about = {"request_id": event.id} | learner.completeness
    if learner.foreign:
        return answer | {"prediction_id": await struggle_requests.spare_id(db), **about}
    request = event.outgoing(names or reading.default_names())
    written = await struggle_requests.write(db, predicted.sealed(0), request)
    if written.again:
        row = await struggle_requests.stored(db, written.id)
        # Without an organization the row may be the stream's, computed from what the tenant may not see.
        if learner.owned or row["organization_id"] == organization:
            answer = stored_struggle_answer(row)
    if commit:
        await db.commit()
    erased = {"reason": recording.ERASED} if written.erased else {}
    return answer | {"prediction_id": written.id, **about, **erased}


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
    return learner_responses.ranked(
        await _learner(db, user_id, organization, at, now, names, STRUGGLE), contents
    )


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
    learner: LearnerSnapshot | None = None,
) -> Answer:
    """{"success": true, "message": ..., "event_id": ...}; the same `event_id` again counts once.

    Nothing is recorded of an erased learner: `success` is false.
    """
    at, now = reading.moments(at, now)
    learner = learner or await _learner(db, user_id, organization, at, now, names)
    fields = {
        "content_id": content_id,
        "kind": (OutcomeKind.STRUGGLED if struggled else OutcomeKind.NOT_STRUGGLED).value,
        "completion_time_seconds": completion_time_seconds,
        "gave_up": gave_up,
    }
    known = names or reading.default_names()
    number, erased = await recording.record(
        db, Kind.OUTCOME, learner, fields, event_id=event_id, names=known, commit=commit
    )
    message = recording.ERASED if erased else "Outcome recorded successfully"
    return {"success": not erased, "message": message, "event_id": number}


async def record_outcomes(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    outcomes: Sequence[Mapping[str, Any]],
    at: int | None = None,
    now: int | None = None,
    names: Names | None = None,
    commit: bool = True,
    learner: LearnerSnapshot | None = None,
) -> Answer:
    """{"success": true, "message": ..., "event_ids": [...]}; an `event_id` that comes again counts once.

    `outcomes` are the fields of the learner's outcomes, with `event_id` and, in ms, `occurred_at`. If one is
    refused none is recorded; the error's `field` begins with its place, such as `outcomes[0]`.
    """
    at, now = reading.moments(at, now)
    learner = learner or await _learner(db, user_id, organization, at, now, names)
    known = names or reading.default_names()
    events = recording.outcomes(learner, outcomes)
    erased = await recording.write(db, learner, events, names=known, commit=commit)
    message = recording.ERASED if erased else "Outcomes recorded successfully"
    return {"success": not erased, "message": message, "event_ids": [event.id for event in events]}


async def _learner(
    db: AsyncSession,
    user_id: int,
    organization: int | None,
    at: int | None,
    now: int | None,
    names: Names | None,
    *kinds: PredictionKind,
) -> LearnerSnapshot:
    at, now = reading.moments(at, now)
    return await reading.one(db, LearnerQuery(user_id, organization, at, now, kinds), names)

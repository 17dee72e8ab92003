"""What the API and the predictors answer and record, from Postgres alone (specification, "API Endpoints").

Every function takes an `AsyncSession` and returns plain JSON types under the specification's field names;
times are RFC 3339 text. `at` is the moment (ms) that is asked about, `now` the caller's clock (ms): `at` None
means `now`. `organization` is the tenant that the caller is restricted to, None for one who may see all; a
learner of another organization is answered as one of whom nothing is known.

A learner of whom too little is known is no error: the answer is neutral, with confidence 0 and a `reason`.

Functions that record commit what they wrote, unless `commit=False`: then the caller's transaction decides.

All functions raise:
    lyo.models.state.layout.LayoutError: a stored row that this version cannot read.
    lyo.models.events.decode.EventError: bad input, with the `field` to blame.
    sqlalchemy.exc.SQLAlchemyError, OSError: Postgres refuses, or cannot be reached.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from lyo.predictive.answers.reading import Asked, Seen
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
        await _seen(db, user_id, organization, at, now, names, DROPOUT_RISK)
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
    asked = [Asked(user, organization, at, now, (DROPOUT_RISK,)) for user in users]
    return [learner_responses.dropout_risk(seen) for seen in await reading.many(db, asked, names)]


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
    return learner_responses.timing_profile(await _seen(db, user_id, organization, at, now, names, TIMING))


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
    return learner_responses.timing_check(await _seen(db, user_id, organization, at, now, names, TIMING))


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
    seen = await _seen(db, user_id, organization, at, now, names, PLATEAUS)
    return learner_responses.plateaus(seen, active_only=active_only)


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
    seen = await _seen(db, user_id, organization, at, now, names, REGRESSIONS)
    return learner_responses.regressions(seen, active_only=active_only)


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
    return learner_responses.insights(await _seen(db, user_id, organization, at, now, names, *KINDS))


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
    seen: Seen | None = None,
) -> Answer:
    """The specification's struggle prediction; `prediction_id` is the integer id of its stored row.

    Also: content_id, request_id, content_type, reason, factors, actions, model, as_of, valid_until, stale.
    The same `request_id` again is answered as the first time and asks nothing anew, as long as no other has
    asked about the content. Of an erased learner no row is stored, and `reason` says so. `seen`: the learner,
    if read already for the same moments, with `STRUGGLE`.
    """
    at, now = reading.moments(at, now)
    seen = seen or await _seen(db, user_id, organization, at, now, names, STRUGGLE)
    asked = recording.question(user_id, seen.owner, request_id or recording.new_id(), now, content_metadata)
    found = reading.struggles(seen, [asked.request()])
    answer = struggle_answer(found.records[0])
    about = {"request_id": asked.id} | seen.completeness
    if seen.foreign:
        return answer | {"prediction_id": await struggle_requests.spare_id(db), **about}
    question = asked.outgoing(names or reading.default_names())
    written = await struggle_requests.write(db, found.sealed(0), question)
    if written.again:
        row = await struggle_requests.stored(db, written.id)
        # Of a learner of no organization it may be the stream's, who knows what the tenant may not.
        if seen.owned or row["organization_id"] == organization:
            answer = stored_struggle_answer(row)
    number = await struggle_requests.spare_id(db) if written.foreign else written.id
    if commit:
        await db.commit()
    erased = {"reason": recording.ERASED} if written.erased else {}
    return answer | {"prediction_id": number, **about, **erased}


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
        await _seen(db, user_id, organization, at, now, names, STRUGGLE), contents
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
    seen: Seen | None = None,
) -> Answer:
    """{"success": true, "message": ..., "event_id": ...}; the same `event_id` again counts once.

    Of an erased learner nothing is recorded: `success` is false. `seen`: the learner, if read already.
    """
    at, now = reading.moments(at, now)
    seen = seen or await _seen(db, user_id, organization, at, now, names)
    fields = {
        "content_id": content_id,
        "kind": (OutcomeKind.STRUGGLED if struggled else OutcomeKind.NOT_STRUGGLED).value,
        "completion_time_seconds": completion_time_seconds,
        "gave_up": gave_up,
    }
    known = names or reading.default_names()
    number, erased = await recording.record(
        db, Kind.OUTCOME, seen, fields, event_id=event_id, names=known, commit=commit
    )
    message = recording.ERASED if erased else "Outcome recorded successfully"
    return {"success": not erased, "message": message, "event_id": number}


async def _seen(
    db: AsyncSession,
    user_id: int,
    organization: int | None,
    at: int | None,
    now: int | None,
    names: Names | None,
    *kinds: PredictionKind,
) -> Seen:
    at, now = reading.moments(at, now)
    return await reading.one(db, Asked(user_id, organization, at, now, kinds), names)

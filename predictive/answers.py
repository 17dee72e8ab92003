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

from typing import Any, TypeAlias

from sqlalchemy.ext.asyncio import AsyncSession

from streams.topics import Names

__all__ = [
    "Answer",
    "dropout_risk",
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

Answer: TypeAlias = dict[str, Any]


async def is_foreign(db: AsyncSession, *, user_id: int, organization: int | None) -> bool:
    """Whether this learner is known and belongs to another organization: a caller to refuse."""
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError


async def request_erasure(
    db: AsyncSession,
    *,
    user_id: int,
    organization: int | None,
    at: int | None = None,
    now: int | None = None,
    names: Names | None = None,
    commit: bool = True,
) -> Answer:
    """Ask that a learner be forgotten; the answer is that of `erasure_progress`.

    A request that is still waiting to be sent is not written twice.
    """
    raise NotImplementedError


async def erasure_progress(
    db: AsyncSession, *, user_id: int, organization: int | None, names: Names | None = None
) -> Answer:
    """How far an erasure has come.

    user_id, status (not_requested, requested, sent, done), requested_at, sent_at, event_id, remaining
    {table: rows}, message. All but user_id, status, remaining and message may be null.
    """
    raise NotImplementedError

"""Builds events from keyword arguments; ids and times that are not given are filled in.

Times are aware datetimes. An event is checked when it is sent (`checking.record_of`), not here.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from msgspec import UNSET, UnsetType

from lyo.models.events.types import (
    Content,
    ContentMetadata,
    Erasure,
    LessonCompletion,
    Organization,
    Outcome,
    OutcomeKind,
    Preferences,
    QuietHours,
    Sentiment,
    Session,
    StruggleRequest,
)

__all__ = [
    "content",
    "erasure",
    "lesson_completion",
    "new_event_id",
    "organization",
    "outcome",
    "preferences",
    "sentiment",
    "session",
    "struggle_request",
]


def new_event_id() -> str:
    """A UUID of version 7 (RFC 9562): unique, and sorted by time."""
    stamp = time.time_ns() // 1_000_000
    bits = stamp << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=bits))


def lesson_completion(
    *,
    user_id: int,
    content_id: str,
    skills: Sequence[str],
    score: float | None = None,
    struggled: bool | None = None,
    gave_up: bool | None = None,
    duration_seconds: float | None = None,
    difficulty: float | None = None,
    content_type: str | None = None,
    topic: str | None = None,
    prerequisites: Sequence[str] | None = None,
    similar_topics: Sequence[str] | None = None,
    organization_id: int | None = None,
    occurred_at: datetime | None = None,
    event_id: str | None = None,
) -> LessonCompletion:
    """A finished or abandoned lesson, by default just now; score and difficulty in [0, 1]."""
    return LessonCompletion(
        event_id=_id(event_id),
        user_id=user_id,
        organization_id=organization_id,
        occurred_at=_at(occurred_at),
        content_id=content_id,
        skills=list(skills),
        content_type=content_type,
        topic=topic,
        score=score,
        struggled=struggled,
        gave_up=gave_up,
        duration_seconds=duration_seconds,
        difficulty=difficulty,
        prerequisites=_list(prerequisites),
        similar_topics=_list(similar_topics),
    )


def session(
    *,
    user_id: int,
    started_at: datetime,
    ended_at: datetime | None = None,
    organization_id: int | None = None,
    event_id: str | None = None,
) -> Session:
    """A stay in the app; while ``ended_at`` is None, only its start counts."""
    return Session(
        event_id=_id(event_id),
        user_id=user_id,
        organization_id=organization_id,
        started_at=started_at,
        ended_at=ended_at,
    )


def sentiment(
    *,
    user_id: int,
    value: float,
    source: str | None = None,
    organization_id: int | None = None,
    occurred_at: datetime | None = None,
    event_id: str | None = None,
) -> Sentiment:
    """How a learner feels, -1 (bad) to 1 (good), by default just now; ``value`` is the field `sentiment`."""
    return Sentiment(
        event_id=_id(event_id),
        user_id=user_id,
        organization_id=organization_id,
        occurred_at=_at(occurred_at),
        sentiment=value,
        source=source,
    )


def outcome(
    *,
    user_id: int,
    kind: OutcomeKind | str,
    prediction_id: str | None = None,
    content_id: str | None = None,
    skill_id: str | None = None,
    completion_time_seconds: float | None = None,
    gave_up: bool | None = None,
    variant: str | None = None,
    organization_id: int | None = None,
    occurred_at: datetime | None = None,
    event_id: str | None = None,
) -> Outcome:
    """What came of a prediction, an intervention or an offer of help, by default just now."""
    return Outcome(
        event_id=_id(event_id),
        user_id=user_id,
        organization_id=organization_id,
        occurred_at=_at(occurred_at),
        kind=kind,  # type: ignore[arg-type]  # checking refuses an unknown text
        prediction_id=prediction_id,
        content_id=content_id,
        skill_id=skill_id,
        completion_time_seconds=completion_time_seconds,
        gave_up=gave_up,
        variant=variant,
    )


def preferences(
    *,
    user_id: int,
    timezone: str | UnsetType | None = UNSET,
    language: str | UnsetType | None = UNSET,
    quiet_hours: tuple[str, str] | UnsetType | None = UNSET,
    max_nudges_per_day: int | UnsetType | None = UNSET,
    organization_id: int | None = None,
    updated_at: datetime | None = None,
    event_id: str | None = None,
) -> Preferences:
    """A learner's preferences, by default as of now; one that is not given stays as it was, None clears it.

    ``quiet_hours`` are two local times, ("22:00", "07:30").
    """
    return Preferences(
        event_id=_id(event_id),
        user_id=user_id,
        organization_id=organization_id,
        updated_at=_at(updated_at),
        timezone=timezone,
        language=language,
        quiet_hours=quiet_hours if isinstance(quiet_hours, UnsetType) else _hours(quiet_hours),
        max_nudges_per_day=max_nudges_per_day,
    )


def struggle_request(
    *,
    user_id: int,
    content_id: str | None = None,
    content_type: str | None = None,
    difficulty_rating: float | None = None,
    prerequisites: Sequence[str] | None = None,
    similar_topics: Sequence[str] | None = None,
    organization_id: int | None = None,
    requested_at: datetime | None = None,
    request_id: str | None = None,
) -> StruggleRequest:
    """A request to predict whether a learner will struggle with a content, by default as of now."""
    return StruggleRequest(
        request_id=_id(request_id),
        user_id=user_id,
        organization_id=organization_id,
        requested_at=_at(requested_at),
        content_metadata=ContentMetadata(
            content_id=content_id,
            type=content_type,
            difficulty_rating=difficulty_rating,
            prerequisites=_list(prerequisites),
            similar_topics=_list(similar_topics),
        ),
    )


def erasure(
    *,
    user_id: int,
    organization_id: int | None = None,
    requested_at: datetime | None = None,
    consented_at: datetime | None = None,
    event_id: str | None = None,
) -> Erasure:
    """A request to erase a learner, by default as of now, or with ``consented_at`` a new consent."""
    return Erasure(
        event_id=_id(event_id),
        user_id=user_id,
        organization_id=organization_id,
        requested_at=_at(requested_at),
        consented_at=consented_at,
    )


def content(
    *,
    content_id: str,
    skills: Sequence[str],
    title: str | None = None,
    topic: str | None = None,
    difficulty: float | None = None,
    prerequisites: Sequence[str] | None = None,
    similar_topics: Sequence[str] | None = None,
    skill_names: Mapping[str, str] | None = None,
    organization_id: int | None = None,
) -> Content:
    """A content of the catalogue as it is from now on; without an organization it belongs to all."""
    return Content(
        content_id=content_id,
        skills=list(skills),
        organization_id=organization_id,
        title=title,
        topic=topic,
        difficulty=difficulty,
        prerequisites=_list(prerequisites),
        similar_topics=_list(similar_topics),
        skill_names=None if skill_names is None else dict(skill_names),
    )


def organization(
    *,
    organization_id: int,
    timezone: str | None = None,
    quiet_hours: tuple[str, str] | None = None,
    max_nudges_per_day: int | None = None,
) -> Organization:
    """An organization with its learners' defaults, as they are from now on."""
    return Organization(
        organization_id=organization_id,
        timezone=timezone,
        quiet_hours=_hours(quiet_hours),
        max_nudges_per_day=max_nudges_per_day,
    )


def _id(value: str | None) -> str:
    return new_event_id() if value is None else value


def _at(value: datetime | None) -> datetime:
    return datetime.now(UTC) if value is None else value


def _list(value: Sequence[str] | None) -> list[str] | None:
    return None if value is None else list(value)


def _hours(value: tuple[str, str] | None) -> QuietHours | None:
    return None if value is None else QuietHours(start=value[0], end=value[1])

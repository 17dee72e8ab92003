"""Events of every kind as the publishers' client builds them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lyo.models.events import types
from lyo.predictive import client
from lyo.predictive.client import building

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


FULL: dict[str, dict[str, Any]] = {
    "lesson_completion": {
        "user_id": 2**63 - 1,
        "content_id": "ü" * 100,
        "skills": ("a", "b"),
        "score": 1,
        "struggled": False,
        "gave_up": True,
        "duration_seconds": 3.5,
        "difficulty": 0,
        "content_type": "quiz",
        "topic": "T",
        "prerequisites": ("p",),
        "similar_topics": ["q"],
        "organization_id": 3,
        "occurred_at": AT,
        "event_id": "e",
    },
    "session": {
        "user_id": 7,
        "started_at": AT,
        "ended_at": AT + timedelta(hours=1),
        "organization_id": 3,
        "event_id": "e",
    },
    "sentiment": {
        "user_id": 7,
        "value": 1,
        "source": "chat",
        "organization_id": 3,
        "occurred_at": AT,
        "event_id": "e",
    },
    "outcome": {
        "user_id": 7,
        "kind": types.OutcomeKind.REVIEWED,
        "prediction_id": "p",
        "content_id": "c",
        "skill_id": "s",
        "completion_time_seconds": 3600,
        "gave_up": False,
        "variant": "b",
        "organization_id": 3,
        "occurred_at": AT,
        "event_id": "e",
    },
    "preferences": {
        "user_id": 7,
        "timezone": "Europe/Berlin",
        "language": None,
        "quiet_hours": ("22:00", "07:30:30"),
        "max_nudges_per_day": 0,
        "organization_id": 3,
        "updated_at": AT,
        "event_id": "e",
    },
    "struggle_request": {
        "user_id": 7,
        "content_id": "c",
        "content_type": "lesson",
        "difficulty_rating": 0.8,
        "prerequisites": ["p"],
        "similar_topics": [],
        "organization_id": 3,
        "requested_at": AT,
        "request_id": "r",
    },
    "erasure": {
        "user_id": 7,
        "organization_id": 3,
        "requested_at": AT,
        "consented_at": AT,
        "event_id": "e",
    },
    "content": {
        "content_id": "c",
        "skills": ["s"],
        "title": "T",
        "topic": "t",
        "difficulty": 0.5,
        "prerequisites": ["p"],
        "similar_topics": ["q"],
        "skill_names": {"s": "S"},
        "organization_id": 3,
    },
    "organization": {
        "organization_id": 3,
        "timezone": "UTC",
        "quiet_hours": ("21:00", "07:00"),
        "max_nudges_per_day": 2,
    },
}


def build(name: str, **given: Any) -> client.AnyEvent:
    made: client.AnyEvent = getattr(building, name)(**given)
    return made

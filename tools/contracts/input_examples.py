"""One example of each event and catalogue message."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["INPUT_EXAMPLES"]

INPUT_EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "lesson-completions": {
        "event_id": "0199c5a1-7d30-7f6e-9a51-3b1f0c2d4e5f",
        "user_id": 123,
        "organization_id": 7,
        "occurred_at": "2026-03-02T18:04:05.250+01:00",
        "content_id": "lesson_42",
        "skills": ["calc_derivatives"],
        "content_type": "lesson",
        "topic": "Calculus - Derivatives",
        "score": 0.8,
        "struggled": False,
        "gave_up": False,
        "duration_seconds": 1260.0,
        "difficulty": 0.7,
        "prerequisites": ["algebra_factoring"],
        "similar_topics": ["calc_limits"],
    },
    "sessions": {
        "event_id": "0199c5a1-7d31-7c02-8d0e-2f3a4b5c6d7e",
        "user_id": 123,
        "organization_id": 7,
        "started_at": "2026-03-02T17:30:00Z",
        "ended_at": "2026-03-02T18:15:00Z",
    },
    "sentiment": {
        "event_id": "0199c5a1-7d32-7a11-b2c3-4d5e6f708192",
        "user_id": 123,
        "organization_id": 7,
        "occurred_at": "2026-03-02T18:05:00Z",
        "sentiment": -0.4,
        "source": "chat",
    },
    "outcomes": {
        "event_id": "0199c5a1-7d33-7b22-93d4-5e6f70819203",
        "user_id": 123,
        "organization_id": 7,
        "occurred_at": "2026-03-02T18:20:00Z",
        "kind": "struggled",
        "prediction_id": "0857ca337b2e9ad7d7106fb47d8048a5",
        "content_id": "lesson_42",
        "completion_time_seconds": 3600.0,
        "gave_up": False,
        "variant": "b",
    },
    "preferences": {
        "event_id": "0199c5a1-7d34-7d33-84e5-6f7081920314",
        "user_id": 123,
        "organization_id": 7,
        "updated_at": "2026-03-01T08:00:00Z",
        "timezone": "Europe/Berlin",
        "language": "de-DE",
        "quiet_hours": {"from": "21:30", "to": "07:00"},
        "max_nudges_per_day": 2,
    },
    "struggle-requests": {
        "request_id": "0199c5a1-7d35-7e44-95f6-708192031425",
        "user_id": 123,
        "organization_id": 7,
        "requested_at": "2026-03-02T18:00:00Z",
        "content_metadata": {
            "content_id": "lesson_42",
            "type": "lesson",
            "difficulty_rating": 0.8,
            "prerequisites": ["skill_1", "skill_2"],
            "similar_topics": ["topic_a", "topic_b"],
        },
    },
    "erasures": {
        "event_id": "0199c5a1-7d36-7f55-a607-819203142536",
        "user_id": 123,
        "organization_id": 7,
        "requested_at": "2026-03-05T09:00:00Z",
        "consented_at": "2026-04-01T08:00:00Z",
    },
    "content": {
        "content_id": "lesson_42",
        "skills": ["calc_derivatives"],
        "organization_id": 7,
        "title": "Derivatives, part 2",
        "topic": "Calculus - Derivatives",
        "difficulty": 0.7,
        "prerequisites": ["algebra_factoring"],
        "similar_topics": ["calc_limits"],
        "skill_names": {"calc_derivatives": "Derivatives"},
    },
    "organizations": {
        "organization_id": 7,
        "timezone": "Europe/Berlin",
        "quiet_hours": {"from": "21:00", "to": "07:30"},
        "max_nudges_per_day": 3,
    },
}

"""Records as they stand on the topics, for the sink's tests, and what they leave in Postgres."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import asyncpg

from lyo.models.events.decode import Kind
from lyo.storage.schema.tables import HISTORY_TABLES, REBUILT_TABLES
from lyo.streams.topics import Names

NAMES = Names()
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Rec(NamedTuple):
    """A record as the sink sees it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = int(START.timestamp() * 1000)


def at(minutes: float) -> str:
    """An instant so many minutes after the tests' beginning."""
    return (START + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def common(user: int, **more: Any) -> dict[str, Any]:
    return {
        "prediction_id": f"{user:032x}",
        "version": 3,
        "user_id": user,
        "organization_id": 7,
        "as_of": at(0),
        "valid_until": at(60),
        "model": "weights-1",
        "catalogue_revision": "00ff",
        "confidence": 0.6,
        "reason": None,
        "factors": [{"name": "declining_engagement", "contribution": 0.12}],
        **more,
    }


def dropout(user: int, **more: Any) -> dict[str, Any]:
    record = common(
        user,
        risk_score=0.62,
        risk_level="high",
        risk_factors=["declining_engagement", "negative_sentiment"],
        session_frequency_trend=-0.3,
        avg_days_between_sessions=5.2,
        sentiment_trend_7d=None,
        days_since_last_completion=12,
        performance_trend=-0.1,
        longest_streak=21,
        current_streak=3,
        reengagement_strategy={"urgency": "high", "interventions": [{"type": "personal_check_in"}]},
        calculated_at=at(0),
        timezone="Europe/Berlin",
    )
    return record | more


def timing(user: int, **more: Any) -> dict[str, Any]:
    record = common(
        user,
        peak_hours=[7, 19],
        optimal_study_time="19:00:00",
        best_days=["Monday"],
        avg_session_duration_minutes=42.5,
        preferred_session_length=45,
        performance_by_hour={"7": 0.85},
        most_active_hour=19,
        least_active_hour=14,
        typical_study_days=[1, 3],
        sessions_analyzed=50,
        updated_at=at(0),
        recommended_time=at(90),
        timezone="UTC",
    )
    return record | more


def struggle(user: int, content: str = "lesson", **more: Any) -> dict[str, Any]:
    record = common(
        user,
        request_id="request-1",
        content_id=content,
        content_type="lesson",
        struggle_probability=0.72,
        should_offer_help=True,
        help_message="Want to review the basics first?",
        actions=[{"type": "review", "label": "Review"}],
        features={"prereq_mastery": 0.45},
        prereq_mastery=0.45,
        similar_performance=None,
        content_difficulty=0.8,
        days_since_review=4,
        cognitive_load=0.5,
        sentiment_trend=None,
        content_metadata={"content_id": content},
        requested_at=at(0),
        predicted_at=at(0),
        answered={"probability": 0.72, "confidence": 0.6, "as_of": at(0)},
    )
    return record | more


def plateau_episode(detected: float, **more: Any) -> dict[str, Any]:
    episode = {
        "detected_at": at(detected),
        "days_on_topic": 8,
        "attempts": 15,
        "mastery_level": 0.55,
        "mastery_improvement": 0.02,
        "is_active": True,
        "resolved": False,
        "resolved_at": None,
        "ended_because": None,
        "intervention_suggested": "Try pictures",
        "updated_at": at(detected + 1),
    }
    return episode | more


def plateau(user: int, skill: str = "algebra", detected: tuple[float, ...] = (0,)) -> dict[str, Any]:
    episodes = [plateau_episode(minutes) for minutes in detected]
    return common(user, topic="Algebra", skill_id=skill, episodes=episodes, **(episodes or [{}])[-1])


def regression_episode(detected: float, **more: Any) -> dict[str, Any]:
    episode = {
        "detected_at": at(detected),
        "peak_mastery": 0.9,
        "current_mastery": 0.65,
        "regression_amount": 0.25,
        "days_since_practice": 45,
        "last_practiced_at": at(-64800),
        "predicted_mastery_in_week": 0.6,
        "urgency": "high",
        "is_active": True,
        "resolved_at": None,
        "user_reviewed": False,
    }
    return episode | more


def regression(user: int, skill: str = "algebra", detected: tuple[float, ...] = (0,)) -> dict[str, Any]:
    episodes = [regression_episode(minutes) for minutes in detected]
    return common(user, skill_id=skill, skill_name="Algebra", episodes=episodes, **(episodes or [{}])[-1])


def intervention(user: int, name: str = "a", **more: Any) -> dict[str, Any]:
    record = {
        "intervention_id": name,
        "user_id": user,
        "organization_id": 7,
        "audience": "learner",
        "type": "emotional_support",
        "priority": 9,
        "title": "We miss you!",
        "message": "What has been going on?",
        "action": "chat",
        "because": [f"{user:032x}"],
        "status": "active",
        "supersedes": None,
        "not_before": at(60),
        "expires_at": at(600),
        "refused": [{"time": at(0), "reason": "quiet_hours", "until": at(30)}],
        "as_of": at(0),
        "skill_id": None,
        "level": "high",
        "episode_start": at(-9000),
        "timezone": "Europe/Berlin",
        "reason": None,
        "changed_after": None,
    }
    return record | more


def outcome(user: int, kind: str, minutes: float, **more: Any) -> dict[str, Any]:
    event = {
        "event_id": f"{kind}-{user}-{minutes}",
        "user_id": user,
        "occurred_at": at(minutes),
        "kind": kind,
    }
    return event | more


KEYS = {
    "dropout-risk": (),
    "timing": (),
    "plateaus": ("skill_id",),
    "regressions": ("skill_id",),
    "interventions": ("intervention_id",),
}


def pair(kind: str, record: dict[str, Any]) -> tuple[bytes, bytes]:
    """Key and value of a prediction on its topic."""
    names = KEYS.get(kind, ("content_id",))
    key = "|".join([str(record["user_id"]), *(record[name] for name in names)])
    return key.encode(), json.dumps(record).encode()


def prediction(kind: str, record: dict[str, Any], offset: int, partition: int = 0) -> Rec:
    topic = NAMES.interventions if kind == "interventions" else NAMES.prediction(kind)
    return Rec(topic, partition, offset, *pair(kind, record))


def event(kind: Kind, record: dict[str, Any], offset: int, partition: int = 0) -> Rec:
    return Rec(
        NAMES.topic(kind), partition, offset, str(record["user_id"]).encode(), json.dumps(record).encode()
    )


ASIDE = {"id", "log_partition", "log_offset"}


async def contents(connection: asyncpg.Connection, *aside: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every table that the sink fills, ids, log positions and sink offsets aside, in a stable order."""
    found = {}
    for table in (*REBUILT_TABLES, *HISTORY_TABLES):
        if table.name == "sink_offsets":
            continue
        columns = [column.name for column in table.columns if column.name not in {*ASIDE, *aside}]
        rows = await connection.fetch(f"SELECT {', '.join(columns)} FROM {table.name}")
        found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found

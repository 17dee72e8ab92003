"""Examples in OpenAPI: the specification's ("API Endpoints"), held by the contract tests, and our own."""

from __future__ import annotations

from typing import Any, Final

from lyo.predictive.answers.recording import KEPT

Example = dict[str, Any]

STRUGGLE_REQUEST: Final[Example] = {
    "content_metadata": {
        "content_id": "lesson_42",
        "type": "lesson",
        "difficulty_rating": 0.8,
        "prerequisites": ["skill_1", "skill_2"],
        "similar_topics": ["topic_a", "topic_b"],
    }
}
STRUGGLE_RESPONSE: Final[Example] = {
    "struggle_probability": 0.72,
    "confidence": 0.85,
    "should_offer_help": True,
    "help_message": "This builds on concepts you haven't fully mastered. Want to review the basics first?",
    "features": {
        "prereq_mastery": 0.45,
        "similar_performance": 0.60,
        "content_difficulty": 0.80,
        "recency": 0.40,
        "cognitive_load": 0.50,
        "sentiment": 0.30,
    },
    "prediction_id": 1234,
}
RANK_REQUEST: Final[Example] = {
    "contents": [
        STRUGGLE_REQUEST["content_metadata"],
        {"content_id": "lesson_43", "prerequisites": ["skill_1"]},
    ]
}
RANKED_CONTENT: Final[Example] = {
    **{name: value for name, value in STRUGGLE_RESPONSE.items() if name != "prediction_id"},
    "content_id": "lesson_42",
    "position": 0,
}
OUTCOME_REQUEST: Final[Example] = {
    "content_id": "lesson_42",
    "struggled": True,
    "completion_time_seconds": 3600,
    "gave_up": False,
}
OUTCOME_RESPONSE: Final[Example] = {"success": True, "message": "Outcome recorded successfully"}
OUTCOMES_REQUEST: Final[Example] = {
    "outcomes": [
        {
            "event_id": "0199c5a1-7d39-7a88-8a1b-2c3d4e5f6072",
            "occurred_at": "2026-03-02T12:10:00Z",
            "kind": "help_offered",
            "content_id": "lesson_42",
        },
        {
            "event_id": "0199c5a1-7d39-7a88-8a1b-2c3d4e5f6073",
            "occurred_at": "2026-03-02T12:11:00Z",
            "kind": "help_accepted",
            "content_id": "lesson_42",
        },
    ]
}
OUTCOMES_RESPONSE: Final[Example] = {
    "success": True,
    "message": "Outcomes recorded successfully",
    "event_ids": ["0199c5a1-7d39-7a88-8a1b-2c3d4e5f6072", "0199c5a1-7d39-7a88-8a1b-2c3d4e5f6073"],
}
DROPOUT_RISK: Final[Example] = {
    "risk_score": 0.68,
    "risk_level": "high",
    "risk_factors": ["declining_engagement", "infrequent_sessions", "negative_sentiment"],
    "session_frequency_trend": -0.3,
    "avg_days_between_sessions": 5.2,
    "sentiment_trend_7d": -0.4,
    "days_since_last_completion": 12,
    "performance_trend": -0.1,
    "longest_streak": 21,
    "current_streak": 3,
    "reengagement_strategy": {
        "urgency": "high",
        "interventions": [
            {
                "type": "personal_check_in",
                "title": "We miss you!",
                "message": "I noticed you haven't been around as much. What's been going on?",
                "action": "chat",
            }
        ],
    },
    "calculated_at": "2025-01-01T12:00:00Z",
}
TIMING_PROFILE: Final[Example] = {
    "user_id": 123,
    "peak_hours": [7, 8, 19, 20],
    "optimal_study_time": "19:00:00",
    "best_days": ["Monday", "Wednesday", "Friday"],
    "avg_session_duration_minutes": 42.5,
    "preferred_session_length": 45,
    "performance_by_hour": {"7": 0.85, "8": 0.90, "19": 0.88, "20": 0.82},
    "most_active_hour": 19,
    "least_active_hour": 14,
    "typical_study_days": [1, 3, 5],
    "sessions_analyzed": 50,
    "confidence": 0.8,
    "updated_at": "2025-01-01T12:00:00Z",
}
TIMING_REQUEST: Final[Example] = {"current_time": "2025-01-01T19:00:00Z"}
TIMING_RESPONSE: Final[Example] = {
    "is_good_time": True,
    "reasoning": "This aligns with your peak learning hours",
    "alternative_time": None,
}
PLATEAU: Final[Example] = {
    "plateau_id": 456,
    "topic": "Calculus - Derivatives",
    "skill_id": "calc_derivatives",
    "days_on_topic": 8,
    "attempts": 15,
    "mastery_level": 0.55,
    "mastery_improvement": 0.02,
    "is_active": True,
    "intervention_suggested": "Try visualizing derivatives with interactive graphs",
    "detected_at": "2024-12-24T10:00:00Z",
}
REGRESSION: Final[Example] = {
    "regression_id": 789,
    "skill_id": "algebra_factoring",
    "skill_name": "Algebraic Factoring",
    "peak_mastery": 0.90,
    "current_mastery": 0.65,
    "regression_amount": 0.25,
    "days_since_practice": 45,
    "last_practiced_at": "2024-11-15T10:00:00Z",
    "urgency": "high",
    "reminder_sent": False,
    "detected_at": "2024-12-30T10:00:00Z",
}
INSIGHTS: Final[Example] = {
    "user_id": 123,
    "dropout_risk": DROPOUT_RISK,
    "active_plateaus": [PLATEAU],
    "skill_regressions": [REGRESSION],
    "timing_profile": TIMING_PROFILE,
    "is_good_time_now": True,
    "total_insights": 5,
    "priority_actions": [
        {
            "type": "learning_plateau",
            "message": "User stuck on Calculus for 8 days",
            "action": "Suggest alternative learning approach",
        }
    ],
    "generated_at": "2025-01-01T12:00:00Z",
}
ERASURE_REQUESTED: Final[Example] = {
    "user_id": 123,
    "status": "requested",
    "requested_at": "2026-03-04T09:00:00.000Z",
    "sent_at": None,
    "event_id": "5f0c6c1d2b0e4c0f9d3a7b8e1c2d3e4f",
    "remaining": {"learner_rows": 1, "skill_rows": 12, "dropout_risk_scores": 1},
    "message": "The request is stored and waits to be sent to the log.",
    "removed": {},
    "removed_at": None,
    "topics_removed": {},
    "topics_removed_at": None,
    "compacted_by": None,
    "tombstones_until": None,
    "fence_at": None,
    "consented_at": None,
    "kept": list(KEPT),
}
ERASURE_DONE: Final[Example] = ERASURE_REQUESTED | {
    "status": "done",
    "sent_at": "2026-03-04T09:00:00.120Z",
    "remaining": {},
    "message": "Nothing of this learner is stored or current any more; older bytes go with compaction.",
    "removed": ERASURE_REQUESTED["remaining"],
    "removed_at": "2026-03-04T09:00:00.900Z",
    "topics_removed": {"lyo.learner-rows": 1, "lyo.skill-rows": 12, "lyo.predictions.dropout-risk": 1},
    "topics_removed_at": "2026-03-04T09:00:01.500Z",
    "compacted_by": "2026-03-04T15:00:01.500Z",
    "tombstones_until": "2026-03-11T15:00:01.500Z",
    "fence_at": "2026-03-04T09:00:00.000Z",
}
ALIVE: Final[Example] = {"status": "alive", "why": "the event loop came round in 0.1 ms"}
READY: Final[Example] = {
    "status": "ready",
    "why": "all checks passed",
    "checks": [
        {"name": "postgres", "ok": True, "why": "answered in 2 ms"},
        {"name": "schema", "ok": True, "why": "at revision phase2_004"},
        {"name": "keys", "ok": True, "why": "2 known"},
    ],
}
NOT_READY: Final[Example] = {
    "status": "not ready",
    "why": "postgres: The database cannot be reached.",
    "checks": [
        {"name": "postgres", "ok": False, "why": "The database cannot be reached."},
        {"name": "keys", "ok": True, "why": "2 known"},
    ],
}
PROBLEM: Final[Example] = {
    "type": "urn:lyo:problem:invalid-request",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "at: has no offset (write Z for UTC)",
    "errors": [{"field": "at", "message": "has no offset (write Z for UTC)"}],
}

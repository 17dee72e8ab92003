"""The specification's five tables and the interventions.

The five begin with the specification's columns in its order ("Database Schema"). The columns after those
tell the row's place in the log, what it was computed from, and why.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    Time,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from lyo.storage.schema.columns import (
    Instant,
    defaults_to_now,
    flag,
    learner_key,
    log_index,
    log_place,
    metadata,
    provenance,
    required,
)

struggle_predictions: Final = Table(
    "struggle_predictions",
    metadata,
    *learner_key(),
    required("content_id", String(100)),
    required("content_type", String(50)),
    required("struggle_probability", Double),
    required("confidence", Double),
    Column("prereq_mastery", Double),
    Column("similar_performance", Double),
    Column("content_difficulty", Double),
    Column("days_since_review", Integer),
    Column("cognitive_load", Double),
    Column("sentiment_trend", Double),
    Column("prediction_features", JSONB),
    Column("actual_struggled", Boolean),
    Column("actual_outcome_at", Instant),
    flag("intervention_offered"),
    Column("intervention_accepted", Boolean),
    defaults_to_now("predicted_at"),
    required("request_id", String(100)),
    Column("requested_at", Instant),
    Column("should_offer_help", Boolean),
    Column("help_message", Text),
    Column("actions", JSONB),
    Column("content_metadata", JSONB),
    Column("answered", JSONB),
    # Of the outcome that settled it.
    Column("completion_time_seconds", Double),
    Column("gave_up", Boolean),
    *provenance(),
    PrimaryKeyConstraint("id", name="pk_struggle_predictions"),
    # Also the index on (user_id) that the specification asks for.
    UniqueConstraint(
        "user_id",
        "content_id",
        "request_id",
        name="uq_struggle_predictions_user_id_content_id_request_id",
    ),
    Index("ix_struggle_predictions_content_id", "content_id"),
    Index("ix_struggle_predictions_predicted_at", "predicted_at"),
    Index("ix_struggle_predictions_user_id_predicted_at", "user_id", text("predicted_at DESC")),
    Index(
        "ix_struggle_predictions_unanswered",
        "user_id",
        "requested_at",
        postgresql_where=text("log_partition IS NULL"),
    ),
    Index(
        "ix_struggle_predictions_actual_outcome_at",
        "actual_outcome_at",
        postgresql_where=text("actual_outcome_at IS NOT NULL"),
    ),
    log_index("struggle_predictions"),
)

dropout_risk_scores: Final = Table(
    "dropout_risk_scores",
    metadata,
    *learner_key(),
    required("risk_score", Double),
    required("risk_level", String(20)),
    Column("risk_factors", ARRAY(String)),
    Column("session_frequency_trend", Double),
    Column("avg_days_between_sessions", Double),
    Column("sentiment_trend_7d", Double),
    Column("days_since_last_completion", Integer),
    Column("performance_trend", Double),
    Column("longest_streak", Integer),
    Column("current_streak", Integer),
    Column("reengagement_strategy", JSONB),
    flag("strategy_executed"),
    Column("strategy_executed_at", Instant),
    Column("user_returned", Boolean),
    Column("returned_at", Instant),
    defaults_to_now("calculated_at"),
    defaults_to_now("updated_at"),
    required("confidence", Double),
    Column("timezone", String(64)),
    *provenance(),
    PrimaryKeyConstraint("id", name="pk_dropout_risk_scores"),
    # Also the index on (user_id) that the specification asks for.
    UniqueConstraint("user_id", name="uq_dropout_risk_scores_user_id"),
    Index("ix_dropout_risk_scores_risk_level_calculated_at", "risk_level", text("calculated_at DESC")),
    log_index("dropout_risk_scores"),
)

user_timing_profiles: Final = Table(
    "user_timing_profiles",
    metadata,
    *learner_key(),
    Column("peak_hours", ARRAY(Integer)),
    Column("optimal_study_time", Time),
    Column("best_days", ARRAY(String)),
    Column("avg_session_duration_minutes", Double),
    Column("preferred_session_length", Integer),
    Column("performance_by_hour", JSONB),
    Column("most_active_hour", Integer),
    Column("least_active_hour", Integer),
    Column("typical_study_days", ARRAY(Integer)),
    Column("sessions_analyzed", Integer, server_default=text("0")),
    Column("confidence", Double, server_default=text("0.0")),
    defaults_to_now("created_at"),
    defaults_to_now("updated_at"),
    Column("timezone", String(64)),
    Column("recommended_time", Instant),
    *provenance(),
    PrimaryKeyConstraint("id", name="pk_user_timing_profiles"),
    # Also the index on (user_id) that the specification asks for.
    UniqueConstraint("user_id", name="uq_user_timing_profiles_user_id"),
    log_index("user_timing_profiles"),
)

learning_plateaus: Final = Table(
    "learning_plateaus",
    metadata,
    *learner_key(),
    required("topic", String(200)),
    required("skill_id", String(100)),
    required("days_on_topic", Integer),
    required("attempts", Integer),
    required("mastery_level", Double),
    required("mastery_improvement", Double),
    flag("is_active", default=True),
    flag("resolved"),
    Column("resolved_at", Instant),
    Column("intervention_suggested", Text),
    flag("intervention_taken"),
    Column("detected_at", Instant, nullable=False, server_default=func.now()),
    defaults_to_now("updated_at"),
    required("confidence", Double),
    Column("ended_at", Instant),
    Column("ended_because", Text),
    *provenance(),
    PrimaryKeyConstraint("id", name="pk_learning_plateaus"),
    UniqueConstraint(
        "user_id", "skill_id", "detected_at", name="uq_learning_plateaus_user_id_skill_id_detected_at"
    ),
    Index("ix_learning_plateaus_user_id_is_active_resolved", "user_id", "is_active", "resolved"),
    log_index("learning_plateaus"),
)

skill_regressions: Final = Table(
    "skill_regressions",
    metadata,
    *learner_key(),
    required("skill_id", String(100)),
    required("skill_name", String(200)),
    required("peak_mastery", Double),
    required("current_mastery", Double),
    required("regression_amount", Double),
    required("days_since_practice", Integer),
    required("last_practiced_at", Instant),
    Column("predicted_mastery_in_week", Double),
    required("urgency", String(20)),
    flag("reminder_sent"),
    Column("reminder_sent_at", Instant),
    flag("user_reviewed"),
    Column("reviewed_at", Instant),
    Column("detected_at", Instant, nullable=False, server_default=func.now()),
    flag("is_active", default=True),
    Column("resolved_at", Instant),
    Column("practised_again", Boolean, nullable=False, server_default=false()),
    Column("urgency_score", Double),
    required("confidence", Double),
    *provenance(),
    PrimaryKeyConstraint("id", name="pk_skill_regressions"),
    UniqueConstraint(
        "user_id", "skill_id", "detected_at", name="uq_skill_regressions_user_id_skill_id_detected_at"
    ),
    Index("ix_skill_regressions_user_id_urgency_reminder_sent", "user_id", "urgency", "reminder_sent"),
    log_index("skill_regressions"),
)

TABLES: Final = {
    "struggle": struggle_predictions,
    "dropout-risk": dropout_risk_scores,
    "timing": user_timing_profiles,
    "plateaus": learning_plateaus,
    "regressions": skill_regressions,
}
"""By kind of prediction. The five are the specification's; `table_of` makes one for a kind of our own."""
PREDICTION_TABLES: Final = tuple(TABLES.values())


interventions: Final = Table(
    "interventions",
    metadata,
    *learner_key(),
    required("intervention_id", String(32)),
    required("audience", String(20)),
    required("type", String(50)),
    required("priority", Integer),
    required("title", String(200)),
    required("message", Text),
    required("action", String(50)),
    Column("because", ARRAY(String)),
    required("status", String(20)),
    Column("supersedes", String(32)),
    required("not_before", Instant),
    required("expires_at", Instant),
    Column("refused", JSONB),
    required("as_of", Instant),
    Column("skill_id", String(100)),
    Column("level", String(20)),
    Column("episode_start", Instant),
    Column("timezone", String(64)),
    Column("reason", Text),
    Column("changed_after", Instant),
    *log_place(),
    PrimaryKeyConstraint("id", name="pk_interventions"),
    UniqueConstraint("user_id", "intervention_id", name="uq_interventions_user_id_intervention_id"),
    Index("ix_interventions_user_id_status", "user_id", "status"),
    # What is to be delivered next.
    Index("ix_interventions_not_before", "not_before", postgresql_where=text("status = 'active'")),
    log_index("interventions"),
)

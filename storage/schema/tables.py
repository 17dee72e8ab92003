"""The tables: the specification's five, what answers without Kafka needs, and the sink's own.

The five begin with the specification's columns in its order ("Database Schema"); what follows them says
where the row came from in the log, what it was computed from and why. `migrations/` creates the same.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

metadata: Final = MetaData()

Instant: Final = TIMESTAMP(timezone=True)


def _key() -> list[Column[Any]]:
    """The row's number and whose it is. The API hands out `id`, so an upsert must not burn numbers."""
    return [
        Column("id", BigInteger, Identity(), nullable=False),
        Column("user_id", BigInteger, nullable=False),
        Column("organization_id", BigInteger),
    ]


def _needed(name: str, kind: Any) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _log() -> list[Column[Any]]:
    """Where in the topic the row came from; null until a row that the API wrote has come back through it."""
    return [Column("log_partition", Integer), Column("log_offset", BigInteger)]


def _provenance() -> list[Column[Any]]:
    """What the prediction was computed from and why it says what it says."""
    return [
        _needed("prediction_id", String(32)),
        Column("version", BigInteger),
        _needed("as_of", Instant),
        Column("valid_until", Instant),
        _needed("model", String(100)),
        Column("catalogue_revision", String(32)),
        Column("reason", Text),
        Column("factors", JSONB),
        *_log(),
    ]


def _followed(table: str) -> Index:
    """What a subscriber reads a table by: everything of a partition after an offset, in order."""
    return Index(f"ix_{table}_log", "log_partition", "log_offset", "id")


def _flag(name: str, *, default: bool = False) -> Column[Any]:
    return Column(name, Boolean, server_default=true() if default else false())


def _now(name: str) -> Column[Any]:
    return Column(name, Instant, server_default=func.now())


struggle_predictions: Final = Table(
    "struggle_predictions",
    metadata,
    *_key(),
    _needed("content_id", String(100)),
    _needed("content_type", String(50)),
    _needed("struggle_probability", Double),
    _needed("confidence", Double),
    Column("prereq_mastery", Double),
    Column("similar_performance", Double),
    Column("content_difficulty", Double),
    Column("days_since_review", Integer),
    Column("cognitive_load", Double),
    Column("sentiment_trend", Double),
    Column("prediction_features", JSONB),
    Column("actual_struggled", Boolean),
    Column("actual_outcome_at", Instant),
    _flag("intervention_offered"),
    Column("intervention_accepted", Boolean),
    _now("predicted_at"),
    Column("request_id", String(100)),
    Column("requested_at", Instant),
    Column("should_offer_help", Boolean),
    Column("help_message", Text),
    Column("actions", JSONB),
    Column("content_metadata", JSONB),
    Column("answered", JSONB),
    *_provenance(),
    PrimaryKeyConstraint("id", name="pk_struggle_predictions"),
    # Also the index on (user_id) that the specification asks for.
    UniqueConstraint("user_id", "content_id", name="uq_struggle_predictions_user_id_content_id"),
    Index("ix_struggle_predictions_content_id", "content_id"),
    Index("ix_struggle_predictions_predicted_at", "predicted_at"),
    Index("ix_struggle_predictions_user_id_predicted_at", "user_id", text("predicted_at DESC")),
    _followed("struggle_predictions"),
)

dropout_risk_scores: Final = Table(
    "dropout_risk_scores",
    metadata,
    *_key(),
    _needed("risk_score", Double),
    _needed("risk_level", String(20)),
    Column("risk_factors", ARRAY(String)),
    Column("session_frequency_trend", Double),
    Column("avg_days_between_sessions", Double),
    Column("sentiment_trend_7d", Double),
    Column("days_since_last_completion", Integer),
    Column("performance_trend", Double),
    Column("longest_streak", Integer),
    Column("current_streak", Integer),
    Column("reengagement_strategy", JSONB),
    _flag("strategy_executed"),
    Column("strategy_executed_at", Instant),
    Column("user_returned", Boolean),
    Column("returned_at", Instant),
    _now("calculated_at"),
    _now("updated_at"),
    _needed("confidence", Double),
    Column("timezone", String(64)),
    *_provenance(),
    PrimaryKeyConstraint("id", name="pk_dropout_risk_scores"),
    # Also the index on (user_id) that the specification asks for.
    UniqueConstraint("user_id", name="uq_dropout_risk_scores_user_id"),
    Index("ix_dropout_risk_scores_risk_level_calculated_at", "risk_level", text("calculated_at DESC")),
    _followed("dropout_risk_scores"),
)

user_timing_profiles: Final = Table(
    "user_timing_profiles",
    metadata,
    *_key(),
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
    _now("created_at"),
    _now("updated_at"),
    Column("timezone", String(64)),
    Column("recommended_time", Instant),
    *_provenance(),
    PrimaryKeyConstraint("id", name="pk_user_timing_profiles"),
    # Also the index on (user_id) that the specification asks for.
    UniqueConstraint("user_id", name="uq_user_timing_profiles_user_id"),
    _followed("user_timing_profiles"),
)

learning_plateaus: Final = Table(
    "learning_plateaus",
    metadata,
    *_key(),
    _needed("topic", String(200)),
    _needed("skill_id", String(100)),
    _needed("days_on_topic", Integer),
    _needed("attempts", Integer),
    _needed("mastery_level", Double),
    _needed("mastery_improvement", Double),
    _flag("is_active", default=True),
    _flag("resolved"),
    Column("resolved_at", Instant),
    Column("intervention_suggested", Text),
    _flag("intervention_taken"),
    Column("detected_at", Instant, nullable=False, server_default=func.now()),
    _now("updated_at"),
    _needed("confidence", Double),
    Column("ended_at", Instant),
    Column("ended_because", Text),
    *_provenance(),
    PrimaryKeyConstraint("id", name="pk_learning_plateaus"),
    UniqueConstraint(
        "user_id", "skill_id", "detected_at", name="uq_learning_plateaus_user_id_skill_id_detected_at"
    ),
    Index("ix_learning_plateaus_user_id_is_active_resolved", "user_id", "is_active", "resolved"),
    _followed("learning_plateaus"),
)

skill_regressions: Final = Table(
    "skill_regressions",
    metadata,
    *_key(),
    _needed("skill_id", String(100)),
    _needed("skill_name", String(200)),
    _needed("peak_mastery", Double),
    _needed("current_mastery", Double),
    _needed("regression_amount", Double),
    _needed("days_since_practice", Integer),
    _needed("last_practiced_at", Instant),
    Column("predicted_mastery_in_week", Double),
    _needed("urgency", String(20)),
    _flag("reminder_sent"),
    Column("reminder_sent_at", Instant),
    _flag("user_reviewed"),
    Column("reviewed_at", Instant),
    Column("detected_at", Instant, nullable=False, server_default=func.now()),
    _flag("is_active", default=True),
    Column("resolved_at", Instant),
    Column("practised_again", Boolean, nullable=False, server_default=false()),
    Column("urgency_score", Double),
    _needed("confidence", Double),
    *_provenance(),
    PrimaryKeyConstraint("id", name="pk_skill_regressions"),
    UniqueConstraint(
        "user_id", "skill_id", "detected_at", name="uq_skill_regressions_user_id_skill_id_detected_at"
    ),
    Index("ix_skill_regressions_user_id_urgency_reminder_sent", "user_id", "urgency", "reminder_sent"),
    _followed("skill_regressions"),
)

PREDICTION_TABLES: Final = (
    struggle_predictions,
    dropout_risk_scores,
    user_timing_profiles,
    learning_plateaus,
    skill_regressions,
)
"""The specification's five tables."""


interventions: Final = Table(
    "interventions",
    metadata,
    *_key(),
    _needed("intervention_id", String(32)),
    _needed("audience", String(20)),
    _needed("type", String(50)),
    _needed("priority", Integer),
    _needed("title", String(200)),
    _needed("message", Text),
    _needed("action", String(50)),
    Column("because", ARRAY(String)),
    _needed("status", String(20)),
    Column("supersedes", String(32)),
    _needed("not_before", Instant),
    _needed("expires_at", Instant),
    Column("refused", JSONB),
    _needed("as_of", Instant),
    Column("skill_id", String(100)),
    Column("level", String(20)),
    Column("episode_start", Instant),
    Column("timezone", String(64)),
    Column("reason", Text),
    Column("changed_after", Instant),
    *_log(),
    PrimaryKeyConstraint("id", name="pk_interventions"),
    UniqueConstraint("user_id", "intervention_id", name="uq_interventions_user_id_intervention_id"),
    Index("ix_interventions_user_id_status", "user_id", "status"),
    # What is to be delivered next.
    Index("ix_interventions_not_before", "not_before", postgresql_where=text("status = 'active'")),
    _followed("interventions"),
)

learner_rows: Final = Table(
    "learner_rows",
    metadata,
    Column("user_id", BigInteger, nullable=False, autoincrement=False),
    Column("organization_id", BigInteger),
    _needed("row", LargeBinary),
    *_log(),
    PrimaryKeyConstraint("user_id", name="pk_learner_rows"),
)

skill_rows: Final = Table(
    "skill_rows",
    metadata,
    Column("user_id", BigInteger, nullable=False, autoincrement=False),
    _needed("skill_id", String(100)),
    Column("organization_id", BigInteger),
    _needed("row", LargeBinary),
    *_log(),
    PrimaryKeyConstraint("user_id", "skill_id", name="pk_skill_rows"),
)

contents: Final = Table(
    "contents",
    metadata,
    _needed("content_id", String(100)),
    Column("organization_id", BigInteger),
    _needed("document", JSONB),
    *_log(),
    PrimaryKeyConstraint("content_id", name="pk_contents"),
)

organizations: Final = Table(
    "organizations",
    metadata,
    Column("organization_id", BigInteger, nullable=False, autoincrement=False),
    _needed("document", JSONB),
    *_log(),
    PrimaryKeyConstraint("organization_id", name="pk_organizations"),
)


def _stamp(field: str) -> list[Column[Any]]:
    """When `field` was last said and by which event (48-bit hash): newest wins, whatever the order."""
    return [Column(f"{field}_at", Instant), Column(f"{field}_event", BigInteger)]


preferences: Final = Table(
    "preferences",
    metadata,
    Column("user_id", BigInteger, nullable=False, autoincrement=False),
    Column("organization_id", BigInteger),
    Column("timezone", String(64)),
    Column("language", String(50)),
    Column("quiet_from", Time),
    Column("quiet_to", Time),
    Column("max_nudges_per_day", Integer),
    _needed("updated_at", Instant),
    *_stamp("timezone"),
    *_stamp("language"),
    *_stamp("quiet_hours"),
    *_stamp("max_nudges_per_day"),
    *_log(),
    PrimaryKeyConstraint("user_id", name="pk_preferences"),
)

outcome_facts: Final = Table(
    "outcome_facts",
    metadata,
    Column("user_id", BigInteger, nullable=False, autoincrement=False),
    _needed("kind", String(50)),
    # The content or skill it is about; '' where the kind needs none.
    _needed("subject", String(100)),
    # 0 = the event named no organization; a fact of another organization touches no row.
    Column("organization_id", BigInteger, nullable=False, autoincrement=False),
    _needed("newest", Instant),
    _needed("event", BigInteger),
    # The newest times, newest first: an older episode keeps what was done about it.
    _needed("times", ARRAY(Instant)),
    *_log(),
    PrimaryKeyConstraint("user_id", "kind", "subject", "organization_id", name="pk_outcome_facts"),
)

sink_offsets: Final = Table(
    "sink_offsets",
    metadata,
    _needed("topic", String(249)),
    Column("partition", Integer, nullable=False, autoincrement=False),
    _needed("next_offset", BigInteger),
    _needed("epoch", BigInteger),
    _now("updated_at"),
    # As Kafka's tools show it; null where it was never asked for.
    Column("topic_id", String(22)),
    PrimaryKeyConstraint("topic", "partition", name="pk_sink_offsets"),
    CheckConstraint("next_offset >= 0", name="ck_sink_offsets_next_offset"),
)

watermarks: Final = Table(
    "watermarks",
    metadata,
    Column("partition", Integer, nullable=False, autoincrement=False),
    # Everything published up to then is in the tables.
    _needed("complete_until", Instant),
    PrimaryKeyConstraint("partition", name="pk_watermarks"),
)

outbox: Final = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("organization_id", BigInteger),
    _needed("topic", String(249)),
    _needed("key", Text),
    _needed("partition_key", Text),
    _needed("value", LargeBinary),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    Column("sent_at", Instant),
    # Why Kafka refuses it; it is not tried again until this is null.
    Column("error", Text),
    PrimaryKeyConstraint("id", name="pk_outbox"),
    Index("ix_outbox_unsent", "id", postgresql_where=text("sent_at IS NULL AND error IS NULL")),
    Index("ix_outbox_sent_at", "sent_at", postgresql_where=text("sent_at IS NOT NULL")),
)

stream_epoch: Final = Table(
    "stream_epoch",
    metadata,
    # There is one row.
    Column("one", Boolean, nullable=False, server_default=true()),
    # Which filling of the tables this is: another one after `lyo sink --rebuild`.
    Column("epoch", Uuid, nullable=False, server_default=func.gen_random_uuid()),
    # What was removed before this is no longer in `removed_rows`; null: nothing was forgotten yet.
    Column("forgotten_before", Instant),
    PrimaryKeyConstraint("one", name="pk_stream_epoch"),
    CheckConstraint("one", name="ck_stream_epoch_one"),
)

removed_rows: Final = Table(
    "removed_rows",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    _needed("topic", String(249)),
    _needed("user_id", BigInteger),
    Column("organization_id", BigInteger),
    # The columns of the table's UNIQUE, and the row's id.
    _needed("key", JSONB),
    # The record that removed the row.
    _needed("log_partition", Integer),
    _needed("log_offset", BigInteger),
    Column("removed_at", Instant, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id", name="pk_removed_rows"),
    Index("ix_removed_rows_topic_log", "topic", "log_partition", "log_offset", "id"),
    Index("ix_removed_rows_removed_at", "removed_at"),
)

erasure_fences: Final = Table(
    "erasure_fences",
    metadata,
    Column("user_id", BigInteger, nullable=False, autoincrement=False),
    Column("organization_id", BigInteger),
    # When the newest erasure was asked for; the beginning of 1970 where only a consent is known.
    _needed("erased_at", Instant),
    # The newest consent: what happened from then on counts, if it is later than the erasure.
    Column("epoch", Instant),
    # When the rows were deleted, and how many of each table.
    Column("stored_at", Instant, nullable=False, server_default=func.now()),
    _needed("removed", JSONB),
    # When a worker had deleted everything from the topics, and how many keys of each.
    Column("topics_at", Instant),
    Column("topics", JSONB),
    PrimaryKeyConstraint("user_id", name="pk_erasure_fences"),
)

STREAM_TABLES: Final = (stream_epoch, removed_rows)
"""What a subscriber needs beside the tables it follows; a rebuild begins both anew."""

REBUILT_TABLES: Final = (
    *PREDICTION_TABLES,
    interventions,
    learner_rows,
    skill_rows,
    contents,
    organizations,
    preferences,
    outcome_facts,
    sink_offsets,
)
"""What the sink fills from the topics, and nothing else: emptied together, they are rebuilt from the log."""

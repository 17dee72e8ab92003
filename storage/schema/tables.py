"""All tables: the predictions', what answers without Kafka need, and the sink's own.

`migrations/` creates the same tables, and a test compares the two.
"""

from __future__ import annotations

from typing import Final

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
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    Time,
    Uuid,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from lyo.storage.schema.columns import Instant, defaults_to_now, log_place, metadata, newest_wins, required
from lyo.storage.schema.prediction_tables import (
    PREDICTION_TABLES,
    dropout_risk_scores,
    interventions,
    learning_plateaus,
    skill_regressions,
    struggle_predictions,
    user_timing_profiles,
)

__all__ = [
    "HISTORY_TABLES",
    "PREDICTION_TABLES",
    "REBUILT_TABLES",
    "STREAM_TABLES",
    "content_outcomes",
    "contents",
    "dropout_risk_scores",
    "erasure_fences",
    "interventions",
    "learner_rows",
    "learning_plateaus",
    "metadata",
    "organizations",
    "outbox",
    "outcome_facts",
    "preferences",
    "removed_rows",
    "sink_offsets",
    "skill_regressions",
    "skill_rows",
    "stream_epoch",
    "struggle_predictions",
    "user_timing_profiles",
    "watermarks",
]

learner_rows: Final = Table(
    "learner_rows",
    metadata,
    Column("user_id", BigInteger, nullable=False, autoincrement=False),
    Column("organization_id", BigInteger),
    required("row", LargeBinary),
    # Read out of the row, for the view user_session_stats.
    Column("total_sessions", BigInteger),
    Column("avg_duration", Double),
    Column("last_session", Instant),
    *log_place(),
    PrimaryKeyConstraint("user_id", name="pk_learner_rows"),
)

skill_rows: Final = Table(
    "skill_rows",
    metadata,
    Column("user_id", BigInteger, nullable=False, autoincrement=False),
    required("skill_id", String(100)),
    Column("organization_id", BigInteger),
    required("row", LargeBinary),
    *log_place(),
    PrimaryKeyConstraint("user_id", "skill_id", name="pk_skill_rows"),
)

contents: Final = Table(
    "contents",
    metadata,
    required("content_id", String(100)),
    Column("organization_id", BigInteger),
    required("document", JSONB),
    *log_place(),
    PrimaryKeyConstraint("content_id", name="pk_contents"),
)

organizations: Final = Table(
    "organizations",
    metadata,
    Column("organization_id", BigInteger, nullable=False, autoincrement=False),
    required("document", JSONB),
    *log_place(),
    PrimaryKeyConstraint("organization_id", name="pk_organizations"),
)

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
    required("updated_at", Instant),
    *newest_wins("timezone"),
    *newest_wins("language"),
    *newest_wins("quiet_hours"),
    *newest_wins("max_nudges_per_day"),
    *log_place(),
    PrimaryKeyConstraint("user_id", name="pk_preferences"),
)

outcome_facts: Final = Table(
    "outcome_facts",
    metadata,
    Column("user_id", BigInteger, nullable=False, autoincrement=False),
    required("kind", String(50)),
    # The skill it is about; '' where the kind needs none. Outcomes about contents: `content_outcomes`.
    required("subject", String(100)),
    # 0 = the event named no organization; a fact of another organization touches no row.
    Column("organization_id", BigInteger, nullable=False, autoincrement=False),
    required("newest", Instant),
    required("event", BigInteger),
    # The newest times, newest first: an older episode keeps what was done about it.
    required("times", ARRAY(Instant)),
    *log_place(),
    PrimaryKeyConstraint("user_id", "kind", "subject", "organization_id", name="pk_outcome_facts"),
)

content_outcomes: Final = Table(
    "content_outcomes",
    metadata,
    Column("user_id", BigInteger, nullable=False, autoincrement=False),
    required("content_id", String(100)),
    # 0 = the event named no organization, as in `outcome_facts`.
    Column("organization_id", BigInteger, nullable=False, autoincrement=False),
    required("kind", String(50)),
    required("occurred_at", Instant),
    required("event", BigInteger),
    Column("completion_time_seconds", Double),
    Column("gave_up", Boolean),
    *log_place(),
    PrimaryKeyConstraint("user_id", "content_id", "occurred_at", "event", "kind", name="pk_content_outcomes"),
)

sink_offsets: Final = Table(
    "sink_offsets",
    metadata,
    required("topic", String(249)),
    Column("partition", Integer, nullable=False, autoincrement=False),
    required("next_offset", BigInteger),
    required("epoch", BigInteger),
    defaults_to_now("updated_at"),
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
    required("complete_until", Instant),
    PrimaryKeyConstraint("partition", name="pk_watermarks"),
)

outbox: Final = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("organization_id", BigInteger),
    required("topic", String(249)),
    required("key", Text),
    required("partition_key", Text),
    required("value", LargeBinary),
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
    # Identifies the contents of the tables: `lyo sink --rebuild` gives them another one.
    Column("epoch", Uuid, nullable=False, server_default=func.gen_random_uuid()),
    # `removed_rows` no longer holds what was removed before this; null: it holds everything.
    Column("forgotten_before", Instant),
    PrimaryKeyConstraint("one", name="pk_stream_epoch"),
    CheckConstraint("one", name="ck_stream_epoch_one"),
)

removed_rows: Final = Table(
    "removed_rows",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    required("topic", String(249)),
    required("user_id", BigInteger),
    Column("organization_id", BigInteger),
    # The columns of the table's UNIQUE, and the row's id.
    required("key", JSONB),
    # The record that removed the row.
    required("log_partition", Integer),
    required("log_offset", BigInteger),
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
    # When the newest erasure was requested; the beginning of 1970 if only a consent is known.
    required("erased_at", Instant),
    # The newest consent: events from then on count, if it is later than the erasure.
    Column("epoch", Instant),
    # When the rows were deleted, and how many of each table.
    Column("stored_at", Instant, nullable=False, server_default=func.now()),
    required("removed", JSONB),
    # When a worker had deleted everything from the topics, and how many keys of each.
    Column("topics_at", Instant),
    Column("topics", JSONB),
    PrimaryKeyConstraint("user_id", name="pk_erasure_fences"),
)

STREAM_TABLES: Final = (stream_epoch, removed_rows)
"""Tables that subscribers need beside those they follow; a rebuild empties both."""

HISTORY_TABLES: Final = (struggle_predictions, content_outcomes)
"""Tables that only the sink fills, of which the topics hold but the newest part: a rebuild keeps the rest."""

REBUILT_TABLES: Final = (
    *(table for table in PREDICTION_TABLES if table not in HISTORY_TABLES),
    interventions,
    learner_rows,
    skill_rows,
    contents,
    organizations,
    preferences,
    outcome_facts,
    sink_offsets,
)
"""Tables that only the sink fills, from the topics: emptied together, they are rebuilt from the log."""

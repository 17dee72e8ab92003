"""A row for every struggle prediction, and every outcome about a content."""

from alembic import op

revision = "phase2_007"
down_revision = "phase2_006"
branch_labels = None
depends_on = None

CONTENT_OUTCOMES = """
CREATE TABLE content_outcomes (
    user_id BIGINT NOT NULL,
    content_id VARCHAR(100) NOT NULL,
    organization_id BIGINT NOT NULL,
    kind VARCHAR(50) NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    event BIGINT NOT NULL,
    completion_time_seconds FLOAT,
    gave_up BOOLEAN,
    log_partition INTEGER,
    log_offset BIGINT,
    CONSTRAINT pk_content_outcomes PRIMARY KEY (user_id, content_id, occurred_at, event, kind)
)
"""
# Of a fact's older times the event is not known; 0 sorts before every event.
MOVE_FACTS = """
INSERT INTO content_outcomes
    (user_id, content_id, organization_id, kind, occurred_at, event, log_partition, log_offset)
SELECT f.user_id, f.subject, f.organization_id, f.kind, fact.at,
    CASE WHEN fact.at = f.newest THEN f.event ELSE 0 END, f.log_partition, f.log_offset
FROM outcome_facts f, unnest(f.times) AS fact(at)
WHERE f.kind IN ('struggled', 'not_struggled', 'help_offered', 'help_accepted', 'help_declined')
ON CONFLICT DO NOTHING
"""
FORGET_FACTS = """
DELETE FROM outcome_facts
WHERE kind IN ('struggled', 'not_struggled', 'help_offered', 'help_accepted', 'help_declined')
"""

HISTORY = """
UPDATE struggle_predictions SET request_id = '' WHERE request_id IS NULL;
ALTER TABLE struggle_predictions
    ALTER COLUMN request_id SET NOT NULL,
    ADD COLUMN completion_time_seconds FLOAT,
    ADD COLUMN gave_up BOOLEAN,
    DROP CONSTRAINT uq_struggle_predictions_user_id_content_id,
    ADD CONSTRAINT uq_struggle_predictions_user_id_content_id_request_id
        UNIQUE (user_id, content_id, request_id);
CREATE INDEX ix_struggle_predictions_actual_outcome_at
    ON struggle_predictions (actual_outcome_at) WHERE actual_outcome_at IS NOT NULL;
CREATE INDEX ix_struggle_predictions_unanswered
    ON struggle_predictions (user_id, requested_at) WHERE log_partition IS NULL
"""

RESTORE_FACTS = """
INSERT INTO outcome_facts
    (user_id, kind, subject, organization_id, newest, event, times, log_partition, log_offset)
SELECT user_id, kind, content_id, organization_id, max(occurred_at),
    (array_agg(event ORDER BY occurred_at DESC, event DESC))[1],
    (array_agg(DISTINCT occurred_at ORDER BY occurred_at DESC))[1:8], max(log_partition), max(log_offset)
FROM content_outcomes GROUP BY user_id, kind, content_id, organization_id
"""
ONLY_NEWEST = """
DELETE FROM struggle_predictions t USING (
    SELECT id, row_number() OVER (PARTITION BY user_id, content_id
                                  ORDER BY requested_at DESC NULLS LAST, id DESC) AS place
    FROM struggle_predictions
) r WHERE t.id = r.id AND r.place > 1
"""
WITHOUT_HISTORY = """
DROP INDEX ix_struggle_predictions_actual_outcome_at;
DROP INDEX ix_struggle_predictions_unanswered;
ALTER TABLE struggle_predictions
    DROP CONSTRAINT uq_struggle_predictions_user_id_content_id_request_id,
    ADD CONSTRAINT uq_struggle_predictions_user_id_content_id UNIQUE (user_id, content_id),
    DROP COLUMN gave_up,
    DROP COLUMN completion_time_seconds,
    ALTER COLUMN request_id DROP NOT NULL;
DROP TABLE content_outcomes
"""


def upgrade() -> None:
    for statement in (CONTENT_OUTCOMES, MOVE_FACTS, FORGET_FACTS, *HISTORY.split(";")):
        op.execute(statement)


def downgrade() -> None:
    for statement in (RESTORE_FACTS, ONLY_NEWEST, *WITHOUT_HISTORY.split(";")):
        op.execute(statement)

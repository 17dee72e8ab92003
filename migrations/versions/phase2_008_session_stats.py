"""The specification's view `user_session_stats`, over what the sink reads out of learners' rows."""

from alembic import op

revision = "phase2_008"
down_revision = "phase2_007"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE learner_rows
    ADD COLUMN total_sessions BIGINT,
    ADD COLUMN avg_duration DOUBLE PRECISION,
    ADD COLUMN last_session TIMESTAMPTZ
"""
VIEW = """
CREATE VIEW user_session_stats AS
SELECT user_id, organization_id, total_sessions, avg_duration, last_session FROM learner_rows
WHERE total_sessions > 0
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(VIEW)


def downgrade() -> None:
    op.execute("DROP VIEW user_session_stats")
    for column in ("total_sessions", "avg_duration", "last_session"):
        op.execute(f"ALTER TABLE learner_rows DROP COLUMN {column}")

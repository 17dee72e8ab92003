"""Of which topic the sink's offsets are: one that is created again has another id."""

from alembic import op

revision = "phase2_006"
down_revision = "phase2_005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE sink_offsets ADD COLUMN topic_id VARCHAR(22)")


def downgrade() -> None:
    op.execute("ALTER TABLE sink_offsets DROP COLUMN topic_id")

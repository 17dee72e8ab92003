"""Up to when everything published is in the tables, by partition number."""

from alembic import op

revision = "phase2_005"
down_revision = "phase2_004"
branch_labels = None
depends_on = None

WATERMARKS = """
CREATE TABLE watermarks (
    partition INTEGER NOT NULL,
    complete_until TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_watermarks PRIMARY KEY (partition)
)
"""


def upgrade() -> None:
    op.execute(WATERMARKS)


def downgrade() -> None:
    op.execute("DROP TABLE watermarks")

"""The fences of erased learners, and what was removed of them."""

from alembic import op

revision = "phase2_004"
down_revision = "phase2_003"
branch_labels = None
depends_on = None

ERASURE_FENCES = """
CREATE TABLE erasure_fences (
    user_id BIGINT NOT NULL,
    organization_id BIGINT,
    erased_at TIMESTAMPTZ NOT NULL,
    epoch TIMESTAMPTZ,
    stored_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    removed JSONB NOT NULL,
    topics_at TIMESTAMPTZ,
    topics JSONB,
    CONSTRAINT pk_erasure_fences PRIMARY KEY (user_id)
)
"""


def upgrade() -> None:
    op.execute(ERASURE_FENCES)


def downgrade() -> None:
    op.execute("DROP TABLE erasure_fences")

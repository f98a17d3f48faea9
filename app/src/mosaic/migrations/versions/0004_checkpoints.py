"""Parts that run for minutes: their progress, the latest checkpoint, and what an attempt computes again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns. PostgreSQL does not rewrite any row for this."""
    op.add_column("part", sa.Column("progress", sa.Float()))
    op.add_column("part", sa.Column("checkpoint", postgresql.JSONB()))
    op.add_column("part", sa.Column("reported_at", sa.DateTime(timezone=True)))
    op.add_column("part", sa.Column("latest_attempt", sa.BigInteger()))
    op.add_column("attempt", sa.Column("began", sa.Float()))
    op.add_column("attempt", sa.Column("again", sa.Float()))

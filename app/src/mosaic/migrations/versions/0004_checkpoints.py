"""Parts of minutes: how far they are, where another attempt resumes, and how much it computes again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns; no row is rewritten."""
    op.add_column("part", sa.Column("progress", sa.Float()))
    op.add_column("part", sa.Column("checkpoint", postgresql.JSONB()))
    op.add_column("part", sa.Column("reported_at", sa.DateTime(timezone=True)))
    op.add_column("part", sa.Column("latest_attempt", sa.BigInteger()))
    op.add_column("attempt", sa.Column("began", sa.Float()))
    op.add_column("attempt", sa.Column("again", sa.Float()))


def downgrade() -> None:
    """Drop them."""
    for column in ("again", "began"):
        op.drop_column("attempt", column)
    for column in ("latest_attempt", "reported_at", "checkpoint", "progress"):
        op.drop_column("part", column)

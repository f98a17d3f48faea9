"""The tick of beat is the latest run of its task, as that of any periodic task: its own table goes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Drop the table."""
    op.drop_table("beat_tick")


def downgrade() -> None:
    """Create it again, empty."""
    op.create_table(
        "beat_tick",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("beat_host", sa.Text(), nullable=False),
        sa.Column("ticked_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_beat_tick"),
        sa.UniqueConstraint("task_id", name="uq_beat_tick_task_id"),
    )
    op.create_index("ix_beat_tick_ticked_at", "beat_tick", ["ticked_at"])

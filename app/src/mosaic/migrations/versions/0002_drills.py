"""What the tasks of drills enter: every attempt, and each unit's effect."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "drill_attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("unit", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("redelivered", sa.Boolean(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("outcome", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_drill_attempt"),
    )
    op.create_index("ix_drill_attempt_run_unit", "drill_attempt", ["run", "unit"])
    op.create_index("ix_drill_attempt_started_at", "drill_attempt", ["started_at"])
    op.create_table(
        "drill_effect",
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("unit", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "unit", name="pk_drill_effect"),
        sa.ForeignKeyConstraint(
            ["attempt"],
            ["drill_attempt.id"],
            name="fk_drill_effect_drill_attempt",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("drill_effect")
    op.drop_table("drill_attempt")

"""What the console shows live: signs of life, the latest runs of periodic tasks, running jobs at a glance."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables and the index."""
    op.create_table(
        "heartbeat",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("stopped_at", TIME),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_heartbeat"),
    )
    # Each row changes every second: with room on its page that costs no index entry.
    op.execute("ALTER TABLE heartbeat SET (fillfactor = 20)")
    op.create_table(
        "periodic_run",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("beat_host", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("outcome", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("task", name="pk_periodic_run"),
    )
    op.create_index("ix_job_running", "job", ["state"], postgresql_where=sa.text("state = 'running'"))


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_job_running", "job")
    op.drop_table("periodic_run")
    op.drop_table("heartbeat")

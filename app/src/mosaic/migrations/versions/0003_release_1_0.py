"""The schema of release 1.0.0, with the tables of Celery's result backend.

A database of that release has the table `beat_tick` too, which nothing uses any more.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from celery.backends.database.models import TaskExtended
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = None

NOW = sa.func.now()
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create all tables."""
    _create_jobs()
    _create_log_records()
    _create_drills()
    _create_console()
    # Celery creates its tables on first use, but the application's role may not create any.
    results: Any = TaskExtended  # celery-types does not know its metadata
    results.metadata.create_all(op.get_bind())


def _create_jobs() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("finished_at", TIME),
    )
    op.create_index("ix_job_created_at", "job", ["created_at"])
    op.create_table(
        "part",
        sa.Column("job_id", sa.Uuid(), sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("index", sa.Integer(), primary_key=True),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("joins", sa.Boolean(), nullable=False),
        sa.Column("params", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text()),
        sa.Column("pid", sa.Integer()),
        sa.Column("published_at", TIME, server_default=NOW, nullable=False),
        sa.Column("started_at", TIME),
        sa.Column("ended_at", TIME),
        sa.Column("error", sa.Text()),
        sa.Column("result", postgresql.JSONB()),
    )
    op.create_index("ix_part_state_published_at", "part", ["state", "published_at"])
    op.create_table(
        "attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid()),
        sa.Column("index", sa.Integer()),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("redelivered", sa.Boolean(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, server_default=NOW, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("outcome", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.ForeignKeyConstraint(
            ["job_id", "index"], ["part.job_id", "part.index"], name="fk_attempt_part", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_attempt_job_id_index", "attempt", ["job_id", "index"])
    op.create_index("ix_attempt_task_id", "attempt", ["task_id"])
    op.create_index("ix_attempt_started_at", "attempt", ["started_at"])
    op.create_table(
        "blob",
        sa.Column("job_id", sa.Uuid(), sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("role", sa.Text(), primary_key=True),
        sa.Column("index", sa.Integer(), primary_key=True),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    # PNG and JPEG data does not become smaller. Without this, PostgreSQL spends a core on trying.
    op.execute("ALTER TABLE blob ALTER COLUMN data SET STORAGE EXTERNAL")


def _create_log_records() -> None:
    op.create_table(
        "log_record",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("message_id", sa.Text(), nullable=False, unique=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("severity", sa.SmallInteger(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("logged_at", TIME, nullable=False),
        sa.Column("stored_at", TIME, server_default=NOW, nullable=False),
    )
    op.create_index("ix_log_record_logged_at", "log_record", ["logged_at"])
    op.create_index("ix_log_record_host_logged_at", "log_record", ["host", "logged_at"])


def _create_drills() -> None:
    op.create_table(
        "drill_attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("unit", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("redelivered", sa.Boolean(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, server_default=NOW, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("outcome", sa.Text()),
    )
    op.create_index("ix_drill_attempt_run_unit", "drill_attempt", ["run", "unit"])
    op.create_index("ix_drill_attempt_started_at", "drill_attempt", ["started_at"])
    op.create_table(
        "drill_effect",
        sa.Column("run", sa.Text(), primary_key=True),
        sa.Column("unit", sa.Integer(), primary_key=True),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt"],
            ["drill_attempt.id"],
            name="fk_drill_effect_drill_attempt",
            ondelete="CASCADE",
        ),
    )


def _create_console() -> None:
    op.create_table(
        "heartbeat",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("stopped_at", TIME),
        sa.Column("details", postgresql.JSONB(), nullable=False),
    )
    # Each row changes every second. With free space on its page an update needs no new index entry.
    op.execute("ALTER TABLE heartbeat SET (fillfactor = 20)")
    op.create_table(
        "periodic_run",
        sa.Column("task", sa.Text(), primary_key=True),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("beat_host", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("outcome", sa.Text()),
        sa.Column("error", sa.Text()),
    )
    op.create_index("ix_job_running", "job", ["state"], postgresql_where=sa.text("state = 'running'"))

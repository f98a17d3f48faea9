"""The ledger, and the tables of Celery's result backend.

Celery would make its tables when first used, for which the application's role has no right.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

NOW = sa.func.now()
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create all tables."""
    _create_jobs()
    _create_records()
    _create_celery_results()


def _create_jobs() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("finished_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
    )
    op.create_index("ix_job_created_at", "job", ["created_at"])
    op.create_table(
        "part",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
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
        sa.PrimaryKeyConstraint("job_id", "index", name="pk_part"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_part_job", ondelete="CASCADE"),
    )
    op.create_index("ix_part_state_published_at", "part", ["state", "published_at"])
    op.create_table(
        "attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
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
        sa.PrimaryKeyConstraint("id", name="pk_attempt"),
        sa.ForeignKeyConstraint(
            ["job_id", "index"], ["part.job_id", "part.index"], name="fk_attempt_part", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_attempt_job_id_index", "attempt", ["job_id", "index"])
    op.create_index("ix_attempt_task_id", "attempt", ["task_id"])
    op.create_index("ix_attempt_started_at", "attempt", ["started_at"])
    op.create_table(
        "blob",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "role", "index", name="pk_blob"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_blob_job", ondelete="CASCADE"),
    )
    # PNG and JPEG do not compress again; trying costs the database a core.
    op.execute("ALTER TABLE blob ALTER COLUMN data SET STORAGE EXTERNAL")


def _create_records() -> None:
    op.create_table(
        "log_record",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("severity", sa.SmallInteger(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("logged_at", TIME, nullable=False),
        sa.Column("stored_at", TIME, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_record"),
        sa.UniqueConstraint("message_id", name="uq_log_record_message_id"),
    )
    op.create_index("ix_log_record_logged_at", "log_record", ["logged_at"])
    op.create_index("ix_log_record_host_logged_at", "log_record", ["host", "logged_at"])
    op.create_table(
        "beat_tick",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("beat_host", sa.Text(), nullable=False),
        sa.Column("ticked_at", TIME, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_beat_tick"),
        sa.UniqueConstraint("task_id", name="uq_beat_tick_task_id"),
    )
    op.create_index("ix_beat_tick_ticked_at", "beat_tick", ["ticked_at"])


def _create_celery_results() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("task_id_sequence")))
    op.create_table(
        "celery_taskmeta",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("task_id", sa.String(155)),
        sa.Column("status", sa.String(50)),
        sa.Column("result", sa.LargeBinary()),
        sa.Column("date_done", sa.DateTime()),
        sa.Column("traceback", sa.Text()),
        sa.Column("children", sa.LargeBinary()),
        sa.Column("name", sa.String(155)),
        sa.Column("args", sa.LargeBinary()),
        sa.Column("kwargs", sa.LargeBinary()),
        sa.Column("worker", sa.String(155)),
        sa.Column("retries", sa.Integer()),
        sa.Column("queue", sa.String(155)),
        sa.Column("stamps", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("task_id"),
    )
    op.create_index("ix_celery_taskmeta_date_done", "celery_taskmeta", ["date_done"])
    op.execute(sa.schema.CreateSequence(sa.Sequence("taskset_id_sequence")))
    op.create_table(
        "celery_tasksetmeta",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("taskset_id", sa.String(155)),
        sa.Column("result", sa.LargeBinary()),
        sa.Column("date_done", sa.DateTime()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("taskset_id"),
    )
    op.create_index("ix_celery_tasksetmeta_date_done", "celery_tasksetmeta", ["date_done"])


def downgrade() -> None:
    """Drop all tables, and with them all that is recorded."""
    for table in ("celery_tasksetmeta", "celery_taskmeta", "beat_tick", "log_record", "blob", "attempt"):
        op.drop_table(table)
    op.drop_table("part")
    op.drop_table("job")
    for sequence in ("task_id_sequence", "taskset_id_sequence"):
        op.execute(sa.schema.DropSequence(sa.Sequence(sequence)))

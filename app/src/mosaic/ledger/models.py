"""The ledger's tables. Times are UTC with a time zone. A part can have each effect only once."""

from __future__ import annotations

import datetime
import uuid
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

RUNNING = "running"
DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"
ACCEPTED = "accepted"

# Priorities of a job.
NORMAL = "normal"
HIGH = "high"

# Outcomes of an attempt besides done and failed.
DUPLICATE = "duplicate"
RETRIED = "retried"
LOST = "lost"
DISCARDED = "discarded"

MAX_INDEX = 2**31 - 1  # of a part in its job


class Base(DeclarativeBase):
    """Gives every constraint a name that migrations can use."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        str: Text,
        bytes: LargeBinary,
        datetime.datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
    }


class Job(Base):
    """What a user submitted. `state` is running, done, failed or cancelled, `priority` normal or high.

    `confirmed_at`: when the broker had confirmed all messages that the gateway published.
    """

    __tablename__ = "job"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    state: Mapped[str] = mapped_column(default=RUNNING)
    params: Mapped[dict[str, Any]]
    priority: Mapped[str] = mapped_column(server_default=NORMAL)
    error: Mapped[str | None]
    created_at: Mapped[datetime.datetime] = mapped_column(server_default=func.now())
    confirmed_at: Mapped[datetime.datetime | None]
    finished_at: Mapped[datetime.datetime | None]

    __table_args__ = (
        Index(None, "created_at"),
        Index("ix_job_running", "state", postgresql_where=text("state = 'running'")),
    )


class Part(Base):
    """A part of a job. A part with `joins` starts when all other parts of its job are done.

    Until then its `published_at` is the `created_at` of its job.

    The task reported `progress`, from 0 to 1, and `checkpoint` at `reported_at`; all three are null without a
    report.
    """

    __tablename__ = "part"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    task: Mapped[str]
    joins: Mapped[bool] = mapped_column(default=False)
    params: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default=ACCEPTED)
    attempts: Mapped[int] = mapped_column(default=0)
    host: Mapped[str | None]
    pid: Mapped[int | None]
    published_at: Mapped[datetime.datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime.datetime | None]
    ended_at: Mapped[datetime.datetime | None]
    error: Mapped[str | None]
    result: Mapped[dict[str, Any] | None]
    progress: Mapped[float | None]
    checkpoint: Mapped[dict[str, Any] | None]
    reported_at: Mapped[datetime.datetime | None]
    latest_attempt: Mapped[int | None] = mapped_column(BigInteger)
    # No index on `state`: see the migration 0005.


class Attempt(Base):
    """One start of a task in one process. `job_id` is null for a task that does no part.

    An attempt that resumes a part from a checkpoint starts at the progress `began`. It computes at most
    `again` seconds of the work of the attempt before it a second time. `message`: see mosaic.worker.message.
    """

    __tablename__ = "attempt"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    task_id: Mapped[str]
    task: Mapped[str]
    job_id: Mapped[uuid.UUID | None]
    index: Mapped[int | None]
    number: Mapped[int] = mapped_column(default=1)
    redelivered: Mapped[bool] = mapped_column(default=False)
    host: Mapped[str]
    pid: Mapped[int]
    started_at: Mapped[datetime.datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime.datetime | None]
    outcome: Mapped[str | None]
    error: Mapped[str | None]
    began: Mapped[float | None]
    again: Mapped[float | None]
    message: Mapped[dict[str, Any] | None]

    __table_args__ = (
        ForeignKeyConstraint(["job_id", "index"], ["part.job_id", "part.index"], ondelete="CASCADE"),
        Index(None, "job_id", "index"),
        Index(None, "task_id"),
        Index(None, "started_at"),
    )


class Acknowledgement(Base):
    """Tasks that a worker acknowledged, one row a heartbeat.

    `tasks`: id -> seconds since 1970 by the clock of `host`.
    """

    __tablename__ = "acknowledgement"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    host: Mapped[str]
    stored_at: Mapped[datetime.datetime] = mapped_column(server_default=func.clock_timestamp())
    tasks: Mapped[dict[str, Any]]

    __table_args__ = (Index(None, "stored_at"),)


class Blob(Base):
    """Bytes of a job: `role` is source, tile, size, sheet, text or thumbnail. Role and index are unique."""

    __tablename__ = "blob"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    content_type: Mapped[str]
    data: Mapped[bytes]


class LogRecord(Base):
    """One journal entry of one host; `severity` is the syslog number, 0 emerg to 7 debug."""

    __tablename__ = "log_record"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    message_id: Mapped[str]
    host: Mapped[str]
    severity: Mapped[int] = mapped_column(SmallInteger)
    unit: Mapped[str]
    message: Mapped[str]
    logged_at: Mapped[datetime.datetime]
    stored_at: Mapped[datetime.datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        UniqueConstraint("message_id"),
        Index(None, "logged_at"),
        Index(None, "host", "logged_at"),
    )


class Heartbeat(Base):
    """The latest heartbeat of one process of the application, e.g. `render@worker-1`; `kind`: worker or beat.

    A process that ends normally sets `stopped_at`. `details` is what the process reports about itself.
    """

    __tablename__ = "heartbeat"

    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    started_at: Mapped[datetime.datetime]
    seen_at: Mapped[datetime.datetime]
    stopped_at: Mapped[datetime.datetime | None]
    details: Mapped[dict[str, Any]]


class PeriodicRun(Base):
    """The latest run of a periodic task: sent by beat on `beat_host`, run by process `pid` of `host`."""

    __tablename__ = "periodic_run"

    task: Mapped[str] = mapped_column(primary_key=True)
    task_id: Mapped[str]
    beat_host: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    started_at: Mapped[datetime.datetime]
    ended_at: Mapped[datetime.datetime | None]
    outcome: Mapped[str | None]
    error: Mapped[str | None]


class DrillAttempt(Base):
    """One start of a drill's task in one process. The producer numbers the units."""

    __tablename__ = "drill_attempt"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run: Mapped[str]
    unit: Mapped[int]
    number: Mapped[int]
    task_id: Mapped[str]
    redelivered: Mapped[bool]
    host: Mapped[str]
    pid: Mapped[int]
    started_at: Mapped[datetime.datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime.datetime | None]
    outcome: Mapped[str | None]

    __table_args__ = (Index(None, "run", "unit"), Index(None, "started_at"))


class DrillEffect(Base):
    """The effect of a unit: only the first attempt that ends can insert it."""

    __tablename__ = "drill_effect"

    run: Mapped[str] = mapped_column(primary_key=True)
    unit: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(ForeignKey("drill_attempt.id", ondelete="CASCADE"))

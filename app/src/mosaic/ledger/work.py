"""The life of an attempt: begun, then done, failed, retried, or found to be a duplicate.

The job's row is locked while an attempt ends, so that of two parts ending at once one sees the other and the
job's end is noticed. Whoever marks the part done has had the effect; any other attempt is a duplicate.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, exists, func, insert, null, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from mosaic.ledger.models import (
    CANCELLED,
    DISCARDED,
    DONE,
    DUPLICATE,
    FAILED,
    LOST,
    RETRIED,
    RUNNING,
    Attempt,
    Blob,
    Job,
    Part,
)

ERROR_LENGTH = 500
# A task that reports does so each second; what it computes until the next report goes with its process.
MOST_LOST_SECONDS = 2.0


@dataclass(frozen=True)
class Runner:
    """Who makes an attempt: the message's task id and the process that runs it."""

    task_id: str
    task: str
    host: str
    pid: int
    redelivered: bool = False


@dataclass
class PartWork:
    """What a task is given: its part's parameters and those of its job, and the latest checkpoint, if any.

    `reported` is when the attempt last reported its progress, by this process's monotonic clock.
    """

    attempt: int
    job_id: uuid.UUID
    index: int
    params: dict[str, Any]
    job_params: dict[str, Any]
    checkpoint: dict[str, Any] | None = None
    reported: float = -math.inf


@dataclass(frozen=True)
class Product:
    """What a part yields: a small JSON result, bytes to store under the part's index, or both."""

    result: dict[str, Any] | None = None
    role: str | None = None
    content_type: str = ""
    data: bytes = field(default=b"", repr=False)


def begin(session: Session, runner: Runner, job_id: uuid.UUID, index: int) -> PartWork | None:
    """Record the start of an attempt. None: nothing to do, the part is done, failed, cancelled or gone."""
    part = session.get(Part, (job_id, index), with_for_update=True)
    if part is None:
        _insert_attempt(session, runner, None, None, 1, DISCARDED, f"no part {index} of job {job_id}")
        return None
    if part.state in (DONE, FAILED, CANCELLED):
        outcome = DUPLICATE if part.state == DONE else DISCARDED
        _insert_attempt(session, runner, job_id, index, part.attempts + 1, outcome)
        return None
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job_id, Attempt.index == index, Attempt.outcome.is_(None))
        .values(outcome=LOST, ended_at=func.clock_timestamp())
    )
    number = part.attempts + 1
    resumed = _resumed(session, part)
    attempt = _insert_attempt(session, runner, job_id, index, number, resumed=resumed)
    # One update: after a second one in a transaction PostgreSQL checks the foreign key, which waits for
    # whoever holds the job, as a cancel does that waits for this part.
    part.attempts, part.state, part.latest_attempt = number, RUNNING, attempt
    part.host, part.pid = runner.host, runner.pid
    part.started_at = func.clock_timestamp()
    job_params = session.scalar(select(Job.params).where(Job.id == job_id)) or {}
    return PartWork(attempt, job_id, index, part.params, job_params, part.checkpoint)


def _resumed(session: Session, part: Part) -> dict[str, float]:
    """Return where the next attempt at a part resumes, and how many seconds at most it computes again."""
    if part.progress is None or part.reported_at is None:
        return {}
    heard = max(part.reported_at, part.started_at or part.reported_at)
    silence = session.execute(select(func.clock_timestamp())).scalar_one() - heard
    return {"began": part.progress, "again": min(silence.total_seconds(), MOST_LOST_SECONDS)}


def begin_partless(session: Session, runner: Runner) -> int:
    """Record the start of a task that has no part; return the attempt's id."""
    return _insert_attempt(session, runner, None, None, 1)


def end_partless(session: Session, attempt: int, outcome: str, error: str | None = None) -> None:
    """Record the end of a task that has no part."""
    _end_attempt(session, attempt, outcome, error)


def finish(session: Session, work: PartWork, runner: Runner, product: Product) -> Sequence[tuple[str, int]]:
    """Store the product and mark the part done; return (task, index) of a joining part now due, if any."""
    state = _lock_job(session, work.job_id)
    if state is None or state == CANCELLED:
        _end_attempt(session, work.attempt, DISCARDED, None)
        return ()
    marked = session.execute(
        update(Part)
        .where(Part.job_id == work.job_id, Part.index == work.index, Part.state != DONE)
        .values(
            state=DONE,
            host=runner.host,
            pid=runner.pid,
            result=product.result,
            progress=case((Part.progress.is_not(None), 1.0)),
            checkpoint=null(),
            error=None,
            ended_at=func.clock_timestamp(),
        )
        .returning(Part.index)
    ).first()
    if marked is None:
        _end_attempt(session, work.attempt, DUPLICATE, None)
        return ()
    if product.role is not None:
        session.execute(
            upsert(Blob)
            .values(
                job_id=work.job_id,
                role=product.role,
                index=work.index,
                content_type=product.content_type,
                data=product.data,
            )
            .on_conflict_do_nothing()
        )
    _end_attempt(session, work.attempt, DONE, None)
    return _advance(session, work.job_id)


def fail(session: Session, work: PartWork, error: str) -> None:
    """Mark the part, and with it its job, as failed for good."""
    if _lock_job(session, work.job_id) is not None:
        fail_part(session, work.job_id, work.index, error)
    _end_attempt(session, work.attempt, FAILED, error)


def fail_part(session: Session, job_id: uuid.UUID, index: int, error: str) -> None:
    """Mark a part that is not done as failed, and its job with it; the job's row must be locked."""
    marked = session.execute(
        update(Part)
        .where(Part.job_id == job_id, Part.index == index, Part.state.not_in((DONE, CANCELLED)))
        .values(state=FAILED, error=error[:ERROR_LENGTH], ended_at=func.clock_timestamp())
        .returning(Part.index)
    ).first()
    if marked is not None:
        session.execute(
            update(Job)
            .where(Job.id == job_id, Job.state == RUNNING)
            .values(
                state=FAILED,
                error=f"part {index}: {error}"[:ERROR_LENGTH],
                finished_at=func.clock_timestamp(),
            )
        )


def put_off(session: Session, work: PartWork, error: str) -> None:
    """Record that the attempt ended early and will be made again."""
    _end_attempt(session, work.attempt, RETRIED, error)


def _lock_job(session: Session, job_id: uuid.UUID) -> str | None:
    """Lock a job and return its state; None when it is gone. Foreign keys to it can still be checked."""
    return session.scalar(select(Job.state).where(Job.id == job_id).with_for_update(key_share=True))


def _advance(session: Session, job_id: uuid.UUID) -> list[tuple[str, int]]:
    open_parts = select(Part.index).where(Part.job_id == job_id, Part.state != DONE)
    if session.scalar(select(exists(open_parts.where(~Part.joins)))):
        return []
    due = [
        (row.task, row.index)
        for row in session.scalars(select(Part).where(Part.index.in_(open_parts), Part.job_id == job_id))
    ]
    if not due:
        session.execute(
            update(Job)
            .where(Job.id == job_id, Job.state == RUNNING)
            .values(state=DONE, finished_at=func.clock_timestamp())
        )
    return due


def _insert_attempt(
    session: Session,
    runner: Runner,
    job_id: uuid.UUID | None,
    index: int | None,
    number: int,
    outcome: str | None = None,
    error: str | None = None,
    resumed: Mapping[str, float] | None = None,
) -> int:
    statement = insert(Attempt).values(
        task_id=runner.task_id,
        task=runner.task,
        host=runner.host,
        pid=runner.pid,
        redelivered=runner.redelivered,
        job_id=job_id,
        index=index,
        number=number,
        outcome=outcome,
        error=error,
        started_at=func.clock_timestamp(),
        ended_at=func.clock_timestamp() if outcome else None,
        **(resumed or {}),
    )
    return session.execute(statement.returning(Attempt.id)).scalar_one()


def _end_attempt(session: Session, attempt: int, outcome: str, error: str | None) -> None:
    session.execute(
        update(Attempt)
        .where(Attempt.id == attempt)
        .values(
            outcome=outcome,
            error=error[:ERROR_LENGTH] if error else None,
            ended_at=func.clock_timestamp(),
        )
    )

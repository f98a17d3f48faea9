"""Work on parts: attempts begin, report and end; operators cancel jobs, and retry or give up parts.

The attempt that marks the part as done has the effect; any other attempt is a duplicate. After its commit the
attempt looks for the end of the job: see `advance` and mosaic.ledger.quick.

The part stores the id of its latest attempt, and only this attempt may report. So an attempt on a host that
was only disconnected cannot reset the progress of the attempt that resumed the part.
"""

from __future__ import annotations

import datetime
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, exists, func, insert, null, select, update
from sqlalchemy.orm import Session

from mosaic.ledger.database import clock
from mosaic.ledger.jobs import PlannedBlob, add_blob
from mosaic.ledger.models import (
    ACCEPTED,
    CANCELLED,
    DISCARDED,
    DONE,
    DUPLICATE,
    FAILED,
    LOST,
    RUNNING,
    Attempt,
    Job,
    Part,
)

ERROR_LENGTH = 500
MOST_LOST_PROCESSES = 2
REPORT_SECONDS = 1.0
# A process that dies loses what it computed since its latest report.
MOST_LOST_SECONDS = 2.0


class AttemptOverError(Exception):
    """The attempt must end: its part was cancelled, has ended, or belongs to another attempt now."""


@dataclass(frozen=True)
class Runner:
    """The message's task id, and the process that runs the attempt; `message` as of mosaic.worker.message."""

    task_id: str
    task: str
    host: str
    pid: int
    redelivered: bool = False
    message: dict[str, Any] | None = None


@dataclass
class PartWork:
    """The input of a task: the parameters of its part and its job, and the latest checkpoint.

    `reported` is the time of the latest report, by this process's monotonic clock.
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
    """The output of a part: a small JSON result, bytes to store under the part's index, or both."""

    result: dict[str, Any] | None = None
    role: str | None = None
    content_type: str = ""
    data: bytes = field(default=b"", repr=False)


def begin(session: Session, runner: Runner, job_id: uuid.UUID, index: int) -> PartWork | None:
    """Store the start of an attempt. None: nothing to do, the part is done, failed, cancelled or deleted."""
    part = session.get(Part, (job_id, index), with_for_update=True)
    if part is None:
        begin_attempt(session, runner, outcome=DISCARDED, error=f"no part {index} of job {job_id}")
        return None
    if part.state in (DONE, FAILED, CANCELLED):
        outcome = DUPLICATE if part.state == DONE else DISCARDED
        begin_attempt(session, runner, job_id, index, part.attempts + 1, outcome)
        return None
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job_id, Attempt.index == index, Attempt.outcome.is_(None))
        .values(outcome=LOST, ended_at=func.clock_timestamp())
    )
    number = part.attempts + 1
    resumed = _resumed(session, part)
    attempt = begin_attempt(session, runner, job_id, index, number, resumed=resumed)
    # Only one update of this row: on a second one in the transaction PostgreSQL checks the foreign key. That
    # waits for the lock on the job, whose holder (a cancel) may wait for this part.
    part.attempts, part.state, part.latest_attempt = number, RUNNING, attempt
    part.host, part.pid = runner.host, runner.pid
    part.started_at = func.clock_timestamp()
    job_params = session.scalar(select(Job.params).where(Job.id == job_id)) or {}
    return PartWork(attempt, job_id, index, part.params, job_params, part.checkpoint)


def _resumed(session: Session, part: Part) -> dict[str, float]:
    """Return the progress at which the next attempt resumes, and the seconds that it computes again."""
    if part.progress is None or part.reported_at is None:
        return {}
    heard = max(part.reported_at, part.started_at or part.reported_at)
    silence = (clock(session) - heard).total_seconds()
    return {"began": part.progress, "again": min(silence, MOST_LOST_SECONDS)}


def report(session: Session, part: PartWork, fraction: float, state: dict[str, Any]) -> None:
    """Store the attempt's progress and the checkpoint (JSON) to resume from. Raises AttemptOverError."""
    kept = session.execute(
        update(Part)
        .where(
            Part.job_id == part.job_id,
            Part.index == part.index,
            Part.state == RUNNING,
            Part.latest_attempt == part.attempt,
        )
        .values(progress=fraction, checkpoint=state, reported_at=func.clock_timestamp())
        .returning(Part.index)
    ).first()
    if kept is None:
        raise AttemptOverError


def seconds_again(session: Session, job_id: uuid.UUID) -> float:
    """Return how many seconds at most the attempts of a job computed a second time."""
    return session.scalar(select(func.sum(Attempt.again)).where(Attempt.job_id == job_id)) or 0.0


def leave(session: Session, part: PartWork) -> None:
    """Store the end of an attempt that is over, unless it is stored as lost because another one resumed."""
    state = session.scalar(select(Part.state).where(Part.job_id == part.job_id, Part.index == part.index))
    session.execute(
        update(Attempt)
        .where(Attempt.id == part.attempt, Attempt.outcome.is_(None))
        .values(outcome=DUPLICATE if state == DONE else DISCARDED, ended_at=func.clock_timestamp())
    )


def finish(session: Session, work: PartWork, runner: Runner, product: Product) -> None:
    """Store the product and mark the part as done. After the commit the caller calls `advance`."""
    # The job's row first, because a deletion of the job has it when it waits for the part.
    session.execute(select(Job.id).where(Job.id == work.job_id).with_for_update(read=True, key_share=True))
    marked = session.execute(
        update(Part)
        .where(Part.job_id == work.job_id, Part.index == work.index, Part.state.not_in((DONE, CANCELLED)))
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
        state = session.scalar(select(Part.state).where(Part.job_id == work.job_id, Part.index == work.index))
        end_attempt(session, work.attempt, DUPLICATE if state == DONE else DISCARDED)
        return
    if product.role is not None:
        add_blob(
            session, work.job_id, PlannedBlob(product.role, work.index, product.content_type, product.data)
        )
    end_attempt(session, work.attempt, DONE)


def advance(session: Session, job_id: uuid.UUID, takes_joins: bool = True) -> list[tuple[str, int]]:
    """Mark a job as done if all of its parts are; return (task, index) of a joining part that is due now.

    Call it in a transaction of its own. Several attempts may find the end of a job at the same time: one of
    them marks the job, and with `takes_joins` one of them gets the joining part.
    """
    open_parts = select(Part.index).where(Part.job_id == job_id, Part.state != DONE)
    if session.scalar(select(exists(open_parts.where(~Part.joins)))):
        return []
    session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == RUNNING, ~exists(open_parts))
        .values(state=DONE, finished_at=func.clock_timestamp())
    )
    if not takes_joins:
        return []
    # Until somebody takes it, a joining part has the time of its job, because both were stored together.
    created = select(Job.created_at).where(Job.id == job_id).scalar_subquery()
    due = session.execute(
        update(Part)
        .where(Part.job_id == job_id, Part.joins, Part.state == ACCEPTED, Part.published_at == created)
        .values(published_at=func.clock_timestamp())
        .returning(Part.task, Part.index)
    )
    return [(task, index) for task, index in due]


def fail(session: Session, work: PartWork, error: str) -> None:
    """Store a failed attempt, and mark its part and its job as failed."""
    give_up(session, work.job_id, work.index, error)
    end_attempt(session, work.attempt, FAILED, error)


def lose(session: Session, task_id: str, job_id: uuid.UUID, index: int, signal: str) -> None:
    """Store that `signal` ended the process of an attempt. The second time, the part fails.

    Attempts that were lost with their worker or host have no error, and do not count.
    """
    if _lock_job(session, job_id) is None or session.get(Part, (job_id, index), with_for_update=True) is None:
        return
    of_part = (Attempt.job_id == job_id, Attempt.index == index)
    session.execute(
        update(Attempt)
        .where(*of_part, Attempt.task_id == task_id, Attempt.outcome.is_(None))
        .values(outcome=LOST, error=f"its pool process ended: {signal}", ended_at=func.clock_timestamp())
    )
    published = select(Part.published_at).where(Part.job_id == job_id, Part.index == index)
    lost = select(func.count()).where(
        *of_part,
        Attempt.outcome == LOST,
        Attempt.error.is_not(None),
        Attempt.started_at > published.scalar_subquery(),
    )
    if (session.scalar(lost) or 0) >= MOST_LOST_PROCESSES:
        reason = f"its pool process ended twice ({signal}); it may need more memory than its worker has"
        give_up(session, job_id, index, reason)


def give_up(session: Session, job_id: uuid.UUID, index: int, error: str) -> None:
    """Mark a part that is not done as failed, and its job with it."""
    if _lock_job(session, job_id) is None:
        return
    marked = session.execute(
        update(Part)
        .where(Part.job_id == job_id, Part.index == index, Part.state.not_in((DONE, CANCELLED)))
        .values(state=FAILED, error=error[:ERROR_LENGTH], ended_at=func.clock_timestamp())
        .returning(Part.index)
    ).first()
    if marked is not None:
        reason = f"part {index}: {error}"[:ERROR_LENGTH]
        session.execute(
            update(Job)
            .where(Job.id == job_id, Job.state == RUNNING)
            .values(state=FAILED, error=reason, finished_at=func.clock_timestamp())
        )


def cancel(session: Session, job_id: uuid.UUID) -> str | None:
    """Cancel a running job; return its state after that, or None if there is no such job.

    Done parts stay. Each worker that receives a message of another part finds the cancellation in the ledger
    and discards the message, so no worker has to be contacted.
    """
    job = session.get(Job, job_id, with_for_update={"key_share": True})
    if job is None or job.state != RUNNING:
        return job.state if job else None
    session.execute(
        update(Part)
        .where(Part.job_id == job_id, Part.state.in_((ACCEPTED, RUNNING)))
        .values(state=CANCELLED, ended_at=func.clock_timestamp())
    )
    job.state = CANCELLED
    job.finished_at = clock(session)
    return CANCELLED


def revive(session: Session, job_id: uuid.UUID, index: int) -> None:
    """Accept a failed part again and set its job to running. Other parts do not change."""
    job = session.get(Job, job_id, with_for_update={"key_share": True})
    part = session.get(Part, (job_id, index), with_for_update=True)
    if job is None or part is None or part.state not in (FAILED, RUNNING):
        return
    part.state, part.error, part.attempts, part.ended_at = ACCEPTED, None, 0, None
    part.published_at = clock(session)
    if job.state == FAILED:
        job.state, job.error, job.finished_at = RUNNING, None, None


def _lock_job(session: Session, job_id: uuid.UUID) -> str | None:
    """Lock a job and return its state; None: it was deleted. Foreign keys to it can still be checked."""
    return session.scalar(select(Job.state).where(Job.id == job_id).with_for_update(key_share=True))


def begin_attempt(
    session: Session,
    runner: Runner,
    job_id: uuid.UUID | None = None,
    index: int | None = None,
    number: int = 1,
    outcome: str | None = None,
    error: str | None = None,
    resumed: Mapping[str, float] | None = None,
) -> int:
    """Store the start of an attempt, which has ended already if it has an outcome; return its id."""
    statement = insert(Attempt).values(
        **{**vars(runner), "message": null() if runner.message is None else runner.message},
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


def end_attempt(session: Session, attempt: int, outcome: str, error: str | None = None) -> None:
    """Store the end of an attempt."""
    session.execute(
        update(Attempt)
        .where(Attempt.id == attempt)
        .values(
            outcome=outcome,
            error=error[:ERROR_LENGTH] if error else None,
            ended_at=func.clock_timestamp(),
        )
    )


def failures(session: Session, hours: int, limit: int) -> list[Attempt]:
    """Return the attempts that failed, of those that started in the last hours, the newest first."""
    query = (
        select(Attempt)
        .where(
            Attempt.started_at > func.now() - datetime.timedelta(hours=hours),
            Attempt.outcome == FAILED,
        )
        .order_by(Attempt.started_at.desc())
        .limit(limit)
    )
    return list(session.scalars(query))

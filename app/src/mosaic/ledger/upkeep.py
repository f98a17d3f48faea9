"""Upkeep that beat starts: publish lost parts again, delete old records."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Select, and_, case, delete, func, or_, select
from sqlalchemy.orm import Session, aliased

from mosaic.config import Upkeep
from mosaic.ledger.jobs import TaskCall
from mosaic.ledger.models import (
    ACCEPTED,
    DONE,
    HIGH,
    RUNNING,
    Acknowledgement,
    Attempt,
    DrillAttempt,
    Heartbeat,
    Job,
    LogRecord,
    Part,
)
from mosaic.ledger.work import advance, give_up

SWEEP_LOCK = 0x6D6F73
SWEEP_LIMIT = 500
# A part may wait long behind others. After this time it is published again even if its queue is not empty.
PATIENCE_SECONDS = 900
# A host that was removed from the lab is shown without heartbeats for this time.
FORGET_HEARTBEAT_SECONDS = 1800
# About 200 MB. A service that fails in a loop can log this much within a day.
KEEP_LOG_RECORDS = 500_000


def sweep(
    session: Session, rules: Upkeep, queue_is_empty: Callable[[str], bool]
) -> tuple[list[TaskCall], int]:
    """Find lost parts; return the calls to publish again, and how many parts have failed for good.

    An accepted part is lost only if its queue is empty; otherwise its message still waits. A part that
    reports may run for as long as it reports. `queue_is_empty` takes a task name. The caller publishes after
    the commit. After a crash in between the next sweep finds the part again.
    """
    if not session.scalar(select(func.pg_try_advisory_xact_lock(SWEEP_LOCK))):
        return [], 0
    for job_id in session.scalars(_complete_jobs(rules)).all():
        advance(session, job_id, takes_joins=False)
    candidates = session.execute(_stale_parts(rules)).all()
    empty = {task: queue_is_empty(task) for task in {part.task for part, _ in candidates}}
    now = session.execute(select(func.now())).scalar_one()
    patience = now - datetime.timedelta(seconds=PATIENCE_SECONDS)
    lost = [
        (part, priority)
        for part, priority in candidates
        if part.state == RUNNING or empty[part.task] or not patience < part.published_at <= now
    ]
    hopeless = [part for part, _ in lost if part.attempts >= rules.max_attempts]
    # Before any part is updated: an attempt that ends locks first its job, then its part.
    for part in hopeless:
        reason = f"gave up after {part.attempts} attempts that did not end"
        give_up(session, part.job_id, part.index, reason)
    calls = []
    for part, priority in lost:
        if part.attempts < rules.max_attempts:
            part.published_at = func.now()
            calls.append(TaskCall(part.task, (str(part.job_id), part.index), priority=priority))
    return calls, len(hopeless)


def _complete_jobs(rules: Upkeep) -> Select[uuid.UUID]:
    """Running jobs without an open part: the process that did the last part was killed right after it."""
    open_parts = select(Part.index).where(Part.job_id == Job.id, Part.state != DONE)
    old = Job.created_at < _ago(rules.accepted_seconds)
    return select(Job.id).where(Job.state == RUNNING, old, ~open_parts.exists())


def _stale_parts(rules: Upkeep) -> Select[Part, str]:
    other = aliased(Part)
    waits_for_others = (
        select(other.index).where(other.job_id == Part.job_id, ~other.joins, other.state != DONE).exists()
    )
    accepted = and_(Part.state == ACCEPTED, _is_old(Part.published_at, rules.accepted_seconds))
    running = and_(
        Part.state == RUNNING,
        _is_old(func.greatest(Part.started_at, Part.reported_at), rules.running_seconds),
        _is_old(Part.published_at, rules.running_seconds),
    )
    return (
        select(Part, case((Part.joins, HIGH), else_=Job.priority))
        .join(Job)
        .where(Job.state == RUNNING, or_(accepted, running), or_(~Part.joins, ~waits_for_others))
        .order_by(Part.published_at)
        .limit(SWEEP_LIMIT)
    )


def _is_old(time: Any, seconds: int) -> ColumnElement[bool]:
    """Whether a time is old; one in the future is from before the database's clock was set back."""
    return or_(time < _ago(seconds), time > _ago(-seconds))


def purge(session: Session, rules: Upkeep) -> int:
    """Delete jobs, attempts and log records older than `keep_days`; return the number of rows.

    Of log records the latest KEEP_LOG_RECORDS stay at most.
    """
    limit = _ago(rules.keep_days * 86400)
    surplus = select(LogRecord.id).order_by(LogRecord.id.desc()).offset(KEEP_LOG_RECORDS).limit(1)
    deletions = (
        delete(Job).where(Job.created_at < limit, Job.state != RUNNING),
        delete(Attempt).where(Attempt.job_id.is_(None), Attempt.started_at < limit),
        delete(Acknowledgement).where(Acknowledgement.stored_at < limit),
        delete(LogRecord).where(LogRecord.logged_at < limit),
        delete(LogRecord).where(LogRecord.id <= surplus.scalar_subquery()),
        delete(DrillAttempt).where(DrillAttempt.started_at < limit),
        delete(Heartbeat).where(Heartbeat.seen_at < _ago(FORGET_HEARTBEAT_SECONDS)),
    )
    results = [cast(CursorResult[Any], session.execute(deletion)) for deletion in deletions]
    return sum(result.rowcount for result in results)


def _ago(seconds: int) -> ColumnElement[datetime.datetime]:
    return func.now() - datetime.timedelta(seconds=seconds)

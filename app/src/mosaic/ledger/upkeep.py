"""What beat keeps in order: parts nobody works on, records past their time."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Select, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from mosaic.config import Upkeep
from mosaic.ledger.jobs import TaskCall
from mosaic.ledger.models import (
    ACCEPTED,
    DONE,
    RUNNING,
    Attempt,
    DrillAttempt,
    Heartbeat,
    Job,
    LogRecord,
    Part,
)
from mosaic.ledger.work import fail_part

SWEEP_LOCK = 0x6D6F73
SWEEP_LIMIT = 500
# A part may wait long behind others; past this it is published again even if its queue is not empty.
PATIENCE_SECONDS = 900
# A host that was taken out of the lab is shown as silent until then.
FORGET_HEARTBEAT_SECONDS = 1800


def sweep(
    session: Session, rules: Upkeep, queue_is_empty: Callable[[str], bool]
) -> tuple[list[TaskCall], int]:
    """Find parts that nobody works on; return the calls to publish again and how many parts gave up.

    A part accepted long ago is lost only when its queue is empty: else it waits its turn. One that reports
    may run for as long as it does so. `queue_is_empty` takes a task name. The caller publishes after the
    commit: a crash in between only delays.
    """
    if not session.scalar(select(func.pg_try_advisory_xact_lock(SWEEP_LOCK))):
        return [], 0
    candidates = session.scalars(_stale_parts(rules)).all()
    empty = {task: queue_is_empty(task) for task in {part.task for part in candidates}}
    now = session.execute(select(func.now())).scalar_one()
    patience = now - datetime.timedelta(seconds=PATIENCE_SECONDS)
    lost = [
        part
        for part in candidates
        if part.state == RUNNING or empty[part.task] or part.published_at < patience
    ]
    hopeless = [part for part in lost if part.attempts >= rules.max_attempts]
    # Before any part is updated: an attempt that ends locks its job first, then its part.
    for part in hopeless:
        _give_up(session, part)
    again = [part for part in lost if part.attempts < rules.max_attempts]
    for part in again:
        session.execute(
            update(Part)
            .where(Part.job_id == part.job_id, Part.index == part.index)
            .values(published_at=func.now())
        )
    return [TaskCall(part.task, (str(part.job_id), part.index)) for part in again], len(hopeless)


def _stale_parts(rules: Upkeep) -> Select[Part]:
    other = aliased(Part)
    waits_for_others = (
        select(other.index).where(other.job_id == Part.job_id, ~other.joins, other.state != DONE).exists()
    )
    accepted = and_(Part.state == ACCEPTED, Part.published_at < _ago(rules.accepted_seconds))
    running = and_(
        Part.state == RUNNING,
        func.greatest(Part.started_at, Part.reported_at) < _ago(rules.running_seconds),
        Part.published_at < _ago(rules.running_seconds),
    )
    return (
        select(Part)
        .join(Job)
        .where(Job.state == RUNNING, or_(accepted, running), or_(~Part.joins, ~waits_for_others))
        .order_by(Part.published_at)
        .limit(SWEEP_LIMIT)
    )


def _give_up(session: Session, part: Part) -> None:
    session.execute(select(Job.id).where(Job.id == part.job_id).with_for_update(key_share=True))
    fail_part(session, part.job_id, part.index, f"gave up after {part.attempts} attempts that never ended")


def purge(session: Session, rules: Upkeep) -> int:
    """Delete jobs, attempts and log records older than `keep_days`; return how many rows."""
    limit = _ago(rules.keep_days * 86400)
    deletions = (
        delete(Job).where(Job.created_at < limit, Job.state != RUNNING),
        delete(Attempt).where(Attempt.job_id.is_(None), Attempt.started_at < limit),
        delete(LogRecord).where(LogRecord.logged_at < limit),
        delete(DrillAttempt).where(DrillAttempt.started_at < limit),
        delete(Heartbeat).where(Heartbeat.seen_at < _ago(FORGET_HEARTBEAT_SECONDS)),
    )
    results = [cast(CursorResult[Any], session.execute(deletion)) for deletion in deletions]
    return sum(result.rowcount for result in results)


def _ago(seconds: int) -> ColumnElement[datetime.datetime]:
    return func.now() - datetime.timedelta(seconds=seconds)

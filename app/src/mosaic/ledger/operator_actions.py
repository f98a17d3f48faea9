"""What an operator can do with accepted work: cancel a job, and retry a failed part."""

from __future__ import annotations

import uuid

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from mosaic.ledger.database import clock
from mosaic.ledger.models import ACCEPTED, CANCELLED, FAILED, RUNNING, Job, Part


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

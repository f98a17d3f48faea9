"""What a person may do to accepted work: cancel a job, try a failed part again, give it up."""

from __future__ import annotations

import uuid

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from mosaic.ledger.models import ACCEPTED, CANCELLED, FAILED, RUNNING, Job, Part
from mosaic.ledger.work import fail_part


def cancel(session: Session, job_id: uuid.UUID) -> str | None:
    """Cancel a running job; return the state that it then has, None when there is no such job.

    Parts that are done stay. Messages of the others are discarded by whichever worker gets them: the ledger
    says so, and no worker has to be reached.
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
    job.finished_at = session.execute(select(func.clock_timestamp())).scalar_one()
    return CANCELLED


def revive(session: Session, job_id: uuid.UUID, index: int) -> None:
    """Let a part that failed be tried again, and its job run on; any other part is left as it is."""
    job = session.get(Job, job_id, with_for_update={"key_share": True})
    part = session.get(Part, (job_id, index), with_for_update=True)
    if job is None or part is None or part.state not in (FAILED, RUNNING):
        return
    part.state, part.error, part.attempts, part.ended_at = ACCEPTED, None, 0, None
    part.published_at = session.execute(select(func.clock_timestamp())).scalar_one()
    if job.state == FAILED:
        job.state, job.error, job.finished_at = RUNNING, None, None


def give_up(session: Session, job_id: uuid.UUID, index: int, reason: str) -> None:
    """Mark a part that is not done as failed, and its job with it."""
    if session.get(Job, job_id, with_for_update={"key_share": True}) is not None:
        fail_part(session, job_id, index, reason)

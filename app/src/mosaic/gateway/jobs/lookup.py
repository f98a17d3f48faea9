"""Jobs by the id in an address."""

from __future__ import annotations

import uuid

from mosaic.gateway.errors import ApiError
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobSummary, JobView
from mosaic.ledger.models import RUNNING


def job_id(job: str) -> uuid.UUID:
    """Return the id. Raises ApiError 404 if it is not valid."""
    try:
        return uuid.UUID(job)
    except ValueError:
        raise unknown(job) from None


def find(job: str) -> JobView:
    """Return the job with its parts. Raises ApiError 404."""
    with transaction() as session:
        view = jobs.find(session, job_id(job))
    if view is None:
        raise unknown(job)
    return view


def find_summary(job: str) -> JobSummary:
    """Return the job without its parts, which the database counts. Raises ApiError 404."""
    with transaction() as session:
        found = jobs.summaries(session, [job_id(job)])
    if not found:
        raise unknown(job)
    return found[0]


def unknown(job: str) -> ApiError:
    """Return the error for a job that does not exist."""
    return ApiError(404, f"there is no job {job[:64]}.")


def missing(view: JobView, what: str, comes: bool) -> ApiError:
    """Return the error for a picture or result that the job does not have, or not yet if it `comes`."""
    if view.state == RUNNING and comes:
        sentence = f"this job has no {what} yet: {view.done} of {view.total} parts are done."
    else:
        sentence = f"this job has no {what}: it is a {view.kind} job in state {view.state}."
    return ApiError(404, sentence)

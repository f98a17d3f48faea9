"""Jobs as they are named in addresses."""

from __future__ import annotations

import uuid

from mosaic.gateway.errors import ApiError
from mosaic.kinds import kind_of
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobView
from mosaic.ledger.models import RUNNING


def job_id(job: str) -> uuid.UUID:
    """Return the id. Raises ApiError 404 for what is none."""
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


def unknown(job: str) -> ApiError:
    """Return the answer to a question about a job that is not there."""
    return ApiError(404, f"there is no job {job[:64]}.")


def no_picture(view: JobView) -> str:
    """Return the sentence that says why a job has no picture."""
    return _missing(view, "picture", bool(kind_of(view.kind).picture))


def no_result(view: JobView) -> str:
    """Return the sentence that says why a job has no result."""
    return _missing(view, "result", kind_of(view.kind).has_result)


def _missing(view: JobView, what: str, comes: bool) -> str:
    if view.state == RUNNING and comes:
        return f"this job has no {what} yet: {view.done} of {view.total} parts are done."
    return f"this job has no {what}: it is a {view.kind} job in state {view.state}."

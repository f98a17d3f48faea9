"""POST /api/jobs/<kind>: storing a job and publishing its tasks.

The job is committed first, so no task runs before its part exists. If the broker does not confirm in time,
the job is deleted and the client gets an error. Tasks that were published find no part and end. If the
gateway dies in between, the job stays, and the sweep publishes it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from celery_durable import Unconfirmed
from mosaic.gateway.deps import need_database
from mosaic.gateway.errors import ApiError, Unavailable
from mosaic.kinds import KINDS
from mosaic.kinds.kind import Kind
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobPlan, TaskCall

logger = logging.getLogger(__name__)

PUBLISH_SECONDS = 3.5
# A larger body needs one of the places for uploads.
UPLOAD_BYTES = 2**20

Priority = Literal["normal", "high"]
Submit = Callable[[JobPlan, Priority], "Accepted"]
Publish = Callable[[Sequence[TaskCall], float], None]  # mosaic.publish.publish of one application
router = APIRouter(prefix="/api/jobs", dependencies=[Depends(need_database)])


class Accepted(BaseModel):
    """The answer to a submission."""

    job: uuid.UUID
    parts: int


def submit(publish: Publish, plan: JobPlan, priority: Priority, max_running: int) -> Accepted:
    """Store the job of `plan` and publish its tasks with `priority`.

    Raises ApiError 429 if `max_running` jobs are running, 503 if the broker does not confirm the tasks.
    """
    with transaction() as session:
        if jobs.running(session) >= max_running:
            sentence = f"{max_running} jobs are running already; wait until one has ended, or cancel one."
            raise ApiError(429, sentence, {"Retry-After": "5"})
        job_id, calls = jobs.enter(session, plan, priority)
    try:
        publish(calls, PUBLISH_SECONDS)
    except Unconfirmed as error:
        logger.warning("deleted job %s: %s", job_id, error)
        with transaction() as session:
            jobs.withdraw(session, job_id)
        sentence = "the broker does not confirm messages; the job was not accepted, try again in a moment."
        raise Unavailable(sentence) from error
    _confirm(job_id)
    return Accepted(job=job_id, parts=len(plan.parts))


def _confirm(job_id: uuid.UUID) -> None:
    """Store the time of the confirmation. The job is accepted also when the database has just gone."""
    try:
        with transaction() as session:
            jobs.confirm(session, job_id)
    except SQLAlchemyError as error:
        logger.warning("the confirmation of job %s was not stored: %s", job_id, error)


async def admitted(request: Request) -> AsyncIterator[Submit]:
    """Yield the function that submits, while holding a place. Raises ApiError 429 or 503."""
    state = request.app.state
    if state.watch.brokers_are_down:
        raise Unavailable("no broker is up; the job was not accepted, try again in a moment.")
    size = request.headers.get("content-length", "")
    is_small = size.isdigit() and int(size) <= UPLOAD_BYTES
    async with (state.submissions if is_small else state.uploads).place():
        yield partial(submit, state.publish, max_running=state.max_running_jobs)


def _add_route(kind: Kind) -> None:
    planned = Depends(kind.load("plan").plan)

    def submit_job(
        submit_plan: Annotated[Submit, Depends(admitted)],
        priority: Priority = "normal",
        plan: JobPlan = planned,
    ) -> Accepted:
        return submit_plan(plan, priority)

    router.add_api_route(
        f"/{kind.name}",
        submit_job,
        methods=["POST"],
        status_code=202,
        name=kind.name,
        description=kind.summary,
    )


for _kind in KINDS.values():
    _add_route(_kind)

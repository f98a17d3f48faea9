"""POST /api/jobs/<kind>: entering a job and publishing its tasks.

The job is committed first: a task never runs ahead of its part. If the broker does not confirm in time the
job is withdrawn and the client told so; tasks that did get out find no part and end. If the gateway dies in
between, the job stays, and the sweep publishes it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from celery_durable import Unconfirmed
from mosaic.gateway.deps import need_database
from mosaic.gateway.errors import ApiError
from mosaic.gateway.jobs.schemas import Accepted
from mosaic.kinds import KINDS
from mosaic.kinds.kind import Kind
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobPlan, TaskCall

logger = logging.getLogger(__name__)

PUBLISH_SECONDS = 3.5

Submit = Callable[[JobPlan], Accepted]
Publish = Callable[[Sequence[TaskCall], float], None]  # as mosaic.publish, of an application
router = APIRouter(prefix="/api/jobs", dependencies=[Depends(need_database)])


def submit(publish: Publish, plan: JobPlan, max_running: int) -> Accepted:
    """Enter `plan` and publish its tasks.

    Raises ApiError 429 when `max_running` jobs run already, 503 when the broker does not take the tasks.
    """
    with transaction() as session:
        if jobs.running(session) >= max_running:
            raise ApiError(
                429,
                f"{max_running} jobs are running already; wait until one has ended, or cancel one.",
                {"Retry-After": "5"},
            )
        job_id, calls = jobs.enter(session, plan)
    try:
        publish(calls, PUBLISH_SECONDS)
    except Unconfirmed as error:
        logger.warning("withdrew job %s: %s", job_id, error)
        with transaction() as session:
            jobs.withdraw(session, job_id)
        raise ApiError(
            503,
            "the broker does not confirm messages; the job was not entered, try again in a moment.",
            {"Retry-After": "5"},
        ) from error
    return Accepted(job=job_id, parts=len(plan.parts))


async def admitted(request: Request) -> AsyncIterator[Submit]:
    """Yield the way to submit, to be used while a place is held. Raises ApiError 429 or 503."""
    state = request.app.state
    if state.watch.brokers_are_down:
        raise ApiError(
            503, "no broker is up; the job was not entered, try again in a moment.", {"Retry-After": "5"}
        )
    async with state.submissions.place():
        yield partial(submit, state.publish, max_running=state.max_running_jobs)


def _add_route(kind: Kind) -> None:
    planned = Depends(kind.load("plan").plan)

    def submit_job(submit_plan: Annotated[Submit, Depends(admitted)], plan: JobPlan = planned) -> Accepted:
        return submit_plan(plan)

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

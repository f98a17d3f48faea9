"""/api/jobs: the latest jobs, one job with its parts, attempts and result, and its cancellation."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from mosaic.gateway.deps import LatestSeen, TheStreams, TheWatch, need_database
from mosaic.gateway.errors import ApiError
from mosaic.gateway.jobs.listing import LatestJobs
from mosaic.gateway.jobs.lookup import find, job_id, no_result, unknown
from mosaic.gateway.jobs.schemas import AttemptList, Cancelled, JobAnswer, JobList, JobSummary
from mosaic.gateway.jobs.stream import JobFollower, follow
from mosaic.ledger import jobs, operator_actions, progress
from mosaic.ledger.database import transaction
from mosaic.ledger.models import MAX_INDEX

router = APIRouter(prefix="/api/jobs", dependencies=[Depends(need_database)])
# Served while the database is away too. To be included first: `events` looks like the name of a job.
stream_router = APIRouter(prefix="/api/jobs")


@stream_router.get("/events", response_class=Response)
async def follow_jobs(request: Request, watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the latest jobs: an event `jobs` now and at each change."""
    job_list: LatestJobs = request.app.state.job_list
    return streams.answer(job_list.events(lambda: watch.database_is_away))


@router.get("")
def list_jobs(limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> JobList:
    """List the latest jobs, newest first."""
    with transaction() as session:
        return JobList(jobs=[JobSummary.of(view) for view in jobs.recent(session, limit)])


@router.get("/{job}")
def show_job(job: str) -> JobAnswer:
    """Show a job with its parts."""
    return JobAnswer.of(find(job))


@router.post("/{job}/cancel")
def cancel(job: str) -> Cancelled:
    """Cancel a running job: parts that are done stay, the others are not started any more."""
    with transaction() as session:
        state = operator_actions.cancel(session, job_id(job))
    if state is None:
        raise unknown(job)
    return Cancelled(job=job_id(job), state=state)


@router.get("/{job}/attempts")
def list_attempts(
    job: str,
    part: Annotated[int | None, Query(ge=0, le=MAX_INDEX)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> AttemptList:
    """List the attempts at a job's parts, or at one of them, the latest first."""
    with transaction() as session:
        rows = progress.attempts(session, job_id(job), part, limit)
    if not rows:
        find(job)
    return AttemptList(attempts=rows)


@router.get("/{job}/result")
def show_result(job: str) -> JSONResponse:
    """Return the result of a job, e.g. the words of a digest or the sizes of a scaling."""
    view = find(job)
    with transaction() as session:
        result = jobs.result(session, view.id)
    if result is None:
        raise ApiError(404, no_result(view))
    return JSONResponse(result)


@stream_router.get("/{job}/events", response_class=Response)
async def follow_job(
    job: str,
    watch: TheWatch,
    streams: TheStreams,
    seen: LatestSeen,
    tiles: bool = False,
) -> Response:
    """Follow a job: `parts` with those that changed, `job` with its counts; it ends when the job has ended.

    With `tiles`, the pictures of tiles come ahead of their parts: PNG in base64, by index. After a cut, an
    event's id as `Last-Event-ID` or `after` goes on from there; some parts may come twice.
    """
    follower = JobFollower(job_id(job), seen, tiles)
    if not watch.database_is_away:
        await run_in_threadpool(find, job)
    return streams.answer(follow(follower, lambda: watch.database_is_away))

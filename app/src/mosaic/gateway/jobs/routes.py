"""/api/jobs: the latest jobs; one job with its parts, attempts and result; cancelling a job."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from mosaic.gateway.deps import LatestSeen, TheStreams, TheWatch, need_database
from mosaic.gateway.errors import ApiError
from mosaic.gateway.jobs.lookup import find, job_id, missing, unknown
from mosaic.gateway.jobs.stream import JobFollower, follow
from mosaic.gateway.sse import Ages, changes
from mosaic.kinds import kind_of
from mosaic.ledger import jobs, progress, work
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobSummary, JobView
from mosaic.ledger.journey import Journey, journey
from mosaic.ledger.models import CANCELLED, DONE, HIGH, MAX_INDEX, RUNNING
from mosaic.ledger.progress import AttemptView

router = APIRouter(prefix="/api/jobs", dependencies=[Depends(need_database)])
# These work without the database too. They are included first, because `events` looks like a job's id.
stream_router = APIRouter(prefix="/api/jobs")

LIMIT = 60
PERIOD_SECONDS = 1.0
# A failed job runs again when its dead letter is sent back, perhaps by another gateway.
FINAL = (DONE, CANCELLED)


class LatestJobs:
    """The latest jobs, read at most once a second for all pages. Final jobs are read only once."""

    def __init__(self) -> None:
        """Start without jobs."""
        self._final: dict[uuid.UUID, JobSummary] = {}
        self._latest: list[JobSummary] = []
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def read(self) -> list[JobSummary]:
        """Return the latest jobs, newest first, at most a second old. Raises SQLAlchemyError."""
        async with self._reading:
            now = time.monotonic()
            if now - self._read_at >= PERIOD_SECONDS:
                self._latest = await run_in_threadpool(self._read)
                self._read_at = now
            return self._latest

    def ages(self) -> Ages:
        """Return the age of the latest reading."""
        return {"jobs": time.monotonic() - self._read_at} if self._read_at > 0 else {}

    def _read(self) -> list[JobSummary]:
        with transaction() as session:
            ids = jobs.latest_ids(session, LIMIT)
            fresh = jobs.summaries(session, [job for job in ids if job not in self._final])
        known = self._final | {summary.job: summary for summary in fresh}
        self._final = {job: known[job] for job in ids if job in known and known[job].state in FINAL}
        return [known[job] for job in ids if job in known]

    async def parts_ahead(self, job: JobSummary) -> int:
        """Return how many parts of other jobs the queue of `job` delivers before its first part.

        These are the open parts of the latest running jobs. Of normal jobs, a high job waits only for the
        parts that run already; they are not counted. Raises SQLAlchemyError.
        """
        return sum(other.total - other.done for other in await self.read() if _is_ahead(other, job))


def _is_ahead(other: JobSummary, job: JobSummary) -> bool:
    if other.state != RUNNING or other.job == job.job or kind_of(other.kind).queue != kind_of(job.kind).queue:
        return False
    if other.priority == job.priority:
        return other.created < job.created
    return other.priority == HIGH


class JobList(BaseModel):
    """The latest jobs, newest first."""

    jobs: list[JobSummary]


class AttemptList(BaseModel):
    """The latest attempts at a job's parts, newest first."""

    attempts: list[AttemptView]


class Cancelled(BaseModel):
    """The answer to a cancellation: the state of the job after it."""

    job: uuid.UUID
    state: str


@stream_router.get("/events", response_class=Response)
async def follow_jobs(request: Request, watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the latest jobs: an event `jobs` now and after each change."""
    latest: LatestJobs = request.app.state.latest_jobs

    async def read() -> list[JobSummary] | None:
        try:
            return None if watch.database_is_away else await latest.read()
        except SQLAlchemyError:
            return None

    return streams.answer(changes(read, "jobs", PERIOD_SECONDS, latest.ages))


@router.get("")
def list_jobs(limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> JobList:
    """List the latest jobs, newest first."""
    with transaction() as session:
        return JobList(jobs=jobs.recent(session, limit))


@router.get("/{job}")
def show_job(job: str) -> JobView:
    """Show a job with its parts."""
    return find(job)


@router.post("/{job}/cancel")
def cancel(job: str) -> Cancelled:
    """Cancel a running job: done parts stay, other parts do not start any more."""
    with transaction() as session:
        state = work.cancel(session, job_id(job))
    if state is None:
        raise unknown(job)
    return Cancelled(job=job_id(job), state=state)


@router.get("/{job}/attempts")
def list_attempts(
    job: str,
    part: Annotated[int | None, Query(ge=0, le=MAX_INDEX)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> AttemptList:
    """List the attempts at a job's parts, or at one part, latest first."""
    with transaction() as session:
        rows = progress.attempts(session, job_id(job), part, limit)
    if not rows:
        find(job)
    return AttemptList(attempts=rows)


@router.get("/{job}/parts/{part}/journey")
def show_journey(job: str, part: Annotated[int, Path(ge=0, le=MAX_INDEX)]) -> Journey:
    """Show the way of a part's latest message: each step with its time, its host, and whose clock it is."""
    with transaction() as session:
        found = journey(session, job_id(job), part)
    if found is None:
        raise ApiError(404, f"job {find(job).job} has no part {part}.")
    return found


@router.get("/{job}/result")
def show_result(job: str) -> JSONResponse:
    """Return the result of a job, e.g. the words of a digest or the sizes of a scaling."""
    view = find(job)
    with transaction() as session:
        result = jobs.result(session, view.job)
    if result is None:
        raise missing(view, "result", kind_of(view.kind).has_result)
    return JSONResponse(result)


@stream_router.get("/{job}/events", response_class=Response)
async def follow_job(
    request: Request,
    job: str,
    watch: TheWatch,
    streams: TheStreams,
    seen: LatestSeen,
    tiles: bool = False,
) -> Response:
    """Follow a job: events `parts` with changed parts, `job` with its counts. The stream ends with the job.

    Until its first part starts, the event `ahead` has the number of parts of other jobs that it waits for.

    With `tiles`, the pictures of tiles come before their parts: PNG in base64, by index. To resume an
    interrupted stream, send an event's id as `Last-Event-ID` or `after`. Some parts may come twice.
    """
    follower = JobFollower(job_id(job), seen, tiles, request.app.state.job_changes)
    first = [] if watch.database_is_away else await run_in_threadpool(follower.read)
    if first is None:
        raise unknown(job)
    latest: LatestJobs = request.app.state.latest_jobs
    return streams.answer(follow(follower, first, lambda: watch.database_is_away, latest.parts_ahead))

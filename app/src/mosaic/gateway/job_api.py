"""One job, beyond its state: its events, its attempts, its small picture, and the end of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from mosaic.gateway.errors import ApiError
from mosaic.gateway.job_ids import find, job_id, unknown
from mosaic.gateway.lab_api import TheStreams, TheWatch, need_database
from mosaic.gateway.live.job import JobFollower, follow
from mosaic.gateway.live.resume import LatestSeen
from mosaic.gateway.queries import IMMUTABLE
from mosaic.gateway.schemas import MAX_TILES, AttemptList, Cancelled
from mosaic.ledger import gallery, operator_actions, progress
from mosaic.ledger.database import engine, transaction

router = APIRouter(prefix="/api/jobs/{job}", dependencies=[Depends(need_database)])
streams_router = APIRouter(prefix="/api/jobs/{job}")


@router.post("/cancel")
def cancel(job: str) -> Cancelled:
    """Cancel a running job: parts that are done stay, the others are not started any more."""
    with transaction() as session:
        state = operator_actions.cancel(session, job_id(job))
    if state is None:
        raise unknown(job)
    return Cancelled(job=job_id(job), state=state)


@router.get("/attempts")
def list_attempts(
    job: str,
    part: Annotated[int | None, Query(ge=0, le=MAX_TILES)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> AttemptList:
    """List the attempts at a job's parts, or at one of them, the latest first."""
    with transaction() as session:
        rows = progress.attempts(session, job_id(job), part, limit)
    if not rows:
        find(job)
    return AttemptList(attempts=rows)


@router.get("/thumbnail", response_class=Response)
def show_thumbnail(job: str) -> Response:
    """Return the small picture of a finished job."""
    data = gallery.thumbnail(engine(), job_id(job))
    if data is None:
        find(job)
        raise ApiError(404, "this job has no picture.")
    return Response(data, media_type="image/png", headers=IMMUTABLE)


@streams_router.get("/events", response_class=Response)
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

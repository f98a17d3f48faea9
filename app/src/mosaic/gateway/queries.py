"""GET /api/...: progress, pictures, results, logs, beat."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse, Response

from mosaic.gateway.desk import take_assembly_place
from mosaic.gateway.errors import ApiError
from mosaic.gateway.job_ids import find, job_id
from mosaic.gateway.lab_api import TheStreams, TheWatch, need_database
from mosaic.gateway.schemas import MAX_TILES, BeatAnswer, JobAnswer, JobList, JobSummary, LogAnswer, LogList
from mosaic.gateway.watch.jobs import LatestJobs
from mosaic.kinds.render.assemble import assemble, host_tints
from mosaic.kinds.render.view import View
from mosaic.ledger import jobs, log_records, upkeep
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobView
from mosaic.ledger.models import DONE, RUNNING
from mosaic.logging_setup import SEVERITIES

router = APIRouter(prefix="/api", dependencies=[Depends(need_database)])
streams_router = APIRouter(prefix="/api")

Limit = Annotated[int, Query(ge=1, le=1000)]
Severity = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
IMMUTABLE = {"Cache-Control": "private, max-age=86400, immutable"}
CHANGING = {"Cache-Control": "no-store"}


@router.get("/jobs")
def list_jobs(limit: Limit = 20) -> JobList:
    """List the latest jobs, newest first."""
    with transaction() as session:
        return JobList(jobs=[JobSummary.of(view) for view in jobs.recent(session, limit)])


@streams_router.get("/jobs/events", response_class=Response)
async def follow_jobs(request: Request, watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the latest jobs: an event `jobs` now and at each change."""
    job_list: LatestJobs = request.app.state.job_list
    return streams.answer(job_list.events(lambda: watch.database_is_away))


@router.get("/jobs/{job}")
def show_job(job: str) -> JobAnswer:
    """Show a job with its parts."""
    return JobAnswer.of(find(job))


@router.get("/jobs/{job}/tiles/{index}.png", response_class=Response)
def show_tile(job: str, index: Annotated[int, PathParameter(ge=0, le=MAX_TILES)]) -> Response:
    """Return one tile, or one size of a scaling; it never changes once it is there."""
    with transaction() as session:
        data = jobs.part_picture(session, job_id(job), index)
    if data is None:
        find(job)
        raise ApiError(404, f"part {index} of this job has no picture yet.")
    return Response(data, media_type="image/png", headers=IMMUTABLE)


@router.get("/jobs/{job}/image", response_class=Response, dependencies=[Depends(take_assembly_place)])
def show_image(job: str, watch: TheWatch, tint: Literal["none", "host"] = "none") -> Response:
    """Return the picture: the tiles so far, tinted by host if asked; the contact sheet of a scaling."""
    view = find(job)
    with transaction() as session:
        if view.kind == "render":
            tiles = jobs.blobs(session, view.id, "tile")
        else:
            tiles = jobs.blobs(session, view.id, "sheet")
    if view.kind == "render":
        tints = host_tints([*watch.hosts, *view.by_host]) if tint == "host" else None
        data = assemble(View.from_params(view.params), tiles, tints)
        # Colours of hosts change when hosts come and go.
        is_final = view.state == DONE and tints is None
        return Response(data, media_type="image/png", headers=IMMUTABLE if is_final else CHANGING)
    if not tiles:
        raise ApiError(404, _no_result(view, "picture"))
    return Response(tiles[0][1], media_type="image/png", headers=IMMUTABLE)


@router.get("/jobs/{job}/result")
def show_result(job: str) -> JSONResponse:
    """Return the result of a digest, or the sizes of a scaling."""
    view = find(job)
    result: dict[str, Any] | None = None
    if view.kind != "render":
        with transaction() as session:
            result = jobs.result(session, view.id)
    if result is None:
        raise ApiError(404, _no_result(view, "result"))
    return JSONResponse(result)


def _no_result(view: JobView, what: str) -> str:
    if view.state == RUNNING and view.kind != "render":
        return f"this job has no {what} yet: {view.done} of {view.total} parts are done."
    return f"this job has no {what}: it is a {view.kind} job in state {view.state}."


@router.get("/logs")
def list_logs(
    limit: Limit = 100,
    host: Annotated[str | None, Query(max_length=64)] = None,
    severity: Severity | None = None,
) -> LogList:
    """List the latest log records, newest first: of one host, and as severe as `severity` or more."""
    with transaction() as session:
        rows = log_records.latest(
            session, limit, host, None if severity is None else SEVERITIES.index(severity)
        )
    records = [
        LogAnswer(
            at=row.logged_at,
            host=row.host,
            severity=SEVERITIES[row.severity],
            unit=row.unit,
            message=row.message,
        )
        for row in rows
    ]
    return LogList(records=records)


@router.get("/beat")
def show_beat() -> BeatAnswer:
    """Show the latest beat tick."""
    with transaction() as session:
        tick = upkeep.last_tick(session)
    if tick is None:
        raise ApiError(404, "beat has not ticked yet.")
    return BeatAnswer(
        last_tick=tick.at, age_seconds=tick.age_seconds, host=tick.host, beat_host=tick.beat_host
    )

"""Pictures of jobs: of a part, of the whole job, and thumbnails."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from mosaic.gateway.deps import TheWatch, need_database
from mosaic.gateway.errors import ApiError
from mosaic.gateway.jobs.lookup import find, job_id, missing
from mosaic.gateway.tints import host_tints
from mosaic.kinds import kind_of
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import PlannedBlob
from mosaic.ledger.models import DONE, MAX_INDEX, Job

router = APIRouter(prefix="/api/jobs/{job}", dependencies=[Depends(need_database)])

IMMUTABLE = {"Cache-Control": "private, max-age=86400, immutable"}
CHANGING = {"Cache-Control": "no-store"}
THUMBNAIL = "thumbnail"
THUMBNAIL_EDGE = 320


async def take_assembly_place(request: Request) -> AsyncIterator[None]:
    """Hold a place for assembling a picture. Raises ApiError 429."""
    async with request.app.state.assemblies.place():
        yield


@router.get("/tiles/{index}.png", response_class=Response)
def show_tile(job: str, index: Annotated[int, PathParameter(ge=0, le=MAX_INDEX)]) -> Response:
    """Return one tile, or one size of a scaling. It never changes."""
    key = job_id(job)
    with transaction() as session:
        found = jobs.part_picture(session, key, index)
    if found is None:
        find(job)
        raise ApiError(404, f"part {index} of this job has no picture yet.")
    role, size, first = found
    if len(first) == size:
        return Response(first, media_type="image/png", headers=IMMUTABLE)
    headers = {**IMMUTABLE, "Content-Length": str(size)}
    return StreamingResponse(_pieces(key, role, index, first), media_type="image/png", headers=headers)


def _pieces(job: uuid.UUID, role: str, index: int, piece: bytes) -> Iterator[bytes]:
    start = 0
    while piece:
        yield piece
        start += len(piece)
        # A transaction for each piece, because the client may be slow.
        with transaction() as session:
            piece = jobs.piece(session, job, role, index, start)


@router.get("/image", response_class=Response, dependencies=[Depends(take_assembly_place)])
def show_image(job: str, watch: TheWatch, tint: Literal["none", "host"] = "none") -> Response:
    """Return the picture: the tiles so far, tinted by host on request; or the contact sheet of a scaling."""
    view = find(job)
    kind = kind_of(view.kind)
    data = None
    tints = host_tints([*watch.hosts, *view.by_host]) if tint == "host" else None
    if kind.picture:
        with transaction() as session:
            blobs = jobs.blobs(session, view.job, kind.picture_role)
        data = kind.load(kind.picture).picture(view.params, blobs, tints)
    if data is None:
        raise missing(view, "picture", bool(kind.picture))
    # The colours of hosts change when hosts are added or removed.
    is_final = view.state == DONE and tints is None
    return Response(data, media_type="image/png", headers=IMMUTABLE if is_final else CHANGING)


@router.get("/thumbnail", response_class=Response)
async def show_thumbnail(request: Request, job: str) -> Response:
    """Return the thumbnail of a done job. The first request creates it, and it is stored with the job."""
    data = await run_in_threadpool(_stored_thumbnail, job_id(job))
    if data is None:
        async with request.app.state.assemblies.place():
            data = await run_in_threadpool(_make_thumbnail, job_id(job))
    if data is None:
        await run_in_threadpool(find, job)
        raise ApiError(404, "this job has no picture.")
    return Response(data, media_type="image/png", headers=IMMUTABLE)


def _stored_thumbnail(job: uuid.UUID) -> bytes | None:
    with transaction() as session:
        blob = jobs.blob(session, job, THUMBNAIL)
    return blob.data if blob else None


def _make_thumbnail(job_id: uuid.UUID) -> bytes | None:
    """Create and store the thumbnail (PNG within THUMBNAIL_EDGE pixels); None: the job has no picture."""
    with transaction() as session:
        blob = jobs.blob(session, job_id, THUMBNAIL)
        if blob is not None:  # another request was faster
            return blob.data
        job = session.get(Job, job_id)
        if job is None or job.state != DONE or not kind_of(job.kind).picture:
            return None
        kind, params = kind_of(job.kind), job.params
        blobs = jobs.blobs(session, job_id, kind.picture_role)
    # Outside of a transaction, as this takes a while.
    small: bytes | None = kind.load(kind.picture).thumbnail(params, blobs, THUMBNAIL_EDGE)
    if small is not None:
        with transaction() as session:
            jobs.add_blob(session, job_id, PlannedBlob(THUMBNAIL, 0, "image/png", small))
    return small

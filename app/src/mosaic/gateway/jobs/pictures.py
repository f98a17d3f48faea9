"""Pictures of jobs: of a part, of the whole job, and a small one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from mosaic.gateway.deps import TheWatch, need_database
from mosaic.gateway.errors import ApiError
from mosaic.gateway.jobs import thumbnails
from mosaic.gateway.jobs.lookup import find, job_id, no_picture
from mosaic.gateway.tints import host_tints
from mosaic.kinds import kind_of
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.models import DONE, MAX_INDEX

router = APIRouter(prefix="/api/jobs/{job}", dependencies=[Depends(need_database)])

IMMUTABLE = {"Cache-Control": "private, max-age=86400, immutable"}
CHANGING = {"Cache-Control": "no-store"}


async def take_assembly_place(request: Request) -> AsyncIterator[None]:
    """Hold a place among those for whom a picture is put together. Raises ApiError 429."""
    async with request.app.state.assemblies.place():
        yield


@router.get("/tiles/{index}.png", response_class=Response)
def show_tile(job: str, index: Annotated[int, PathParameter(ge=0, le=MAX_INDEX)]) -> Response:
    """Return one tile, or one size of a scaling; it never changes once it is there."""
    with transaction() as session:
        data = jobs.part_picture(session, job_id(job), index)
    if data is None:
        find(job)
        raise ApiError(404, f"part {index} of this job has no picture yet.")
    return Response(data, media_type="image/png", headers=IMMUTABLE)


@router.get("/image", response_class=Response, dependencies=[Depends(take_assembly_place)])
def show_image(job: str, watch: TheWatch, tint: Literal["none", "host"] = "none") -> Response:
    """Return the picture: the tiles so far, tinted by host if asked; the contact sheet of a scaling."""
    view = find(job)
    kind = kind_of(view.kind)
    data = None
    tints = host_tints([*watch.hosts, *view.by_host]) if tint == "host" else None
    if kind.picture:
        with transaction() as session:
            blobs = jobs.blobs(session, view.id, kind.picture_role)
        data = kind.load(kind.picture).picture(view.params, blobs, tints)
    if data is None:
        raise ApiError(404, no_picture(view))
    # Colours of hosts change when hosts come and go.
    is_final = view.state == DONE and tints is None
    return Response(data, media_type="image/png", headers=IMMUTABLE if is_final else CHANGING)


@router.get("/thumbnail", response_class=Response)
async def show_thumbnail(request: Request, job: str) -> Response:
    """Return the small picture of a finished job."""
    data = await run_in_threadpool(thumbnails.kept, job_id(job))
    if data is None:
        async with request.app.state.assemblies.place():
            data = await run_in_threadpool(thumbnails.make, job_id(job))
    if data is None:
        await run_in_threadpool(find, job)
        raise ApiError(404, "this job has no picture.")
    return Response(data, media_type="image/png", headers=IMMUTABLE)

"""Pictures of jobs: of a part, of the whole job, and a small one."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from fastapi import Path as PathParameter
from fastapi.responses import Response

from mosaic.gateway.deps import TheWatch, need_database
from mosaic.gateway.errors import ApiError
from mosaic.gateway.jobs.admission import take_assembly_place
from mosaic.gateway.jobs.lookup import find, job_id, no_result
from mosaic.gateway.schemas import MAX_TILES
from mosaic.kinds.render.assemble import assemble, host_tints
from mosaic.kinds.render.view import View
from mosaic.ledger import gallery, jobs
from mosaic.ledger.database import engine, transaction
from mosaic.ledger.models import DONE

router = APIRouter(prefix="/api/jobs/{job}", dependencies=[Depends(need_database)])

IMMUTABLE = {"Cache-Control": "private, max-age=86400, immutable"}
CHANGING = {"Cache-Control": "no-store"}


@router.get("/tiles/{index}.png", response_class=Response)
def show_tile(job: str, index: Annotated[int, PathParameter(ge=0, le=MAX_TILES)]) -> Response:
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
        raise ApiError(404, no_result(view, "picture"))
    return Response(tiles[0][1], media_type="image/png", headers=IMMUTABLE)


@router.get("/thumbnail", response_class=Response)
def show_thumbnail(job: str) -> Response:
    """Return the small picture of a finished job."""
    data = gallery.thumbnail(engine(), job_id(job))
    if data is None:
        find(job)
        raise ApiError(404, "this job has no picture.")
    return Response(data, media_type="image/png", headers=IMMUTABLE)

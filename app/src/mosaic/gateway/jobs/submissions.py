"""POST /api/jobs/...: submissions of the three kinds of work."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, File, Form, Request, UploadFile

from mosaic.gateway.deps import need_database
from mosaic.gateway.errors import ApiError
from mosaic.gateway.jobs.admission import TheSubmit
from mosaic.gateway.jobs.schemas import Accepted
from mosaic.gateway.schemas import RenderRequest, parse_sizes
from mosaic.kinds.digest.plan import plan_digest
from mosaic.kinds.render.plan import plan_render
from mosaic.kinds.scale import pictures
from mosaic.kinds.scale.plan import plan_scale

router = APIRouter(prefix="/api/jobs", dependencies=[Depends(need_database)])


@router.post("/render", status_code=202)
def render(view: Annotated[RenderRequest, Body()], submit_plan: TheSubmit) -> Accepted:
    """Render a view of the Mandelbrot set, one part a tile."""
    return submit_plan(plan_render(view.view()))


@router.post("/scale", status_code=202)
def scale(
    file: Annotated[UploadFile, File()], submit_plan: TheSubmit, sizes: Annotated[str, Form()] = ""
) -> Accepted:
    """Scale an uploaded picture to `sizes`, comma-separated edge lengths in pixels."""
    data = file.file.read()
    try:
        edges = parse_sizes(sizes)
        _, _, kind = pictures.check_picture(data)
    except ValueError as error:
        raise ApiError(422, str(error)) from None
    return submit_plan(plan_scale(data, f"image/{kind.lower()}", edges))


async def text_body(request: Request) -> str:
    """Return the body as text. Raises ApiError when it is not UTF-8, not text/plain, or empty."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/plain":
        raise ApiError(415, "send the text as text/plain in UTF-8.")
    try:
        text = (await request.body()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ApiError(422, f"the text is not UTF-8 (byte {error.start}).") from None
    if not text.strip():
        raise ApiError(422, "the text is empty.")
    return text


@router.post("/digest", status_code=202)
def digest(text: Annotated[str, Depends(text_body)], submit_plan: TheSubmit) -> Accepted:
    """Count the words of a text."""
    return submit_plan(plan_digest(text))

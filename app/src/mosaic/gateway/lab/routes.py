"""GET /api/lab...: the state of the lab, once or as it changes."""

from __future__ import annotations

from fastapi import APIRouter, Response

from mosaic.gateway.deps import TheStreams, TheWatch
from mosaic.gateway.errors import ApiError
from mosaic.gateway.lab.schemas import LabState

router = APIRouter(prefix="/api/lab")


@router.get("")
async def show_lab(watch: TheWatch) -> LabState:
    """Show the lab as it was seen last."""
    if watch.feed.latest is None:
        raise ApiError(503, "the gateway has just started; ask again in a second.", {"Retry-After": "1"})
    return watch.feed.latest


@router.get("/events", response_class=Response)
async def follow_lab(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the lab: an event `lab` now and at each change; after a cut it goes on with the latest."""
    return streams.answer(watch.feed.events("lab"))

"""GET /api/lab...: the state of the lab, once or as it changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from mosaic.gateway.errors import NO_DATABASE, ApiError
from mosaic.gateway.live.sse import Event, Streams
from mosaic.gateway.watch.lab import LabWatch
from mosaic.gateway.watch.snapshot import LabState

router = APIRouter(prefix="/api/lab")


async def get_watch(request: Request) -> LabWatch:
    """Return the gateway's watcher."""
    watch: LabWatch = request.app.state.watch
    return watch


async def get_streams(request: Request) -> Streams:
    """Return the gateway's open streams."""
    streams: Streams = request.app.state.streams
    return streams


async def need_database(request: Request) -> None:
    """Refuse at once while the database is away: whoever waits for it holds a thread. Raises ApiError 503."""
    if request.app.state.watch.database_is_away:
        raise ApiError(503, NO_DATABASE, {"Retry-After": "5"})


TheWatch = Annotated[LabWatch, Depends(get_watch)]
TheStreams = Annotated[Streams, Depends(get_streams)]


@router.get("")
async def show_lab(watch: TheWatch) -> LabState:
    """Show the lab as it was seen last."""
    if watch.feed.latest is None:
        raise ApiError(503, "the gateway has just started; ask again in a second.", {"Retry-After": "1"})
    return watch.feed.latest


@router.get("/events", response_class=Response)
async def follow_lab(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the lab: an event `lab` now and at each change; after a cut it goes on with the latest."""

    async def events() -> AsyncGenerator[Event, None]:
        async for state in watch.feed.values():
            yield Event(state.model_dump(mode="json"), "lab")

    return streams.answer(events())

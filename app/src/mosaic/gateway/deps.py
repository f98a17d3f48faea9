"""What routes of several features depend on."""

from __future__ import annotations

import datetime
from typing import Annotated

from fastapi import Depends, Header, Query, Request

from mosaic.config import Config
from mosaic.gateway.errors import NO_DATABASE, ApiError
from mosaic.gateway.lab.watch import LabWatch
from mosaic.gateway.sse import Streams

EARLIEST_YEAR = 2000


async def get_config(request: Request) -> Config:
    """Return the configuration of this host."""
    config: Config = request.app.state.config
    return config


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


def parse_time(text: str | None) -> datetime.datetime | None:
    """Return a time with its zone, or None for anything else: an unknown id starts from the beginning."""
    try:
        found = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    # What lies before this lab could overflow when an overlap is taken off.
    return found if found.tzinfo is not None and found.year >= EARLIEST_YEAR else None


async def latest_seen(
    after: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)] = None,
) -> datetime.datetime | None:
    """Return the time of the latest event that this reader has seen: by a browser's header, or by `after`.

    An event's id is its time: a stream that was cut continues from there.
    """
    return parse_time(last_event_id or after)


TheConfig = Annotated[Config, Depends(get_config)]
TheWatch = Annotated[LabWatch, Depends(get_watch)]
TheStreams = Annotated[Streams, Depends(get_streams)]
LatestSeen = Annotated[datetime.datetime | None, Depends(latest_seen)]

"""Dependencies of several routes."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request

from mosaic.config import Config
from mosaic.gateway.errors import NO_DATABASE, Unavailable
from mosaic.gateway.lab.watch import LabWatch
from mosaic.gateway.sse import Streams

EARLIEST_YEAR = 2000


def _state(name: str) -> Any:
    async def get(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(get)


TheConfig = Annotated[Config, _state("config")]
TheWatch = Annotated[LabWatch, _state("watch")]
TheStreams = Annotated[Streams, _state("streams")]


async def need_database(watch: TheWatch) -> None:
    """Raise ApiError 503 at once while the database is unavailable: a request that waits holds a thread."""
    if watch.database_is_away:
        raise Unavailable(NO_DATABASE)


def parse_time(text: str | None) -> datetime.datetime | None:
    """Return a time with its zone, or None for any other text: an unknown id starts from the beginning."""
    try:
        found = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    # Subtracting an overlap from a very early time could overflow.
    return found if found.tzinfo is not None and found.year >= EARLIEST_YEAR else None


async def latest_seen(
    after: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)] = None,
) -> datetime.datetime | None:
    """Return the time of the client's latest event, from the browser's header or from `after`.

    The id of an event is its time, so an interrupted stream can resume there.
    """
    return parse_time(last_event_id or after)


LatestSeen = Annotated[datetime.datetime | None, Depends(latest_seen)]

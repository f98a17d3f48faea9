"""GET /api/logs/events: log records as they are published."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mosaic.config import Config
from mosaic.gateway.errors import ApiError
from mosaic.gateway.lab_api import TheStreams
from mosaic.gateway.live.logs import follow
from mosaic.gateway.live.resume import LatestSeen
from mosaic.logs.pattern import check_pattern
from mosaic.logs.tail import LogTail

router = APIRouter(prefix="/api/logs")

MAX_PATTERNS = 16


@router.get("/events", response_class=Response)
async def follow_logs(
    request: Request,
    streams: TheStreams,
    seen: LatestSeen,
    pattern: Annotated[list[str] | None, Query(max_length=MAX_PATTERNS)] = None,
) -> Response:
    """Follow log records whose `host.severity` a `pattern` matches; `#`, all, without one.

    An event `tail` says how the queue is bound, then `logs` bring records: the latest stored ones, then new
    ones.
    """
    try:
        patterns = [check_pattern(text) for text in pattern or ["#"]]
    except ValueError as error:
        raise ApiError(422, str(error)) from None
    config: Config = request.app.state.config
    open_tail = partial(LogTail, config.broker, config.host)
    return streams.answer(follow(open_tail, patterns, seen))

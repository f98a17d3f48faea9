"""GET /api/logs...: log records, stored ones, and new ones as they are published."""

from __future__ import annotations

import datetime
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel

from mosaic.gateway.deps import LatestSeen, TheConfig, TheStreams, need_database
from mosaic.gateway.errors import ApiError
from mosaic.gateway.logs.stream import follow
from mosaic.ledger import log_records
from mosaic.ledger.database import transaction
from mosaic.logging_setup import SEVERITIES
from mosaic.logs.pattern import check_pattern
from mosaic.logs.tail import LogTail

router = APIRouter(prefix="/api/logs")

Severity = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]

MAX_PATTERNS = 16


class LogAnswer(BaseModel):
    """One log record; `severity` is its syslog name."""

    at: datetime.datetime
    host: str
    severity: str
    unit: str
    message: str


class LogList(BaseModel):
    """The latest log records, newest first."""

    records: list[LogAnswer]


@router.get("", dependencies=[Depends(need_database)])
def list_logs(
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
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


@router.get("/events", response_class=Response)
async def follow_logs(
    config: TheConfig,
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
    open_tail = partial(LogTail, config.broker, config.host)
    return streams.answer(follow(open_tail, patterns, seen))

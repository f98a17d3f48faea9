"""/api/logs: stored log records, and new ones as they are published."""

from __future__ import annotations

import asyncio
import datetime
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from mosaic.gateway.deps import LatestSeen, TheConfig, TheStreams, need_database
from mosaic.gateway.errors import ApiError
from mosaic.gateway.sse import Event
from mosaic.ledger import log_records
from mosaic.ledger.database import transaction
from mosaic.ledger.log_records import Entry
from mosaic.logging_setup import SEVERITIES
from mosaic.logs.pattern import check_pattern, matches
from mosaic.logs.tail import LogTail

router = APIRouter(prefix="/api/logs")

MAX_PATTERNS = 16
BACKLOG = 200
BUFFER = 2000
# Records reach the database some seconds after they were written, and not in order.
OVERLAP = datetime.timedelta(seconds=10)
BATCH_SECONDS = 0.1
READY_SECONDS = 2.0
WAIT_SECONDS = 1.0

Severity = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
OpenTail = Callable[[Sequence[str], Callable[[Entry], None]], LogTail]


class LogAnswer(BaseModel):
    """One log record; `severity` is its syslog name."""

    id: str
    at: datetime.datetime
    host: str
    severity: str
    unit: str
    message: str

    @classmethod
    def of(cls, entry: Entry) -> LogAnswer:
        """Return the answer for a stored or published record."""
        severity = SEVERITIES[entry.severity]
        return cls(id=entry.message_id, at=entry.logged_at, **{**vars(entry), "severity": severity})


class LogList(BaseModel):
    """The latest log records, newest first."""

    records: list[LogAnswer]


@router.get("", dependencies=[Depends(need_database)])
def list_logs(
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    host: Annotated[str | None, Query(max_length=64)] = None,
    severity: Severity | None = None,
) -> LogList:
    """List the latest log records, newest first: of one host, at least as severe as `severity`."""
    least = None if severity is None else SEVERITIES.index(severity)
    with transaction() as session:
        entries = log_records.latest(session, limit, host, least)
    return LogList(records=[LogAnswer.of(entry) for entry in entries])


@router.get("/events", response_class=Response)
async def follow_logs(
    config: TheConfig,
    streams: TheStreams,
    seen: LatestSeen,
    pattern: Annotated[list[str] | None, Query(max_length=MAX_PATTERNS)] = None,
) -> Response:
    """Follow log records whose routing key `host.severity` matches a `pattern`; without one, all records.

    An event `tail` shows the bindings. Events `logs` contain records: the latest stored ones, then new ones.
    """
    try:
        patterns = [check_pattern(text) for text in pattern or ["#"]]
    except ValueError as error:
        raise ApiError(422, str(error)) from None
    open_tail = partial(LogTail, config.broker, config.host)
    return streams.answer(follow(open_tail, patterns, seen))


class Inbox:
    """Passes records from the tail's thread to the event loop. It drops the oldest if too many wait."""

    def __init__(self) -> None:
        """Create the inbox in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._records: deque[Entry] = deque(maxlen=BUFFER)
        self._arrived = asyncio.Event()

    def put(self, entry: Entry) -> None:
        """Add a record, from any thread."""
        self._records.append(entry)
        self._loop.call_soon_threadsafe(self._arrived.set)

    async def take(self) -> list[Entry]:
        """Wait for a record, then a short time for more; return all, or none after WAIT_SECONDS."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._arrived.wait()
        except TimeoutError:
            return []
        await asyncio.sleep(BATCH_SECONDS)
        self._arrived.clear()
        return [self._records.popleft() for _ in range(len(self._records))]


async def follow(
    open_tail: OpenTail, patterns: Sequence[str], after: datetime.datetime | None
) -> AsyncGenerator[Event, None]:
    """Yield events `logs`: lists of records, oldest first. The tail ends with the generator.

    The tail opens before the stored records are read, so no record is missed. A record that arrives both ways
    has the same id. After an interruption, `after` is the time of the latest record that the client has.
    """
    inbox = Inbox()
    tail = open_tail(patterns, inbox.put)
    tail.start()
    try:
        live = await run_in_threadpool(tail.ready.wait, READY_SECONDS)
        yield Event({"patterns": list(patterns), "live": live}, "tail")
        try:
            pending = await run_in_threadpool(_stored, patterns, after)
        except SQLAlchemyError:
            pending = []
        latest = after
        while True:
            if pending:
                latest = max([entry.logged_at for entry in pending] + ([latest] if latest else []))
                yield Event([LogAnswer.of(entry) for entry in pending], "logs", latest.isoformat())
            pending = await inbox.take()
            if tail.ready.is_set() != live:
                live = not live
                yield Event({"patterns": list(patterns), "live": live}, "tail")
    finally:
        tail.stop()


def _stored(patterns: Sequence[str], after: datetime.datetime | None) -> list[Entry]:
    with transaction() as session:
        entries = log_records.latest(session, BUFFER, after=after - OVERLAP if after else None)
    # As the exchange routes them to a queue with these bindings.
    wanted = [
        entry
        for entry in reversed(entries)
        if any(matches(pattern, f"{entry.host}.{SEVERITIES[entry.severity]}") for pattern in patterns)
    ]
    return wanted[-BUFFER if after else -BACKLOG :]

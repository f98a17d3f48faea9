"""A live tail of log records for one stream: what is stored, then what is published, nothing between lost."""

from __future__ import annotations

import asyncio
import datetime
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from mosaic.gateway.sse import Event
from mosaic.ledger import log_records
from mosaic.ledger.database import transaction
from mosaic.ledger.log_records import Entry
from mosaic.logging_setup import SEVERITIES
from mosaic.logs.pattern import matches
from mosaic.logs.tail import LogTail

BACKLOG = 200
BUFFER = 2000
# Records reach the database some seconds after they are written, and not in their order.
OVERLAP = datetime.timedelta(seconds=10)
BATCH_SECONDS = 0.1
READY_SECONDS = 2.0
WAIT_SECONDS = 1.0

OpenTail = Callable[[Sequence[str], Callable[[Entry], None]], LogTail]


class Inbox:
    """Records on their way from a tail's thread to the loop; the oldest go when nobody takes them."""

    def __init__(self) -> None:
        """Belongs to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._records: deque[Entry] = deque(maxlen=BUFFER)
        self._arrived = asyncio.Event()

    def put(self, entry: Entry) -> None:
        """Take a record, from any thread."""
        self._records.append(entry)
        self._loop.call_soon_threadsafe(self._arrived.set)

    async def take(self) -> list[Entry]:
        """Wait a while for records, then for those that come right behind them; return all."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._arrived.wait()
        except TimeoutError:
            return []
        await asyncio.sleep(BATCH_SECONDS)
        self._arrived.clear()
        taken = []
        while self._records:
            taken.append(self._records.popleft())
        return taken


async def follow(
    open_tail: OpenTail, patterns: Sequence[str], after: datetime.datetime | None
) -> AsyncGenerator[Event, None]:
    """Yield events `logs`, lists of records, oldest first. The tail ends with the generator.

    The tail is opened before the stored records are read, so that nothing falls between; a record that comes
    both ways has the same id. After a cut, `after` is the time of the latest record that was seen.
    """
    inbox = Inbox()
    tail = open_tail(patterns, inbox.put)
    tail.start()
    try:
        live = await run_in_threadpool(tail.ready.wait, READY_SECONDS)
        yield Event({"patterns": list(patterns), "live": live}, "tail")
        try:
            stored = await run_in_threadpool(_stored, patterns, after)
        except SQLAlchemyError:
            stored = []
        latest = after
        pending = stored
        while True:
            if pending:
                latest = max([entry.logged_at for entry in pending] + ([latest] if latest else []))
                yield Event([_answer(entry) for entry in pending], "logs", latest.isoformat())
            pending = await inbox.take()
            if tail.ready.is_set() != live:
                live = not live
                yield Event({"patterns": list(patterns), "live": live}, "tail")
    finally:
        tail.stop()


def _stored(patterns: Sequence[str], after: datetime.datetime | None) -> list[Entry]:
    with transaction() as session:
        rows = log_records.since(session, after - OVERLAP if after else None, BUFFER)
    wanted = [row for row in rows if is_wanted(row, patterns)]
    return wanted[-BUFFER if after else -BACKLOG :]


def is_wanted(entry: Entry, patterns: Sequence[str]) -> bool:
    """Return whether the exchange would route the record to a queue bound with any of the patterns."""
    return any(matches(pattern, f"{entry.host}.{SEVERITIES[entry.severity]}") for pattern in patterns)


def _answer(entry: Entry) -> dict[str, str]:
    return {
        "id": entry.message_id,
        "at": entry.logged_at.isoformat(),
        "host": entry.host,
        "severity": SEVERITIES[entry.severity],
        "unit": entry.unit,
        "message": entry.message,
    }

"""Following one job: the changes since the last reading, for one stream."""

from __future__ import annotations

import asyncio
import base64
import datetime
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from mosaic.gateway.sse import AGE_SECONDS, Event, age_event
from mosaic.ledger import jobs, progress
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobSummary, PartView
from mosaic.ledger.models import DONE, RUNNING, Blob
from mosaic.ledger.progress import OVERLAP, Change

PERIOD_SECONDS = 0.15
# The limit for one reading. A page fetches other tiles itself.
TILES_A_READING = 64


class JobFollower:
    """Stores each part as it was sent last. `after` is the time of the latest event before an interruption.

    With `tiles`, the PNG of a newly done tile comes before its part. A request for each tile would be slower
    for the user and more work for the lab.
    """

    def __init__(self, job_id: uuid.UUID, after: datetime.datetime | None, tiles: bool = False) -> None:
        """Follow a job from its start, or from `after`."""
        self._with_tiles = tiles
        self._job_id = job_id
        self._cursor: datetime.datetime | None = None
        self._after = after
        self._parts: dict[int, PartView] = {}
        self._sent: JobSummary | None = None

    @property
    def waiting(self) -> JobSummary | None:
        """The job, if it runs and none of its parts has started."""
        job = self._sent
        waits = job is not None and job.state == RUNNING and not any(map(_latest, self._parts.values()))
        return job if waits else None

    def read(self) -> list[Event] | None:
        """Return the events since the last reading; None: the job was deleted. Raises SQLAlchemyError."""
        with transaction() as session:
            change = progress.changes(session, self._job_id, self._cursor)
            if change is not None and change.job.state != RUNNING and self._cursor is not None:
                # The last reading takes all parts, so that the final picture is complete.
                change = progress.changes(session, self._job_id, None)
            if change is None:
                return None
            fresh = self._fresh(change)
            tiles = self._tiles(session, change, fresh)
        return self._events(change, fresh, tiles)

    def _fresh(self, change: Change) -> list[PartView]:
        """Return the parts that differ from what the client has."""
        fresh = [part for part in change.parts if self._parts.get(part.part) != part]
        if self._cursor is None and self._after is not None:
            known = self._after - OVERLAP
            fresh = [part for part in fresh if _latest(part) is None or (_latest(part) or known) > known]
        return fresh

    def _tiles(self, session: Session, change: Change, fresh: list[PartView]) -> list[tuple[int, bytes]]:
        """Return tiles of these parts. Of a job that had ended before, the browser may have cached them."""
        had_ended = change.job.state != RUNNING and self._cursor is None
        done = [part.part for part in fresh if part.state == DONE][:TILES_A_READING]
        if not self._with_tiles or had_ended or not done:
            return []
        found = jobs.blobs(session, self._job_id, "tile", Blob.index.in_(done))
        return [(index, data) for index, data, _ in found]

    def _events(self, change: Change, fresh: list[PartView], tiles: list[tuple[int, bytes]]) -> list[Event]:
        self._parts.update({part.part: part for part in change.parts})
        self._cursor = change.now
        mark = change.now.isoformat()
        events = []
        if tiles:
            # Without an id: a resumed stream must send these parts again, with the tiles that are not shown
            # yet.
            events.append(Event({index: base64.b64encode(data).decode() for index, data in tiles}, "tiles"))
        if fresh:
            events.append(Event(fresh, "parts", mark))
        summary = jobs.summary(change.job, change.now, self._parts.values())
        if self._sent is None or replace(summary, seconds=self._sent.seconds) != self._sent:
            events.append(Event(summary, "job", mark))
            self._sent = summary
        return events


async def follow(
    follower: JobFollower, is_away: Callable[[], bool], parts_ahead: Callable[[JobSummary], Awaitable[int]]
) -> AsyncGenerator[Event, None]:
    """Yield events until the job has ended. While the database is unavailable, wait for it."""
    read_at, aged_at = None, float("-inf")
    ahead = sent_ahead = 0
    while True:
        started = time.monotonic()
        events: list[Event] | None = []
        if not is_away():
            with suppress(SQLAlchemyError):
                events = await run_in_threadpool(follower.read)
                ahead = await parts_ahead(follower.waiting) if follower.waiting else 0
                read_at = started
        if events is None:
            yield Event({}, "gone")
            return
        for event in events:
            yield event
            if event.kind == "job" and event.data.state != RUNNING:
                return
        if ahead != sent_ahead:
            sent_ahead = ahead
            yield Event({"parts": ahead}, "ahead")
        if read_at is not None and time.monotonic() - aged_at >= AGE_SECONDS:
            aged_at = time.monotonic()
            yield age_event({"job": aged_at - read_at})
        await asyncio.sleep(PERIOD_SECONDS)


def _latest(part: PartView) -> datetime.datetime | None:
    times = (part.started, part.reported, part.ended)
    return max((at for at in times if at is not None), default=None)

"""Following one job: the changes since the last reading, for one stream.

The streams of a job share what they read from the ledger: often while parts change, seldom while nothing
happens. A NOTIFY for each part would be worse: PostgreSQL commits transactions with NOTIFY one at a time.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import threading
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
LONGEST_PERIOD_SECONDS = 1.0
# Of the time since the last change. So what follows a pause is late by a quarter of the pause at most.
QUIET_SHARE = 0.25
# The limit for one reading. A page fetches other tiles itself.
TILES_A_READING = 64


class SharedChanges:
    """The changes of jobs, read once for all streams of a job that ask within a period."""

    def __init__(self) -> None:
        """Start without readings."""
        self._lock = threading.Lock()
        self._latest: dict[uuid.UUID, tuple[float, datetime.datetime, Change]] = {}

    def __call__(self, session: Session, job_id: uuid.UUID, since: datetime.datetime | None) -> Change | None:
        """Return what `progress.changes` does; perhaps some more parts, and at most a period old."""
        started = time.monotonic()
        if since is None:
            return progress.changes(session, job_id, None)
        with self._lock:
            self._latest = {
                job: one for job, one in self._latest.items() if one[0] > started - PERIOD_SECONDS
            }
            _, known_since, known = self._latest.get(job_id, (0.0, since, None))
        if known is not None and known_since <= since <= known.now:
            return known
        change = progress.changes(session, job_id, since)
        if change is not None:
            with self._lock:
                self._latest[job_id] = (started, since, change)
        return change


class JobFollower:
    """Stores each part as it was sent last. `after` is the time of the latest event before an interruption.

    With `tiles`, the PNG of a newly done tile comes before its part. A request for each tile would be slower
    for the user and more work for the lab.
    """

    def __init__(
        self,
        job_id: uuid.UUID,
        after: datetime.datetime | None,
        tiles: bool = False,
        changes: Callable[..., Change | None] = progress.changes,
    ) -> None:
        """Follow a job from its start, or from `after`; `changes` reads the ledger."""
        self._changes = changes
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
            change = self._changes(session, self._job_id, self._cursor)
            if change is not None and change.job.state != RUNNING and self._cursor is not None:
                # The last reading takes all parts, so that the final picture is complete.
                change = self._changes(session, self._job_id, None)
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
    follower: JobFollower,
    first: list[Event],
    is_away: Callable[[], bool],
    parts_ahead: Callable[[JobSummary], Awaitable[int]],
) -> AsyncGenerator[Event, None]:
    """Yield `first`, then events until the job has ended. While the database is unavailable, wait for it."""
    events: list[Event] | None = first
    changed_at = time.monotonic()
    read_at, aged_at = changed_at if first else None, float("-inf")
    ahead = sent_ahead = 0
    while True:
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
        now = time.monotonic()
        if events:
            changed_at = now
        if read_at is not None and now - aged_at >= AGE_SECONDS:
            aged_at = now
            yield age_event({"job": now - read_at})
        await asyncio.sleep(period(now - changed_at))
        started, events = time.monotonic(), []
        if not is_away():
            with suppress(SQLAlchemyError):
                events = await run_in_threadpool(follower.read)
                ahead = await parts_ahead(follower.waiting) if follower.waiting else 0
                read_at = started


def period(quiet: float) -> float:
    """Return the seconds until the next reading, `quiet` seconds after the last change."""
    return min(max(PERIOD_SECONDS, QUIET_SHARE * quiet), LONGEST_PERIOD_SECONDS)


def _latest(part: PartView) -> datetime.datetime | None:
    times = (part.started, part.reported, part.ended)
    return max((at for at in times if at is not None), default=None)

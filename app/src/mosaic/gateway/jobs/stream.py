"""Following one job: what is new since the last reading, for one stream."""

from __future__ import annotations

import asyncio
import base64
import datetime
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from mosaic.gateway.jobs.schemas import PartAnswer
from mosaic.gateway.sse import Event
from mosaic.ledger import jobs, progress
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import PartView
from mosaic.ledger.models import DONE, RUNNING, Blob
from mosaic.ledger.progress import OVERLAP, Change

PERIOD_SECONDS = 0.15
AWAY_SECONDS = 1.0
# What comes with one reading; a page fetches the others by itself.
TILES_A_READING = 64


class JobFollower:
    """Remembers each part as it was sent last; `after` is the latest event's time before a cut.

    With `tiles`, the PNG of a tile that has just been done comes ahead of the news: asking for each by itself
    costs a person time and the lab more work.
    """

    def __init__(self, job_id: uuid.UUID, after: datetime.datetime | None, tiles: bool = False) -> None:
        """Follow a job from its beginning, or from `after`."""
        self._with_tiles = tiles
        self._job_id = job_id
        self._cursor: datetime.datetime | None = None
        self._after = after
        self._parts: dict[int, PartView] = {}
        self._sent: dict[str, Any] = {}

    def read(self) -> list[Event] | None:
        """Return the events since the last reading; None when the job is gone. Raises SQLAlchemyError."""
        with transaction() as session:
            change = progress.changes(session, self._job_id, self._cursor)
            if change is not None and change.state != RUNNING and self._cursor is not None:
                # The last reading takes in everything: nothing may be missing from the final picture.
                change = progress.changes(session, self._job_id, None)
            if change is None:
                return None
            fresh = self._fresh(change)
            tiles = self._tiles(session, change, fresh)
        return self._events(change, fresh, tiles)

    def _fresh(self, change: Change) -> list[PartView]:
        """Return the parts that the stream's reader does not know as they are."""
        fresh = [part for part in change.parts if self._parts.get(part.index) != part]
        if self._cursor is None and self._after is not None:
            known = self._after - OVERLAP
            fresh = [part for part in fresh if _latest(part) is None or (_latest(part) or known) > known]
        return fresh

    def _tiles(self, session: Session, change: Change, fresh: list[PartView]) -> list[tuple[int, bytes]]:
        """Return tiles of these parts; none of a job that had ended before, which a browser may have kept."""
        had_ended = change.state != RUNNING and self._cursor is None
        done = [part.index for part in fresh if part.state == DONE][:TILES_A_READING]
        if not self._with_tiles or had_ended or not done:
            return []
        found = jobs.blobs(session, self._job_id, "tile", Blob.index.in_(done))
        return [(index, data) for index, data, _ in found]

    def _events(self, change: Change, fresh: list[PartView], tiles: list[tuple[int, bytes]]) -> list[Event]:
        self._parts.update({part.index: part for part in change.parts})
        self._cursor = change.now
        mark = change.now.isoformat()
        events = []
        if tiles:
            # Without an id: after a cut the parts must come again, and with them what is not painted yet.
            events.append(Event({index: base64.b64encode(data).decode() for index, data in tiles}, "tiles"))
        if fresh:
            answers = [PartAnswer.of(part).model_dump(mode="json") for part in fresh]
            events.append(Event(answers, "parts", mark))
        summary = self._summary(change)
        if {**summary, "seconds": 0} != {**self._sent, "seconds": 0}:
            events.append(Event(summary, "job", mark))
            self._sent = summary
        return events

    def _summary(self, change: Change) -> dict[str, Any]:
        done = [part for part in self._parts.values() if part.state == DONE]
        hosts = Counter(part.host for part in done if part.host is not None)
        end = change.finished or change.now
        return {
            "job": str(self._job_id),
            "kind": change.kind,
            "state": change.state,
            "error": change.error,
            "total": len(self._parts),
            "done": len(done),
            "progress": round(sum(part.share for part in self._parts.values()) / max(1, len(self._parts)), 4),
            "by_host": dict(sorted(hosts.items())),
            "seconds": round((end - change.created).total_seconds(), 3),
        }


async def follow(follower: JobFollower, is_away: Callable[[], bool]) -> AsyncGenerator[Event, None]:
    """Yield events until the job has ended; while the database is away, wait for it."""
    while True:
        if is_away():
            await asyncio.sleep(AWAY_SECONDS)
            continue
        try:
            events = await run_in_threadpool(follower.read)
        except SQLAlchemyError:
            await asyncio.sleep(AWAY_SECONDS)
            continue
        if events is None:
            yield Event({}, "gone")
            return
        for event in events:
            yield event
            if event.kind == "job" and event.data["state"] != RUNNING:
                return
        await asyncio.sleep(PERIOD_SECONDS)


def _latest(part: PartView) -> datetime.datetime | None:
    times = (part.started, part.reported, part.ended)
    return max((at for at in times if at is not None), default=None)

"""The latest jobs, for every page that lists them; read only while somebody follows them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from mosaic.gateway.jobs.schemas import JobSummary
from mosaic.gateway.sse import Event
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.models import CANCELLED, DONE

LIMIT = 60
PERIOD_SECONDS = 1.0
# A job that failed runs again when its dead letter is sent back, perhaps by another gateway.
FINAL = (DONE, CANCELLED)


class LatestJobs:
    """The latest jobs, read at most once a second whatever the number of pages; final ones are read once."""

    def __init__(self) -> None:
        """Know none yet."""
        self._final: dict[uuid.UUID, JobSummary] = {}
        self._latest: list[JobSummary] = []
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def read(self) -> list[JobSummary]:
        """Return the latest jobs, newest first, at most a second old. Raises SQLAlchemyError."""
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if now - self._read_at >= PERIOD_SECONDS:
                self._latest = await run_in_threadpool(self._read)
                self._read_at = now
            return self._latest

    def _read(self) -> list[JobSummary]:
        with transaction() as session:
            ids = jobs.latest_ids(session, LIMIT)
            fresh = jobs.summaries(session, [job for job in ids if job not in self._final])
        found = {view.id: JobSummary.of(view) for view in fresh}
        known = self._final | found
        self._final = {job: known[job] for job in ids if job in known and known[job].state in FINAL}
        return [known[job] for job in ids if job in known]

    async def events(self, is_away: Callable[[], bool]) -> AsyncGenerator[Event, None]:
        """Yield the list now and whenever it has changed; while the database is away, wait for it."""
        sent: list[JobSummary] | None = None
        while True:
            try:
                latest = sent if is_away() else await self.read()
            except SQLAlchemyError:
                latest = sent
            if latest is not None and latest != sent:
                sent = latest
                yield Event([job.model_dump(mode="json") for job in latest], "jobs")
            await asyncio.sleep(PERIOD_SECONDS)

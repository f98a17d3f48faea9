"""The latest jobs, for every page that lists them; read only while a page shows them."""

from __future__ import annotations

import asyncio
import uuid

from starlette.concurrency import run_in_threadpool

from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobSummary
from mosaic.ledger.models import CANCELLED, DONE

LIMIT = 60
PERIOD_SECONDS = 1.0
# A failed job runs again when its dead letter is sent back, perhaps by another gateway.
FINAL = (DONE, CANCELLED)


class LatestJobs:
    """The latest jobs, read at most once a second for all pages. Final jobs are read only once."""

    def __init__(self) -> None:
        """Start without jobs."""
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
        known = self._final | {summary.job: summary for summary in fresh}
        self._final = {job: known[job] for job in ids if job in known and known[job].state in FINAL}
        return [known[job] for job in ids if job in known]

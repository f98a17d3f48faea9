"""What the console reads from the ledger twice a second, in a thread of its own.

A frozen database does not answer, and a thread that waits for it cannot be interrupted. It must not be one of
the threads that serve requests, nor the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from mosaic.gateway.lab.schemas import Work
from mosaic.ledger import heartbeats, jobs, periodic
from mosaic.ledger.heartbeats import Process
from mosaic.ledger.models import ACCEPTED, RUNNING, Part
from mosaic.ledger.periodic import Run

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 0.5
ANSWER_SECONDS = 1.2
AWAY_SECONDS = 3.0


@dataclass(frozen=True)
class LedgerReading:
    """The result of one reading: `at` on this process's monotonic clock, `seconds` that it took."""

    at: float
    seconds: float
    processes: list[Process]
    runs: dict[str, Run]
    work: Work
    connections: int

    def newest(self, kind: str) -> Process | None:
        """Return the process of a kind with the latest heartbeat."""
        found = (process for process in self.processes if process.kind == kind)
        return min(found, key=lambda process: process.age, default=None)


class LedgerWatch:
    """Reads until cancelled; `reading` is the latest result, `error` why the newest one is missing."""

    def __init__(self, engine: Engine, changed: Callable[[], None]) -> None:
        """Read with an `engine` of its own; call `changed` after each reading."""
        # Each query is its own transaction, so that a migration never waits for a lock of this reading.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._changed = changed
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ledger-watch")
        self.reading: LedgerReading | None = None
        self.error = ""

    @property
    def is_away(self) -> bool:
        """Whether the database has not answered for some seconds. Then nothing should wait for it."""
        return bool(self.error) and (
            self.reading is None or time.monotonic() - self.reading.at > AWAY_SECONDS
        )

    async def run(self) -> None:
        """Read twice a second."""
        loop = asyncio.get_running_loop()
        pending: asyncio.Future[LedgerReading] | None = None
        while True:
            started = time.monotonic()
            pending = pending or loop.run_in_executor(self._executor, self._read)
            await asyncio.wait((pending,), timeout=ANSWER_SECONDS)
            if pending.done():
                self._take(pending)
                pending = None
            else:
                self.error = f"no answer within {ANSWER_SECONDS} s"
            self._changed()
            await asyncio.sleep(max(0.1, PERIOD_SECONDS - (time.monotonic() - started)))

    def close(self) -> None:
        """Close the connection, unless a frozen database blocks it."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(SQLAlchemyError):
            self._engine.dispose()

    def _take(self, done: asyncio.Future[LedgerReading]) -> None:
        try:
            self.reading = done.result()
            self.error = ""
        except SQLAlchemyError as error:
            self.error = "connection refused" if "refused" in str(error) else "connection failed"
            logger.debug("the ledger does not answer: %s", error)

    def _read(self) -> LedgerReading:
        started = time.monotonic()
        with Session(self._engine) as session:
            open_parts = session.execute(
                select(Part.state, func.count())
                .where(Part.state.in_((ACCEPTED, RUNNING)))
                .group_by(Part.state)
            )
            parts = {row[0]: row[1] for row in open_parts}
            connections = session.scalar(
                text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            )
            running = jobs.running(session)
            processes = heartbeats.read(session)
            runs = periodic.latest(session)
        now = time.monotonic()
        work = Work(
            running_jobs=running,
            waiting_parts=parts.get(ACCEPTED, 0),
            running_parts=parts.get(RUNNING, 0),
        )
        return LedgerReading(now, round(now - started, 4), processes, runs, work, int(connections or 0))

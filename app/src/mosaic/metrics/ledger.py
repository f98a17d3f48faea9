"""Counters of task attempts, read from the ledger once for the whole lab.

The ledger has every attempt of every host and process, also of killed processes, which cannot report anything
themselves. The counters start at zero with this process and only grow, although rows are deleted after a
week.
"""

from __future__ import annotations

import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy import func, literal, select, union_all
from sqlalchemy.orm import Session

from mosaic.ledger.database import seconds_from
from mosaic.ledger.models import DONE, Attempt, DrillAttempt, PeriodicRun
from mosaic.ledger.periodic import TICK
from mosaic.settings import LONG_HARD_TIME_LIMIT_SECONDS

# A row becomes visible with the commit, later than the time in it. The database ends transactions that are
# idle for 10 s.
COMMIT_SECONDS = 15
# The index on the start finds the rows. This is longer than the hard time limit, and than the time until the
# next attempt ends a lost one.
LONGEST_SECONDS = LONG_HARD_TIME_LIMIT_SECONDS + 300
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 240.0, 600.0)
DRILL_TASK = "mosaic.drill.work"


class LedgerMetrics:
    """Metrics in `registry`; `update` reads them from the ledger."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics, without values."""
        self._since: datetime.datetime | None = None
        self._seen: dict[tuple[str, int], datetime.datetime] = {}
        self._seconds = Histogram(
            "mosaic_task_seconds",
            "Seconds of each successful attempt, by task and host.",
            ["task", "host"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._attempts = Counter(
            "mosaic_task_attempts",
            "Ended attempts, by task, host and outcome.",
            ["task", "host", "outcome"],
            registry=registry,
        )
        self._retries = Counter(
            "mosaic_task_retries",
            "Ended attempts that were not the first of their part, by task and host.",
            ["task", "host"],
            registry=registry,
        )
        self._tick = Gauge(
            "mosaic_beat_last_tick_timestamp_seconds",
            "When a worker started the latest tick of beat, in seconds since 1970.",
            registry=registry,
        )
        self.up = Gauge(
            "mosaic_ledger_up", "Whether the last reading of the ledger succeeded.", registry=registry
        )

    def update(self, session: Session) -> int:
        """Count the attempts that ended since the last update; return how many. Raises SQLAlchemyError."""
        now = session.execute(select(func.now())).scalar_one()
        if self._since is None:
            self._since = now
        fresh = [row for row in _ended(session, self._since) if (row.source, row.id) not in self._seen]
        tick = session.scalar(select(PeriodicRun.started_at).where(PeriodicRun.task == TICK))
        for row in fresh:
            self._seen[row.source, row.id] = row.ended_at
            self._attempts.labels(row.task, row.host, row.outcome or "unknown").inc()
            if row.outcome == DONE:
                self._seconds.labels(row.task, row.host).observe(row.seconds)
            if row.number > 1:
                self._retries.labels(row.task, row.host).inc()
        if tick is not None:
            self._tick.set(tick.timestamp())
        self._since = max(self._since, now - datetime.timedelta(seconds=COMMIT_SECONDS))
        self._seen = {key: at for key, at in self._seen.items() if at > self._since}
        return len(fresh)


def _ended(session: Session, since: datetime.datetime) -> list[Any]:
    begun = since - datetime.timedelta(seconds=LONGEST_SECONDS)
    queries = [
        select(
            literal(table.__tablename__).label("source"),
            table.id,
            table.ended_at,
            task.label("task"),
            table.host,
            table.outcome,
            table.number,
            seconds_from(table.started_at, table.ended_at).label("seconds"),
        ).where(table.started_at > begun, table.ended_at > since)
        for table, task in ((Attempt, Attempt.task), (DrillAttempt, literal(DRILL_TASK)))
    ]
    return list(session.execute(union_all(*queries)))

"""What the ledger says of tasks, as counters: by following it, once for the whole lab.

The ledger knows every attempt of every host and process, also of those that were killed, which no process
could tell itself. Counters begin at zero with this process and only grow, while rows are purged after a week.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy import func, literal, select, union_all
from sqlalchemy.orm import Session

from mosaic.ledger.models import DONE, Attempt, DrillAttempt, PeriodicRun
from mosaic.ledger.periodic import TICK
from mosaic.settings import LONG_HARD_TIME_LIMIT_SECONDS

# A row appears when its transaction commits, which is later than the time in it: the database ends
# transactions that are idle for 10 s.
COMMIT_SECONDS = 15
# Rows are found by the index on their start: longer than the hard time limit, and than a lost attempt waits
# for its successor, which ends it.
LONGEST_SECONDS = LONG_HARD_TIME_LIMIT_SECONDS + 300
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 240.0, 600.0)
DRILL_TASK = "mosaic.drill.work"


@dataclass(frozen=True)
class Ended:
    """An attempt that ended: its table and id, the time of its end, what it was."""

    key: tuple[str, int]
    at: datetime.datetime
    task: str
    host: str
    outcome: str
    number: int
    seconds: float


class LedgerMetrics:
    """Metrics in `registry`, brought up to date by `update`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; all are empty until the first update."""
        self._since: datetime.datetime | None = None
        self._seen: dict[tuple[str, int], datetime.datetime] = {}
        self._seconds = Histogram(
            "mosaic_task_seconds",
            "Seconds of each attempt that did its work, by task and host.",
            ["task", "host"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._attempts = Counter(
            "mosaic_task_attempts",
            "Attempts that ended, by task, host and outcome.",
            ["task", "host", "outcome"],
            registry=registry,
        )
        self._retries = Counter(
            "mosaic_task_retries",
            "Attempts that ended and were not the first at their part, by task and host.",
            ["task", "host"],
            registry=registry,
        )
        self._tick = Gauge(
            "mosaic_beat_last_tick_timestamp_seconds",
            "When a worker began the latest tick of beat, in seconds since the epoch.",
            registry=registry,
        )
        self.up = Gauge(
            "mosaic_ledger_up", "Whether the ledger answered the last question.", registry=registry
        )

    def update(self, session: Session) -> int:
        """Count the attempts that ended since the last update; return how many. Raises SQLAlchemyError."""
        now = session.execute(select(func.now())).scalar_one()
        if self._since is None:
            self._since = now
        fresh = [ended for ended in _ended(session, self._since) if ended.key not in self._seen]
        tick = session.scalar(select(PeriodicRun.started_at).where(PeriodicRun.task == TICK))
        for ended in fresh:
            self._count(ended)
        if tick is not None:
            self._tick.set(tick.timestamp())
        self._since = max(self._since, now - datetime.timedelta(seconds=COMMIT_SECONDS))
        self._seen = {key: at for key, at in self._seen.items() if at > self._since}
        return len(fresh)

    def _count(self, ended: Ended) -> None:
        self._seen[ended.key] = ended.at
        self._attempts.labels(ended.task, ended.host, ended.outcome).inc()
        if ended.outcome == DONE:
            self._seconds.labels(ended.task, ended.host).observe(ended.seconds)
        if ended.number > 1:
            self._retries.labels(ended.task, ended.host).inc()


def _ended(session: Session, since: datetime.datetime) -> list[Ended]:
    begun = since - datetime.timedelta(seconds=LONGEST_SECONDS)
    parts = select(
        literal("attempt"),
        Attempt.id,
        Attempt.ended_at,
        Attempt.task,
        Attempt.host,
        Attempt.outcome,
        Attempt.number,
        Attempt.started_at,
    ).where(Attempt.started_at > begun, Attempt.ended_at > since)
    drills = select(
        literal("drill_attempt"),
        DrillAttempt.id,
        DrillAttempt.ended_at,
        literal(DRILL_TASK),
        DrillAttempt.host,
        DrillAttempt.outcome,
        DrillAttempt.number,
        DrillAttempt.started_at,
    ).where(DrillAttempt.started_at > begun, DrillAttempt.ended_at > since)
    return [
        Ended((table, key), at, task, host, outcome or "unknown", number, (at - started).total_seconds())
        for table, key, at, task, host, outcome, number, started in session.execute(union_all(parts, drills))
        if at is not None
    ]

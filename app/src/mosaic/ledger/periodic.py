"""The latest run of each periodic task."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from mosaic.ledger.models import PeriodicRun
from mosaic.ledger.work import ERROR_LENGTH, Runner

# Its run shows that beat, broker, workers and database work together.
TICK = "mosaic.upkeep.tick"


@dataclass(frozen=True)
class Run:
    """The latest run of a task; `age` in seconds since its start, `seconds` to its end, None before."""

    task: str
    beat_host: str
    host: str
    pid: int
    started: datetime.datetime
    age: float
    seconds: float | None
    outcome: str | None
    error: str | None


def begin(session: Session, runner: Runner, beat_host: str) -> None:
    """Record the start of a run, in place of the one before."""
    values = {
        "task_id": runner.task_id,
        "beat_host": beat_host,
        "host": runner.host,
        "pid": runner.pid,
        "started_at": func.clock_timestamp(),
        "ended_at": None,
        "outcome": None,
        "error": None,
    }
    session.execute(
        upsert(PeriodicRun)
        .values(task=runner.task, **values)
        .on_conflict_do_update(index_elements=["task"], set_=values)
    )


def end(session: Session, runner: Runner, outcome: str, error: str) -> None:
    """Record the end of a run, unless another has begun meanwhile."""
    session.execute(
        update(PeriodicRun)
        .where(PeriodicRun.task == runner.task, PeriodicRun.task_id == runner.task_id)
        .values(outcome=outcome, error=error[:ERROR_LENGTH] or None, ended_at=func.clock_timestamp())
    )


def latest(session: Session) -> dict[str, Run]:
    """Return the latest run of each task, by the task's name."""
    age_of = func.extract("epoch", func.clock_timestamp() - PeriodicRun.started_at)
    return {
        row.task: Run(
            task=row.task,
            beat_host=row.beat_host,
            host=row.host,
            pid=row.pid,
            started=row.started_at,
            age=round(float(age), 3),
            seconds=(row.ended_at - row.started_at).total_seconds() if row.ended_at else None,
            outcome=row.outcome,
            error=row.error,
        )
        for row, age in session.execute(select(PeriodicRun, age_of))
    }

"""The latest run of each periodic task."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from mosaic.ledger.database import seconds_from
from mosaic.ledger.models import PeriodicRun
from mosaic.ledger.work import ERROR_LENGTH, Runner

# A run of this task shows that beat, brokers, workers and database work together.
TICK = "mosaic.upkeep.tick"


@dataclass(frozen=True)
class Run:
    """The latest run of a task: sent by beat on `beat_host`, run by process `pid` of `host`.

    `age` is the seconds since its start. `seconds` is how long it took; None while it runs.
    """

    task: str
    beat_host: str
    host: str
    pid: int
    started: datetime.datetime
    age: float = field(compare=False)
    seconds: float | None
    outcome: str | None
    error: str | None


def begin(session: Session, runner: Runner, beat_host: str) -> None:
    """Store the start of a run in place of the previous run."""
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
    """Store the end of a run, unless a later run has started."""
    session.execute(
        update(PeriodicRun)
        .where(PeriodicRun.task == runner.task, PeriodicRun.task_id == runner.task_id)
        .values(outcome=outcome, error=error[:ERROR_LENGTH] or None, ended_at=func.clock_timestamp())
    )


def latest(session: Session) -> dict[str, Run]:
    """Return the latest run of each task, by the task's name."""
    query = select(
        PeriodicRun.task,
        PeriodicRun.beat_host,
        PeriodicRun.host,
        PeriodicRun.pid,
        PeriodicRun.started_at,
        seconds_from(PeriodicRun.started_at, func.clock_timestamp()),
        seconds_from(PeriodicRun.started_at, PeriodicRun.ended_at),
        PeriodicRun.outcome,
        PeriodicRun.error,
    )
    return {row[0]: Run(*row) for row in session.execute(query)}

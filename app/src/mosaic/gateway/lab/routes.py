"""/api/lab, /api/workers, /api/queues and /api/periodic, each also as a stream; /api/failures, /api/beat."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from mosaic.gateway.deps import TheStreams, TheWatch, need_database
from mosaic.gateway.errors import ApiError, Unavailable
from mosaic.gateway.lab.applications import (
    OWN,
    FailureList,
    LastRun,
    ScheduleRow,
    WorkerList,
)
from mosaic.gateway.lab.events import Failure
from mosaic.gateway.lab.ledger import LedgerReading
from mosaic.gateway.lab.queues import QueueList
from mosaic.gateway.lab.schemas import BeatState, LabState
from mosaic.gateway.lab.watch import LabWatch
from mosaic.gateway.sse import Ages, Streams, changes
from mosaic.ledger import periodic, work
from mosaic.ledger.database import transaction
from mosaic.ledger.heartbeats import BEAT

router = APIRouter(prefix="/api")

PERIOD_SECONDS = 0.2
FAILURE_HOURS = 24


class PeriodicList(BaseModel):
    """Beat of each application and its schedule: mosaic first, and of each the next entry first."""

    applications: list[str]
    beats: list[BeatState]
    entries: list[ScheduleRow]


class BeatAnswer(BaseModel):
    """The latest tick of beat: sent by beat on `beat_host`, run by a worker on `host`."""

    last_tick: datetime.datetime
    age_seconds: float
    host: str
    beat_host: str


def _follow(
    streams: Streams, read: Callable[[], BaseModel | None], kind: str, ages: Callable[[], Ages]
) -> Response:
    async def latest() -> BaseModel | None:
        return read()

    return streams.answer(changes(latest, kind, PERIOD_SECONDS, ages))


@router.get("/lab")
async def show_lab(watch: TheWatch) -> LabState:
    """Show the latest state of the lab."""
    if watch.state is None:
        raise Unavailable("the gateway has just started; ask again in a second.", 1)
    return watch.state


@router.get("/lab/events", response_class=Response)
async def follow_lab(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the lab: an event `lab` now and after each change."""
    return _follow(streams, lambda: watch.state, "lab", watch.lab_ages)


@router.get("/workers")
async def list_workers(watch: TheWatch) -> WorkerList:
    """List the workers of all applications."""
    return watch.workers or WorkerList(applications=[], workers=[])


@router.get("/workers/events", response_class=Response)
async def follow_workers(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the workers: an event `workers` now and after each change."""
    return _follow(streams, lambda: watch.workers, "workers", lambda: watch.ledger_ages("workers"))


@router.get("/failures")
def list_failures(watch: TheWatch, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> FailureList:
    """List failed tasks, the newest first: of mosaic those of one day, of others those that were seen."""
    applications = watch.applications
    found = applications.failures()
    unread = applications.unread()
    reasons = [f"The brokers deliver no events of {', '.join(unread)}."] if unread else []
    if watch.database_is_away:
        reasons.append("The database does not answer, so failures of mosaic are missing.")
    else:
        try:
            found += _own_failures(limit)
        except SQLAlchemyError:
            reasons.append("The database does not answer, so failures of mosaic are missing.")
    return FailureList(
        applications=applications.names,
        failures=sorted(found, key=lambda failure: failure.at, reverse=True)[:limit],
        since=applications.since(),
        reason=" ".join(reasons),
    )


@router.get("/queues")
async def list_queues(watch: TheWatch) -> QueueList:
    """List the applications' queues with the latest figures of the brokers."""
    watch.depths.ask()
    return watch.queues or QueueList(queues=[], reason="no broker has been asked yet")


@router.get("/queues/events", response_class=Response)
async def follow_queues(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the queues: an event `queues` now and after each change."""

    def read() -> QueueList | None:
        watch.depths.ask()
        return watch.queues

    return _follow(streams, read, "queues", watch.queue_ages)


@router.get("/periodic")
async def list_periodic(watch: TheWatch) -> PeriodicList:
    """List the periodic tasks."""
    return schedule(watch)


@router.get("/periodic/events", response_class=Response)
async def follow_periodic(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the periodic tasks: an event `periodic` now and after each change."""
    return _follow(streams, lambda: schedule(watch), "periodic", lambda: watch.ledger_ages("schedule"))


@router.get("/beat", dependencies=[Depends(need_database)])
def show_beat() -> BeatAnswer:
    """Show the latest tick of beat."""
    with transaction() as session:
        tick = periodic.latest(session).get(periodic.TICK)
    if tick is None:
        raise ApiError(404, "beat has not ticked yet.")
    return BeatAnswer(last_tick=tick.started, age_seconds=tick.age, host=tick.host, beat_host=tick.beat_host)


def schedule(watch: LabWatch) -> PeriodicList:
    """Return the schedule of each beat: of mosaic from its latest heartbeat, of others from their events."""
    beats = [watch.state.beat] if watch.state else []
    entries = _own_entries(watch.ledger.reading)
    for beat, rows in watch.applications.schedules():
        beats.append(beat)
        entries += sorted(rows, key=lambda row: (row.next is None, row.next, row.name))
    return PeriodicList(applications=watch.applications.names, beats=beats, entries=entries)


def _own_entries(reading: LedgerReading | None) -> list[ScheduleRow]:
    process = reading.newest(BEAT) if reading else None
    if reading is None or process is None:
        return []
    age = process.age + time.monotonic() - reading.at
    entries = []
    for entry in process.details.get("entries", []):
        due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=float(entry["next_in"]) - age)
        run = reading.runs.get(entry["task"])
        entries.append(
            ScheduleRow(
                application=OWN,
                name=entry["name"],
                task=entry["task"],
                every=entry["every"],
                # Whole seconds: otherwise each reading would be a change.
                next=due.replace(microsecond=0),
                sent=entry["last"],
                runs=entry["runs"],
                last_run=LastRun(
                    host=run.host, pid=run.pid, seconds=run.seconds, outcome=run.outcome, error=run.error
                )
                if run
                else None,
            )
        )
    return sorted(entries, key=lambda entry: (entry.next, entry.name))


def _own_failures(limit: int) -> list[Failure]:
    with transaction() as session:
        return [
            Failure(
                application=OWN,
                id=attempt.task_id,
                task=attempt.task,
                host=attempt.host,
                worker=f"process {attempt.pid}",
                at=attempt.ended_at,
                error=attempt.error or "",
                traceback="",
            )
            for attempt in work.failures(session, FAILURE_HOURS, limit)
            if attempt.ended_at is not None
        ]

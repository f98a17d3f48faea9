"""/api/lab, /api/queues and /api/periodic, each also as a stream of changes; /api/beat."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel

from mosaic.gateway.deps import TheStreams, TheWatch, need_database
from mosaic.gateway.errors import ApiError, Unavailable
from mosaic.gateway.lab.queues import QueueList
from mosaic.gateway.lab.schemas import BeatState, LabState
from mosaic.gateway.lab.watch import LabWatch
from mosaic.gateway.sse import Streams, changes
from mosaic.ledger import periodic
from mosaic.ledger.database import transaction
from mosaic.ledger.heartbeats import BEAT
from mosaic.ledger.periodic import Run

router = APIRouter(prefix="/api")

PERIOD_SECONDS = 0.2


class PeriodicEntry(BaseModel):
    """An entry of beat's schedule; `next` by this gateway's clock, `every` in seconds.

    `runs` is the number of runs since beat started.
    """

    name: str
    task: str
    every: float
    next: datetime.datetime
    sent: datetime.datetime | None
    runs: int
    last_run: Run | None


class PeriodicList(BaseModel):
    """Beat and its schedule, the next entry first."""

    beat: BeatState | None
    entries: list[PeriodicEntry]


class BeatAnswer(BaseModel):
    """The latest tick of beat: sent by beat on `beat_host`, run by a worker on `host`."""

    last_tick: datetime.datetime
    age_seconds: float
    host: str
    beat_host: str


def _follow(streams: Streams, read: Callable[[], BaseModel | None], kind: str) -> Response:
    async def latest() -> BaseModel | None:
        return read()

    return streams.answer(changes(latest, kind, PERIOD_SECONDS))


@router.get("/lab")
async def show_lab(watch: TheWatch) -> LabState:
    """Show the latest state of the lab."""
    if watch.state is None:
        raise Unavailable("the gateway has just started; ask again in a second.", 1)
    return watch.state


@router.get("/lab/events", response_class=Response)
async def follow_lab(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the lab: an event `lab` now and after each change."""
    return _follow(streams, lambda: watch.state, "lab")


@router.get("/queues")
async def list_queues(watch: TheWatch) -> QueueList:
    """List the application's queues with the latest figures of the brokers."""
    return watch.queues or QueueList(queues=[], reason="no broker has been asked yet")


@router.get("/queues/events", response_class=Response)
async def follow_queues(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the queues: an event `queues` now and after each change."""
    return _follow(streams, lambda: watch.queues, "queues")


@router.get("/periodic")
async def list_periodic(watch: TheWatch) -> PeriodicList:
    """List the periodic tasks."""
    return schedule(watch)


@router.get("/periodic/events", response_class=Response)
async def follow_periodic(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the periodic tasks: an event `periodic` now and after each change."""
    return _follow(streams, lambda: schedule(watch), "periodic")


@router.get("/beat", dependencies=[Depends(need_database)])
def show_beat() -> BeatAnswer:
    """Show the latest tick of beat."""
    with transaction() as session:
        tick = periodic.latest(session).get(periodic.TICK)
    if tick is None:
        raise ApiError(404, "beat has not ticked yet.")
    return BeatAnswer(last_tick=tick.started, age_seconds=tick.age, host=tick.host, beat_host=tick.beat_host)


def schedule(watch: LabWatch) -> PeriodicList:
    """Return the schedule from beat's latest heartbeat."""
    state, reading = watch.state, watch.ledger.reading
    if state is None or reading is None:
        return PeriodicList(beat=state.beat if state else None, entries=[])
    process = reading.newest(BEAT)
    entries = []
    for entry in process.details.get("entries", []) if process else []:
        age = (process.age if process else 0.0) + time.monotonic() - reading.at
        due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=float(entry["next_in"]) - age)
        entries.append(
            PeriodicEntry(
                name=entry["name"],
                task=entry["task"],
                every=entry["every"],
                # Whole seconds: otherwise each reading would be a change.
                next=due.replace(microsecond=0),
                sent=entry["last"],
                runs=entry["runs"],
                last_run=reading.runs.get(entry["task"]),
            )
        )
    return PeriodicList(beat=state.beat, entries=sorted(entries, key=lambda entry: (entry.next, entry.name)))

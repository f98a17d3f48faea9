"""GET /api/periodic, /api/beat: what beat will send next, and what it sent last."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel

from mosaic.gateway.deps import TheStreams, TheWatch, need_database
from mosaic.gateway.errors import ApiError
from mosaic.gateway.lab.schemas import BeatState
from mosaic.gateway.lab.watch import LabWatch
from mosaic.gateway.sse import Event
from mosaic.ledger import periodic
from mosaic.ledger.database import transaction
from mosaic.ledger.heartbeats import BEAT
from mosaic.ledger.periodic import Run

router = APIRouter(prefix="/api")

PERIOD_SECONDS = 1.0


class LastRun(BaseModel):
    """The latest run: on which worker host, in which process; `seconds` is null while it runs."""

    host: str
    pid: int
    beat_host: str
    started: datetime.datetime
    seconds: float | None
    outcome: str | None
    error: str | None


class PeriodicEntry(BaseModel):
    """An entry of beat's schedule; `next` by this gateway's clock, `every` in seconds.

    `runs` are counted since beat started.
    """

    name: str
    task: str
    every: float
    next: datetime.datetime
    sent: datetime.datetime | None
    runs: int
    last_run: LastRun | None


class PeriodicList(BaseModel):
    """Beat, and its schedule, the next one first."""

    beat: BeatState | None
    entries: list[PeriodicEntry]


class BeatAnswer(BaseModel):
    """The latest beat tick: begun by a worker on `host`, sent by beat on `beat_host`."""

    last_tick: datetime.datetime
    age_seconds: float
    host: str
    beat_host: str


def schedule(watch: LabWatch) -> PeriodicList:
    """Return the schedule as beat gave it with its latest heartbeat."""
    state, reading = watch.feed.latest, watch.ledger.reading
    if state is None or reading is None:
        return PeriodicList(beat=state.beat if state else None, entries=[])
    beats = [process for process in reading.processes if process.kind == BEAT]
    process = min(beats, key=lambda one: one.age, default=None)
    entries = []
    for entry in process.details.get("entries", []) if process else []:
        age = (process.age if process else 0.0) + time.monotonic() - reading.at
        due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=float(entry["next_in"]) - age)
        entries.append(
            PeriodicEntry(
                name=entry["name"],
                task=entry["task"],
                every=entry["every"],
                # Rounded, or each reading would seem to be a change.
                next=due.replace(microsecond=0),
                sent=entry["last"],
                runs=entry["runs"],
                last_run=_run(reading.runs.get(entry["task"])),
            )
        )
    return PeriodicList(beat=state.beat, entries=sorted(entries, key=lambda entry: (entry.next, entry.name)))


def _run(run: Run | None) -> LastRun | None:
    if run is None:
        return None
    return LastRun(**vars(run))


@router.get("/periodic")
async def list_periodic(watch: TheWatch) -> PeriodicList:
    """List the periodic tasks."""
    return schedule(watch)


@router.get("/periodic/events", response_class=Response)
async def follow_periodic(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the periodic tasks: an event `periodic` now and at each change."""

    async def events() -> AsyncGenerator[Event, None]:
        sent: PeriodicList | None = None
        while True:
            latest = schedule(watch)
            if latest != sent:
                sent = latest
                yield Event(latest.model_dump(mode="json"), "periodic")
            await asyncio.sleep(PERIOD_SECONDS)

    return streams.answer(events())


@router.get("/beat", dependencies=[Depends(need_database)])
def show_beat() -> BeatAnswer:
    """Show the latest beat tick."""
    with transaction() as session:
        tick = periodic.latest(session).get(periodic.TICK)
    if tick is None:
        raise ApiError(404, "beat has not ticked yet.")
    return BeatAnswer(last_tick=tick.started, age_seconds=tick.age, host=tick.host, beat_host=tick.beat_host)

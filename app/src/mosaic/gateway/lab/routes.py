"""/api/lab, /api/queues and /api/periodic, each also as a stream of changes; /api/beat."""

from __future__ import annotations

import datetime

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel

from mosaic.gateway.deps import TheStreams, TheWatch, need_database
from mosaic.gateway.errors import ApiError, Unavailable
from mosaic.gateway.lab.queues import QueueList
from mosaic.gateway.lab.schedule import PeriodicList, schedule
from mosaic.gateway.lab.schemas import LabState
from mosaic.gateway.sse import changes
from mosaic.ledger import periodic
from mosaic.ledger.database import transaction

router = APIRouter(prefix="/api")

PERIOD_SECONDS = 0.2


class BeatAnswer(BaseModel):
    """The latest tick of beat: sent by beat on `beat_host`, run by a worker on `host`."""

    last_tick: datetime.datetime
    age_seconds: float
    host: str
    beat_host: str


@router.get("/lab")
async def show_lab(watch: TheWatch) -> LabState:
    """Show the latest state of the lab."""
    if watch.state is None:
        raise Unavailable("the gateway has just started; ask again in a second.", 1)
    return watch.state


@router.get("/lab/events", response_class=Response)
async def follow_lab(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the lab: an event `lab` now and after each change."""

    async def read() -> LabState | None:
        return watch.state

    return streams.answer(changes(read, "lab", PERIOD_SECONDS))


@router.get("/queues")
async def list_queues(watch: TheWatch) -> QueueList:
    """List the application's queues with the latest figures of the brokers."""
    return watch.queues or QueueList(queues=[], reason="no broker has been asked yet")


@router.get("/queues/events", response_class=Response)
async def follow_queues(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the queues: an event `queues` now and after each change."""

    async def read() -> QueueList | None:
        return watch.queues

    return streams.answer(changes(read, "queues", PERIOD_SECONDS))


@router.get("/periodic")
async def list_periodic(watch: TheWatch) -> PeriodicList:
    """List the periodic tasks."""
    return schedule(watch)


@router.get("/periodic/events", response_class=Response)
async def follow_periodic(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the periodic tasks: an event `periodic` now and after each change."""

    async def read() -> PeriodicList:
        return schedule(watch)

    return streams.answer(changes(read, "periodic", 1.0))


@router.get("/beat", dependencies=[Depends(need_database)])
def show_beat() -> BeatAnswer:
    """Show the latest tick of beat."""
    with transaction() as session:
        tick = periodic.latest(session).get(periodic.TICK)
    if tick is None:
        raise ApiError(404, "beat has not ticked yet.")
    return BeatAnswer(last_tick=tick.started, age_seconds=tick.age, host=tick.host, beat_host=tick.beat_host)

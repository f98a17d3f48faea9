"""Beat's schedule with the latest run of each entry, as a page shows it."""

from __future__ import annotations

import datetime
import time

from pydantic import BaseModel

from mosaic.gateway.lab.schemas import BeatState
from mosaic.gateway.lab.watch import LabWatch
from mosaic.ledger.heartbeats import BEAT
from mosaic.ledger.periodic import Run


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

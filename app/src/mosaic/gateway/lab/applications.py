"""The applications of the lab on the console's pages: their workers, periodic tasks and failures."""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import BaseModel

from mosaic.config import Broker, config_path
from mosaic.gateway.lab.declared import FILE, NO_HEARTBEAT, SOLO, Application, Declared, read_declared
from mosaic.gateway.lab.events import EventReader, Failure, Seen, TaskSeen, WorkerSeen
from mosaic.gateway.lab.ledger import LedgerReading
from mosaic.gateway.lab.schemas import BeatState, LabState, State
from mosaic.gateway.lab.states import Rates

logger = logging.getLogger(__name__)

OWN = "mosaic"
PERIOD_SECONDS = 1.0
# A worker sends a heartbeat every 2 s.
SILENT_SECONDS = 7.0
# Beat repeats its schedule every 5 s.
BEAT_SILENT_SECONDS = 20.0
JUST_STARTED = "the console has just started to read its events"
NO_EVENTS = "the brokers deliver no events of this application"


class WorkerRow(BaseModel):
    """A worker of an application on a host: `busy` of `concurrency`, `rate` in tasks a second.

    `heard` is the time of its latest heartbeat.
    """

    application: str
    host: str
    name: str
    state: State
    reason: str
    queues: list[str]
    concurrency: int
    busy: int
    rate: float
    heard: datetime.datetime | None


class WorkerList(BaseModel):
    """The workers of all applications."""

    applications: list[str]
    workers: list[WorkerRow]


class FailureList(BaseModel):
    """Failed tasks of all applications, the newest first.

    `since`: from when on the console has seen the events of each application. `reason`: why some are missing.
    """

    applications: list[str]
    failures: list[Failure]
    since: dict[str, datetime.datetime] = {}
    reason: str = ""


class ApplicationWatch:
    """Reads the events of each declared application; a changed declaration needs no restart."""

    def __init__(
        self, host: str, heartbeat: int, changed: Callable[[], None], file: Path | None = None
    ) -> None:
        """Prepare to watch; call `changed` after each reading."""
        self._host = host
        self._heartbeat = heartbeat
        self._changed = changed
        self._file = file or config_path().with_name(FILE)
        self._stamp: tuple[int, int, int] | None = None
        self._readers: dict[str, EventReader] = {}
        self._rates = Rates()
        self.declared = Declared()

    @property
    def names(self) -> list[str]:
        """The names of all applications, mosaic first."""
        return [OWN, *(application.name for application in self.declared.applications)]

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.to_thread(self.follow)
            self._changed()
            await asyncio.sleep(PERIOD_SECONDS)

    def follow(self) -> None:
        """Read the declaration when it has changed; start and stop readers."""
        try:
            found = self._file.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            stamp = (0, 0, 0)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            latest = read_declared(self._file)
        except ValueError as error:
            logger.warning("the hosts and applications of the lab are not known: %s", error)
            return
        names = {application.name for application in latest.applications}
        same = (latest.broker, latest.user, latest.password) == (
            self.declared.broker,
            self.declared.user,
            self.declared.password,
        )
        for name in [name for name in self._readers if name not in names or not same]:
            self._readers.pop(name).stop()
        for name in sorted(names - self._readers.keys()):
            broker = Broker(url=latest.url(name), heartbeat=self._heartbeat)
            self._readers[name] = self._start(broker, name)
        self.declared = latest

    def _start(self, broker: Broker, name: str) -> EventReader:
        reader = EventReader(broker, self._host, name)
        reader.start()
        return reader

    def close(self) -> None:
        """Stop all readers soon."""
        for reader in self._readers.values():
            reader.stop()

    def workers(self) -> list[WorkerRow]:
        """Return the declared workers of the other applications on each worker host."""
        rows = []
        hosts = sorted(self.declared.worker_hosts)
        for application in self.declared.applications:
            reader = self._readers[application.name]
            with reader.lock:
                seen = dict(reader.seen.workers)
            rows += worker_rows(application, hosts, seen, reader.reading_seconds, self._rates)
        return rows

    def failures(self) -> list[Failure]:
        """Return the failures of the other applications that were seen."""
        found: list[Failure] = []
        for reader in self._readers.values():
            with reader.lock:
                found += reader.seen.failures
        return found

    def unread(self) -> list[str]:
        """Return the applications whose events cannot be read now."""
        return sorted(name for name, reader in self._readers.items() if reader.reading_seconds is None)

    def since(self) -> dict[str, datetime.datetime]:
        """Return from when on the events of each application have been read."""
        return {name: reader.seen.since for name, reader in self._readers.items()}

    def schedules(self) -> list[tuple[BeatState, list[ScheduleRow]]]:
        """Return beat and the schedule of each other application that has one."""
        found = []
        for application in self.declared.applications:
            if application.beat:
                reader = self._readers[application.name]
                with reader.lock:
                    found.append(schedule_of(reader.seen, reader.reading_seconds))
        return found


class LastRun(BaseModel):
    """The latest run of a task: by process `pid` of `host`; `seconds` is None while it runs."""

    host: str
    pid: int
    seconds: float | None
    outcome: str | None
    error: str | None


class ScheduleRow(BaseModel):
    """An entry of the schedule of an application's beat; `every` as Celery writes it or in seconds."""

    application: str
    name: str
    task: str
    every: float | str
    next: datetime.datetime | None
    sent: datetime.datetime | None
    runs: int
    last_run: LastRun | None


def worker_rows(
    application: Application,
    hosts: Iterable[str],
    seen: dict[str, WorkerSeen],
    reading: float | None,
    rates: Rates,
) -> list[WorkerRow]:
    """Return each declared worker on each host; `reading`: for how many seconds events have arrived."""
    rows = []
    for host in hosts:
        for worker in application.workers:
            found = seen.get(f"{worker.name}@{host}")
            age = time.monotonic() - found.at if found else None
            state, reason = _worker_state(found, age, worker.options, reading)
            rate = 0.0
            if found:
                rate = rates.take(f"{application.name}/{worker.name}@{host}", found.at, found.processed)
            rows.append(
                WorkerRow(
                    application=application.name,
                    host=host,
                    name=worker.name,
                    state=state,
                    reason=reason,
                    queues=worker.queues_on(host),
                    concurrency=worker.concurrency,
                    busy=found.busy if found and state == "up" else 0,
                    rate=rate if state == "up" else 0.0,
                    heard=_heard(age),
                )
            )
    return rows


def _worker_state(
    found: WorkerSeen | None, age: float | None, options: list[str], reading: float | None
) -> tuple[State, str]:
    if found is not None and found.stopped:
        return "down", "stopped"
    if reading is not None and age is not None and age <= SILENT_SECONDS:
        return "up", ""
    unknown = ""
    if reading is None:
        unknown = NO_EVENTS
    elif NO_HEARTBEAT in options:
        unknown = f"its option {NO_HEARTBEAT} switches heartbeats off"
    elif reading <= SILENT_SECONDS:
        unknown = JUST_STARTED
    elif found is not None and any(SOLO in option for option in options):
        unknown = "no heartbeat; a worker with the pool solo sends none while a task runs"
    if unknown:
        return "unknown", unknown
    return "down", "no heartbeat" if found else "no heartbeat yet"


def own_workers(lab: LabState | None, reading: LedgerReading | None) -> list[WorkerRow]:
    """Return mosaic's workers, from the state of the lab and the heartbeats in the ledger."""
    passed = time.monotonic() - reading.at if reading else 0.0
    ages = {(one.name, one.host): one.age + passed for one in (reading.processes if reading else [])}
    return [
        WorkerRow(
            application=OWN,
            host=worker.host,
            name=instance.name,
            state=instance.state,
            reason=instance.reason,
            queues=instance.queues,
            concurrency=instance.concurrency,
            busy=instance.busy,
            rate=instance.rate,
            heard=_heard(ages.get((f"{instance.name}@{worker.host}", worker.host))),
        )
        for worker in (lab.workers if lab else [])
        for instance in worker.instances
    ]


def schedule_of(seen: Seen, reading: float | None) -> tuple[BeatState, list[ScheduleRow]]:
    """Return beat and its schedule as it reported them."""
    report = seen.beat
    age = time.monotonic() - report.at if report else 0.0
    state: State
    if reading is None:
        state, reason = "unknown", NO_EVENTS
    elif report is not None and age <= BEAT_SILENT_SECONDS:
        state, reason = "up", ""
    elif reading <= BEAT_SILENT_SECONDS:
        state, reason = "unknown", JUST_STARTED
    else:
        state, reason = "down", "no report yet" if report is None else "no report"
    beat = BeatState(
        application=seen.application,
        state=state,
        reason=reason,
        host=report.host if report else None,
        tick=None,
        tick_host=None,
    )
    rows = []
    for entry in report.entries if report else []:
        try:
            rows.append(_schedule_row(seen, entry))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            logger.debug("ignored a malformed entry of beat of %s: %r", seen.application, error)
    return beat, rows


def _schedule_row(seen: Seen, entry: dict[str, object]) -> ScheduleRow:
    task, every = str(entry["task"])[:300], entry["every"]
    return ScheduleRow(
        application=seen.application,
        name=str(entry["name"])[:300],
        task=task,
        every=float(every) if isinstance(every, int | float) else str(every).strip("<>")[:100],
        next=_time(entry.get("next")),
        sent=_time(entry.get("last")),
        runs=int(str(entry.get("runs") or 0)),
        last_run=_last_run(seen.latest.get(task)),
    )


def _last_run(task: TaskSeen | None) -> LastRun | None:
    if task is None:
        return None
    host = task.worker.rpartition("@")[2]
    seconds = None if task.seconds is None else round(task.seconds, 3)
    return LastRun(host=host, pid=task.pid, seconds=seconds, outcome=task.outcome, error=task.error)


def _heard(age: float | None) -> datetime.datetime | None:
    """Return when a heartbeat came, in whole seconds: otherwise each reading would be a change."""
    if age is None:
        return None
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)).replace(microsecond=0)


def _time(value: object) -> datetime.datetime | None:
    """Return a time from seconds since 1970."""
    if not isinstance(value, int | float):
        return None
    return datetime.datetime.fromtimestamp(round(value), datetime.UTC)

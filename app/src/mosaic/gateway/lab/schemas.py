"""The state of the lab, as the page shows it."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import BaseModel

# `late`: a part of it is missing. `unknown`: it cannot be known now.
State = Literal["up", "late", "down", "unknown"]


class ProxyServer(BaseModel):
    """A broker as a proxy sees it: HAProxy's state (UP, DOWN ...), and its sessions."""

    broker: str
    state: str
    sessions: int


class BrokerState(BaseModel):
    """A broker; `leads` is the number of queues whose leader it is, `leads_delays` that of delay levels.

    `alarms` are `memory` and `disk`.
    """

    name: str
    state: State
    reason: str
    since: datetime.datetime
    leads: int | None
    leads_delays: int | None
    alarms: list[str]
    partitions: list[str]
    memory_mb: int | None


class InstanceState(BaseModel):
    """A worker: `busy` of `concurrency` pool processes; `rate` in tasks a second."""

    name: str
    state: State
    reason: str
    pid: int
    started: datetime.datetime
    queues: list[str]
    concurrency: int
    busy: int
    rate: float
    connected: bool


class WorkerState(BaseModel):
    """A worker host with its workers and its proxy (None: it does not answer)."""

    host: str
    state: State
    reason: str
    busy: int
    concurrency: int
    rate: float
    instances: list[InstanceState]
    proxy: list[ProxyServer] | None


class DatabaseState(BaseModel):
    """The database; `answer_ms` is the duration of the console's own reading."""

    state: State
    reason: str
    answer_ms: float | None
    connections: int | None


class BeatState(BaseModel):
    """Beat of an application.

    `tick` is when a worker on `tick_host` started its latest tick; only mosaic has one.
    """

    application: str = "mosaic"
    state: State
    reason: str
    host: str | None
    tick: datetime.datetime | None
    tick_host: str | None


class Work(BaseModel):
    """Unfinished work; None while the database does not answer."""

    running_jobs: int | None = None
    waiting_parts: int | None = None
    running_parts: int | None = None


class GatewayState(BaseModel):
    """This gateway. State and reason are those of its proxy (None: it does not answer)."""

    host: str
    state: State
    reason: str
    proxy: list[ProxyServer] | None


class ApplicationState(BaseModel):
    """Another application than mosaic: how many of its workers are up."""

    name: str
    state: State
    workers_up: int
    workers: int


class LabState(BaseModel):
    """The whole lab; workers, beat and work are those of mosaic."""

    brokers: list[BrokerState]
    cluster_reason: str
    workers: list[WorkerState]
    database: DatabaseState
    beat: BeatState
    gateway: GatewayState
    work: Work
    applications: list[ApplicationState] = []
    alerts: int | None

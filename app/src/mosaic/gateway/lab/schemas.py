"""The lab at one moment, as the page shows it."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import BaseModel

# `late`: part of it is missing; `unknown`: it cannot be known now.
State = Literal["up", "late", "down", "unknown"]


class ProxyServer(BaseModel):
    """A broker as a proxy sees it: HAProxy's word (UP, DOWN ...), and the sessions on it."""

    broker: str
    state: str
    sessions: int


class BrokerState(BaseModel):
    """A broker; `leads` counts the queues whose leader it is. `alarms` are `memory` and `disk`."""

    name: str
    state: State
    reason: str
    since: datetime.datetime
    leads: int | None
    alarms: list[str]
    partitions: list[str]
    memory_mb: int | None


class InstanceState(BaseModel):
    """A worker process tree: `busy` of `concurrency` processes; `rate` in tasks a second."""

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
    """A worker host with its instances, and its proxy (None: it does not answer)."""

    host: str
    state: State
    reason: str
    busy: int
    concurrency: int
    rate: float
    instances: list[InstanceState]
    proxy: list[ProxyServer] | None


class DatabaseState(BaseModel):
    """The database; `answer_ms` is what the console's own reading took."""

    state: State
    reason: str
    answer_ms: float | None
    connections: int | None


class BeatState(BaseModel):
    """Beat; `tick` is when a worker, on `tick_host`, began its latest tick."""

    state: State
    reason: str
    host: str | None
    tick: datetime.datetime | None
    tick_host: str | None


class Work(BaseModel):
    """What is under way; None while the database does not answer."""

    running_jobs: int | None
    waiting_parts: int | None
    running_parts: int | None


class GatewayState(BaseModel):
    """This gateway; state and reason are those of its proxy (None: it does not answer)."""

    host: str
    state: State
    reason: str
    proxy: list[ProxyServer] | None


class LabState(BaseModel):
    """Everything."""

    brokers: list[BrokerState]
    cluster_reason: str
    workers: list[WorkerState]
    database: DatabaseState
    beat: BeatState
    gateway: GatewayState
    work: Work
    alerts: int | None

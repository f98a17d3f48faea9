"""Heartbeats: one row for each process, renewed every second. Ages are measured by the database's clock."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mosaic.ledger.database import seconds_from
from mosaic.ledger.models import Heartbeat

WORKER = "worker"
BEAT = "beat"

# Plain SQL on a connection of its own: see mosaic.worker.heartbeat.
RENEW = """
INSERT INTO heartbeat AS row (name, kind, host, pid, started_at, seen_at, details)
VALUES (%(name)s, %(kind)s, %(host)s, %(pid)s, clock_timestamp(), clock_timestamp(), %(details)s)
ON CONFLICT (name) DO UPDATE SET
  kind = excluded.kind, host = excluded.host, pid = excluded.pid, seen_at = excluded.seen_at,
  stopped_at = NULL, details = excluded.details,
  started_at = CASE WHEN row.pid = excluded.pid AND row.stopped_at IS NULL
                    THEN row.started_at ELSE excluded.started_at END
"""
ACKNOWLEDGED = "INSERT INTO acknowledgement (host, tasks) VALUES (%(host)s, %(tasks)s)"
END = "UPDATE heartbeat SET stopped_at = clock_timestamp() WHERE name = %(name)s AND pid = %(pid)s"


@dataclass(frozen=True)
class Source:
    """The process that sends the heartbeat: `name` is unique in the lab, `kind` is WORKER or BEAT."""

    name: str
    kind: str
    host: str
    pid: int


@dataclass(frozen=True)
class Process(Source):
    """A process as the ledger shows it; `age` is the seconds since its latest heartbeat."""

    started: datetime.datetime
    age: float
    stopped: bool
    details: dict[str, Any]


def renew(connection: psycopg.Connection, source: Source, details: dict[str, Any]) -> None:
    """Store a heartbeat of a running process."""
    connection.execute(RENEW, {**vars(source), "details": Jsonb(details)})


def acknowledged(connection: psycopg.Connection, source: Source, tasks: dict[str, float]) -> None:
    """Store when the process acknowledged tasks, by their ids."""
    connection.execute(ACKNOWLEDGED, {"host": source.host, "tasks": Jsonb(tasks)})


def end(connection: psycopg.Connection, source: Source) -> None:
    """Store that the process ended normally."""
    connection.execute(END, {"name": source.name, "pid": source.pid})


def read(session: Session) -> list[Process]:
    """Return every known process, by name."""
    query = select(
        Heartbeat.name,
        Heartbeat.kind,
        Heartbeat.host,
        Heartbeat.pid,
        Heartbeat.started_at,
        seconds_from(Heartbeat.seen_at, func.clock_timestamp()),
        Heartbeat.stopped_at.is_not(None),
        Heartbeat.details,
    )
    return [Process(*row) for row in session.execute(query.order_by(Heartbeat.name))]

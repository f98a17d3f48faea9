"""Heartbeats: a row for each process, renewed by it each second; ages by the database's clock."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import func, select
from sqlalchemy.orm import Session

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
END = "UPDATE heartbeat SET stopped_at = clock_timestamp() WHERE name = %(name)s AND pid = %(pid)s"


@dataclass(frozen=True)
class Source:
    """Who sends the heartbeat: `name` is unique in the lab, `kind` is WORKER or BEAT."""

    name: str
    kind: str
    host: str
    pid: int


@dataclass(frozen=True)
class Process:
    """What the ledger knows of a process; `age` in seconds since its latest heartbeat."""

    name: str
    kind: str
    host: str
    pid: int
    started: datetime.datetime
    age: float
    stopped: bool
    details: dict[str, Any]


def renew(connection: psycopg.Connection, source: Source, details: dict[str, Any]) -> None:
    """Enter that the process runs, and what it does."""
    connection.execute(RENEW, {**vars(source), "details": Jsonb(details)})


def end(connection: psycopg.Connection, source: Source) -> None:
    """Enter that the process ends in order."""
    connection.execute(END, {"name": source.name, "pid": source.pid})


def read(session: Session) -> list[Process]:
    """Return every process that is known, by name."""
    age = func.extract("epoch", func.clock_timestamp() - Heartbeat.seen_at)
    rows = session.execute(select(Heartbeat, age).order_by(Heartbeat.name))
    return [
        Process(
            name=row.name,
            kind=row.kind,
            host=row.host,
            pid=row.pid,
            started=row.started_at,
            age=float(seconds),
            stopped=row.stopped_at is not None,
            details=row.details,
        )
        for row, seconds in rows
    ]

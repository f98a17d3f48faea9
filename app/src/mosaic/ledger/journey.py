"""The way of a part's message, from the user's click to the acknowledgement, with each time and its clock."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mosaic.ledger.models import Acknowledgement, Attempt, Job, Part

DATABASE = "database"
# A worker stores its acknowledgements with the next heartbeat. It waits for an unavailable database.
STORED_SECONDS = 60


@dataclass(frozen=True)
class Step:
    """A step: what happened, when (None: unknown or not yet), on which host, and whose clock said so."""

    name: str
    at: datetime.datetime | None
    host: str | None
    clock: str


@dataclass(frozen=True)
class Journey:
    """The way of the latest message of a part; `waiting` and `working` are in seconds, None: not known yet.

    `waiting` is from the submission of the job to the start, `working` from the start to the stored result:
    both by the database's clock alone.
    """

    part: int
    attempt: int
    pid: int | None
    redelivered: bool
    steps: list[Step]
    waiting: float | None
    working: float | None


def journey(session: Session, job_id: uuid.UUID, index: int) -> Journey | None:
    """Return the way of a part's latest message; None: there is no such part."""
    of_part = select(Job).join(Part, Part.job_id == Job.id).where(Job.id == job_id, Part.index == index)
    job = session.scalars(of_part).first()
    if job is None:
        return None
    attempt = session.scalars(
        select(Attempt)
        .where(Attempt.job_id == job_id, Attempt.index == index)
        .order_by(Attempt.number.desc(), Attempt.id.desc())
        .limit(1)
    ).first()
    message: dict[str, Any] = (attempt.message if attempt else None) or {}
    host = attempt.host if attempt else None
    broker = str(message["broker"]).removeprefix("rabbit@") if "broker" in message else None
    started, ended = (attempt.started_at, attempt.ended_at) if attempt else (None, None)
    steps = [
        Step("submitted", job.created_at, None, DATABASE),
        Step("confirmed", job.confirmed_at, None, DATABASE),
        Step("queued", _time(message.get("queued"), 1000), broker, broker or "broker"),
        Step("received", _time(message.get("received"), 1), host, host or "worker host"),
        Step("started", started, host, DATABASE),
        Step("finished", ended, host, DATABASE),
        Step("acknowledged", _acknowledged(session, attempt), host, host or "worker host"),
    ]
    return Journey(
        part=index,
        attempt=attempt.number if attempt else 0,
        pid=attempt.pid if attempt else None,
        redelivered=bool(attempt and attempt.redelivered),
        steps=steps,
        waiting=_seconds(job.created_at, started),
        working=_seconds(started, ended),
    )


def _acknowledged(session: Session, attempt: Attempt | None) -> datetime.datetime | None:
    if attempt is None or attempt.ended_at is None:
        return None
    until = attempt.ended_at + datetime.timedelta(seconds=STORED_SECONDS)
    seconds = session.scalar(
        select(Acknowledgement.tasks[attempt.task_id].astext)
        .where(
            Acknowledgement.stored_at.between(attempt.started_at, until),
            Acknowledgement.host == attempt.host,
            Acknowledgement.tasks.has_key(attempt.task_id),
        )
        .order_by(Acknowledgement.stored_at)
        .limit(1)
    )
    return _time(None if seconds is None else float(seconds), 1)


def _time(value: Any, per_second: int) -> datetime.datetime | None:
    if not isinstance(value, int | float):
        return None
    return datetime.datetime.fromtimestamp(value / per_second, datetime.UTC)


def _seconds(start: datetime.datetime | None, end: datetime.datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if start and end else None

"""How a job goes on: what changed since a moment, and each attempt at its parts."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from mosaic.ledger.jobs import PartView, part_views
from mosaic.ledger.models import Attempt, Job, Part

# A change bears the time of its statement and shows at its commit, a little later.
OVERLAP = datetime.timedelta(seconds=2)


@dataclass(frozen=True)
class Change:
    """A job at `now`, by the database's clock, and those of its parts that changed since the last reading."""

    now: datetime.datetime
    kind: str
    state: str
    error: str | None
    created: datetime.datetime
    finished: datetime.datetime | None
    parts: list[PartView]


@dataclass(frozen=True)
class AttemptView:
    """One start of a part's task; `seconds` until its end, None while it runs or when it was lost.

    One that resumed `began` at that share of the part, and computed at most `again` seconds of it once more.
    """

    part: int
    number: int
    host: str
    pid: int
    redelivered: bool
    started: datetime.datetime
    seconds: float | None
    outcome: str | None
    error: str | None
    began: float | None
    again: float | None


def changes(session: Session, job_id: uuid.UUID, since: datetime.datetime | None) -> Change | None:
    """Return the job with the parts that changed after `since`, all of them without it; None: no such job.

    Some parts are returned again: the reader tells by their content whether they are new to it.
    """
    job = session.get(Job, job_id)
    if job is None:
        return None
    now = session.execute(select(func.clock_timestamp())).scalar_one()
    changed = []
    if since is not None:
        after = since - OVERLAP
        changed.append(or_(Part.started_at > after, Part.ended_at > after, Part.reported_at > after))
    parts = part_views(session, job_id, *changed)
    return Change(now, job.kind, job.state, job.error, job.created_at, job.finished_at, parts)


def attempts(session: Session, job_id: uuid.UUID, part: int | None, limit: int) -> list[AttemptView]:
    """Return attempts at a job's parts, or at one of them, the latest first."""
    query = select(Attempt).where(Attempt.job_id == job_id)
    if part is not None:
        query = query.where(Attempt.index == part)
    rows = session.scalars(query.order_by(Attempt.started_at.desc(), Attempt.id.desc()).limit(limit))
    return [
        AttemptView(
            part=row.index if row.index is not None else -1,
            number=row.number,
            host=row.host,
            pid=row.pid,
            redelivered=row.redelivered,
            started=row.started_at,
            seconds=(row.ended_at - row.started_at).total_seconds() if row.ended_at else None,
            outcome=row.outcome,
            error=row.error,
            began=row.began,
            again=row.again,
        )
        for row in rows
    ]

"""The progress of a job: what changed since a moment, and each attempt at its parts."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from mosaic.ledger.database import clock, seconds_from
from mosaic.ledger.jobs import PartView, part_views
from mosaic.ledger.models import Attempt, Job, Part

# A change has the time of its statement, but becomes visible with the commit, a little later.
OVERLAP = datetime.timedelta(seconds=2)


@dataclass(frozen=True)
class Change:
    """A job at `now` by the database's clock, with the parts that changed since the last reading."""

    now: datetime.datetime
    job: Job
    parts: list[PartView]


@dataclass(frozen=True)
class AttemptView:
    """One start of a part's task; `seconds` is how long it took, None while it runs or if it was lost.

    An attempt that resumed started at the progress `began`. It computed at most `again` seconds a second
    time.
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
    """Return the job with the parts that changed after `since`; all parts if it is None. None: no such job.

    Some parts are returned a second time. The reader has to compare their content.
    """
    job = session.get(Job, job_id)
    if job is None:
        return None
    now = clock(session)
    changed = []
    if since is not None:
        after = since - OVERLAP
        changed.append(or_(Part.started_at > after, Part.ended_at > after, Part.reported_at > after))
    return Change(now, job, part_views(session, job_id, *changed))


def attempts(session: Session, job_id: uuid.UUID, part: int | None, limit: int) -> list[AttemptView]:
    """Return the attempts at a job's parts, or at one of them, latest first."""
    query = select(
        Attempt.index,
        Attempt.number,
        Attempt.host,
        Attempt.pid,
        Attempt.redelivered,
        Attempt.started_at,
        seconds_from(Attempt.started_at, Attempt.ended_at),
        Attempt.outcome,
        Attempt.error,
        Attempt.began,
        Attempt.again,
    ).where(Attempt.job_id == job_id)
    if part is not None:
        query = query.where(Attempt.index == part)
    rows = session.execute(query.order_by(Attempt.started_at.desc(), Attempt.id.desc()).limit(limit))
    return [AttemptView(*tuple(row)) for row in rows]

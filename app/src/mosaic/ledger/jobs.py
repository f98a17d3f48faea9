"""Jobs: stored when they are submitted, and read."""

from __future__ import annotations

import datetime
import io
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from mosaic.ledger.database import clock
from mosaic.ledger.models import DONE, NORMAL, RUNNING, Attempt, Blob, Job, Part

# To read a row, libpq needs several times its size, and keeps a buffer of this size for the connection.
PIECE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class PlannedPart:
    """A part to store: the task that does it, and its parameters (JSON)."""

    task: str
    params: dict[str, Any]
    joins: bool = False


@dataclass(frozen=True)
class PlannedBlob:
    """Bytes that the job's tasks read; `role` is source or text."""

    role: str
    index: int
    content_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class JobPlan:
    """A job to store."""

    kind: str
    params: dict[str, Any]
    parts: Sequence[PlannedPart]
    blobs: Sequence[PlannedBlob] = ()


@dataclass(frozen=True)
class TaskCall:
    """A task to publish: its name and positional arguments (JSON). Celery creates a missing `task_id`."""

    task: str
    args: tuple[Any, ...]
    task_id: str | None = None
    priority: str = NORMAL


@dataclass(frozen=True)
class PartView:
    """The part with index `part`; `progress`, from 0 to 1, is None if its task does not report it."""

    part: int
    state: str
    host: str | None
    pid: int | None
    attempts: int
    started: datetime.datetime | None
    ended: datetime.datetime | None
    error: str | None
    progress: float | None
    reported: datetime.datetime | None

    @property
    def share(self) -> float:
        """How much of the part is done, from 0 to 1; 0 while its task reports nothing."""
        return 1.0 if self.state == DONE else self.progress or 0.0


@dataclass(frozen=True)
class JobSummary:
    """A job without its parts. `by_host` counts its done parts; `seconds` is its run time.

    `progress`, from 0 to 1, is the share of the work that is done, including the progress inside parts.
    """

    job: uuid.UUID
    kind: str
    priority: str
    state: str
    created: datetime.datetime
    seconds: float
    total: int
    done: int
    progress: float
    by_host: dict[str, int]
    error: str | None
    params: dict[str, Any]


@dataclass(frozen=True)
class JobView(JobSummary):
    """A job with its parts."""

    parts: list[PartView]


def enter(session: Session, plan: JobPlan, priority: str = NORMAL) -> tuple[uuid.UUID, list[TaskCall]]:
    """Store a job with its parts; return its id and the task calls to publish after the commit."""
    job_id = uuid.uuid4()
    session.execute(insert(Job).values(id=job_id, kind=plan.kind, params=plan.params, priority=priority))
    parts = [{"job_id": job_id, "index": index, **vars(part)} for index, part in enumerate(plan.parts)]
    session.execute(insert(Part), parts)
    if plan.blobs:
        session.execute(insert(Blob), [{"job_id": job_id, **vars(blob)} for blob in plan.blobs])
    return job_id, [
        TaskCall(part.task, (str(job_id), i), priority=priority)
        for i, part in enumerate(plan.parts)
        if not part.joins
    ]


def withdraw(session: Session, job_id: uuid.UUID) -> None:
    """Delete a job that could not be published. Its tasks that were published find no part and end."""
    session.execute(delete(Job).where(Job.id == job_id))


def confirm(session: Session, job_id: uuid.UUID) -> None:
    """Store that the broker has confirmed all messages that the gateway published for a job."""
    session.execute(update(Job).where(Job.id == job_id).values(confirmed_at=func.clock_timestamp()))


def running(session: Session) -> int:
    """Return the number of running jobs."""
    return session.scalar(select(func.count()).select_from(Job).where(Job.state == RUNNING)) or 0


def latest_ids(session: Session, limit: int) -> list[uuid.UUID]:
    """Return the ids of the latest jobs, newest first."""
    return list(session.scalars(select(Job.id).order_by(Job.created_at.desc()).limit(limit)))


def summaries(session: Session, ids: Sequence[uuid.UUID]) -> list[JobSummary]:
    """Return jobs without their parts, newest first."""
    if not ids:
        return []
    found = session.scalars(select(Job).where(Job.id.in_(ids)).order_by(Job.created_at.desc())).all()
    counts: dict[uuid.UUID, Counter[tuple[str, str | None]]] = {job.id: Counter() for job in found}
    shares = dict.fromkeys(counts, 0.0)
    rows = session.execute(
        select(Part.job_id, Part.state, Part.host, func.count(), func.sum(Part.progress))
        .where(Part.job_id.in_(counts))
        .group_by(Part.job_id, Part.state, Part.host)
    )
    for job_id, state, host, count, progress in rows:
        counts[job_id][state, host] += count
        shares[job_id] += count if state == DONE else progress or 0
    now = clock(session)
    return [_summary(job, now, counts[job.id], shares[job.id]) for job in found]


def recent(session: Session, limit: int) -> list[JobSummary]:
    """Return the latest jobs, newest first."""
    return summaries(session, latest_ids(session, limit))


def part_views(session: Session, job_id: uuid.UUID, *conditions: ColumnElement[bool]) -> list[PartView]:
    """Return the parts of a job that meet all conditions, in their order."""
    query = select(
        Part.index,
        Part.state,
        Part.host,
        Part.pid,
        Part.attempts,
        Part.started_at,
        Part.ended_at,
        Part.error,
        Part.progress,
        Part.reported_at,
    ).where(Part.job_id == job_id, *conditions)
    return [PartView(*tuple(row)) for row in session.execute(query.order_by(Part.index))]


def find(session: Session, job_id: uuid.UUID) -> JobView | None:
    """Return a job with its parts, or None if there is no such job."""
    job = session.get(Job, job_id)
    if job is None:
        return None
    parts = part_views(session, job_id)
    return JobView(**vars(summary(job, clock(session), parts)), parts=parts)


def summary(job: Job, now: datetime.datetime, parts: Collection[PartView]) -> JobSummary:
    """Return a job's summary from all of its parts."""
    counts = Counter((part.state, part.host) for part in parts)
    return _summary(job, now, counts, sum(part.share for part in parts))


def _summary(
    job: Job, now: datetime.datetime, counts: Counter[tuple[str, str | None]], share: float
) -> JobSummary:
    by_host: Counter[str] = Counter()
    for (state, host), count in counts.items():
        if state == DONE and host is not None:
            by_host[host] += count
    return JobSummary(
        job=job.id,
        kind=job.kind,
        priority=job.priority,
        state=job.state,
        created=job.created_at,
        seconds=round(((job.finished_at or now) - job.created_at).total_seconds(), 3),
        total=counts.total(),
        done=sum(count for (state, _), count in counts.items() if state == DONE),
        progress=round(share / max(1, counts.total()), 4),
        by_host=dict(sorted(by_host.items())),
        error=job.error,
        params=job.params,
    )


def blob(session: Session, job_id: uuid.UUID, role: str, index: int = 0) -> Blob | None:
    """Return one blob of a job, or None."""
    return session.get(Blob, (job_id, role, index))


def content(session: Session, job_id: uuid.UUID, role: str, index: int = 0) -> bytes | None:
    """Return the bytes of one blob, or None. They are read in pieces: see PIECE_BYTES."""
    file = io.BytesIO()
    while file.write(piece(session, job_id, role, index, file.tell())) == PIECE_BYTES:
        pass
    return file.getvalue() or None


def piece(session: Session, job_id: uuid.UUID, role: str, index: int, start: int) -> bytes:
    """Return up to PIECE_BYTES of one blob from the byte `start`; nothing after its end."""
    data = func.substring(Blob.data, start + 1, PIECE_BYTES, type_=LargeBinary)
    query = select(data).where(Blob.job_id == job_id, Blob.role == role, Blob.index == index)
    return session.scalar(query) or b""


def add_blob(session: Session, job_id: uuid.UUID, blob: PlannedBlob) -> None:
    """Store a blob of a job, unless there is one for this role and index."""
    session.execute(upsert(Blob).values(job_id=job_id, **vars(blob)).on_conflict_do_nothing())


def part_picture(session: Session, job_id: uuid.UUID, index: int) -> tuple[str, int, bytes] | None:
    """Return role (tile or size), length and first piece of a part's PNG, or None if there is none yet."""
    data = func.substring(Blob.data, 1, PIECE_BYTES, type_=LargeBinary)
    query = select(Blob.role, func.octet_length(Blob.data), data).where(
        Blob.job_id == job_id, Blob.index == index, Blob.role.in_(("tile", "size"))
    )
    row = session.execute(query).first()
    return None if row is None else (row[0], row[1], row[2])


def blobs(
    session: Session, job_id: uuid.UUID, role: str, *conditions: ColumnElement[bool]
) -> list[tuple[int, bytes, str | None]]:
    """Return a job's blobs of one role by index: (index, bytes, host that did the part)."""
    rows = session.execute(
        select(Blob.index, Blob.data, Part.host)
        .outerjoin(Part, (Part.job_id == Blob.job_id) & (Part.index == Blob.index))
        .where(Blob.job_id == job_id, Blob.role == role, *conditions)
        .order_by(Blob.index)
    )
    return [(index, data, host) for index, data, host in rows]


def result(session: Session, job_id: uuid.UUID) -> dict[str, Any] | None:
    """Return the result of the part that joins the others, or None until it is done."""
    return session.scalar(select(Part.result).where(Part.job_id == job_id, Part.joins, Part.state == DONE))


def part_results(session: Session, job_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return the results of the done parts, except the one that joins them, by index."""
    rows = session.scalars(
        select(Part.result).where(Part.job_id == job_id, ~Part.joins, Part.state == DONE).order_by(Part.index)
    )
    return [row for row in rows if row is not None]


def finished_attempts(session: Session, task_ids: Sequence[str]) -> list[Attempt]:
    """Return the successful attempts of these task ids, e.g. of probes."""
    query = select(Attempt).where(Attempt.task_id.in_(task_ids), Attempt.outcome == DONE)
    return list(session.scalars(query.order_by(Attempt.ended_at)))

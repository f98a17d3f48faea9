"""What the API answers about jobs."""

from __future__ import annotations

import datetime
import uuid
from typing import Any, Self

from pydantic import BaseModel

from mosaic.ledger.jobs import JobView, PartView
from mosaic.ledger.progress import AttemptView


class Accepted(BaseModel):
    """The answer to a submission."""

    job: uuid.UUID
    parts: int


class PartAnswer(BaseModel):
    """One part of a job; `progress`, from 0 to 1, is null where its task does not report."""

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

    @classmethod
    def of(cls, part: PartView) -> PartAnswer:
        """Return the answer for a part as the ledger shows it."""
        return cls(part=part.index, **vars(part))


class JobSummary(BaseModel):
    """A job without its parts."""

    job: uuid.UUID
    kind: str
    state: str
    created: datetime.datetime
    seconds: float
    total: int
    done: int
    progress: float
    by_host: dict[str, int]
    error: str | None
    params: dict[str, Any]

    @classmethod
    def of(cls, view: JobView) -> Self:
        """Return the answer for a job as the ledger shows it."""
        parts = [PartAnswer.of(part) for part in view.parts]
        return cls(job=view.id, **{**vars(view), "parts": parts})


class JobAnswer(JobSummary):
    """A job with its parts."""

    parts: list[PartAnswer]


class AttemptList(BaseModel):
    """The latest attempts at a job's parts, newest first."""

    attempts: list[AttemptView]


class Cancelled(BaseModel):
    """The answer to a cancellation: the state that the job now has."""

    job: uuid.UUID
    state: str


class JobList(BaseModel):
    """The latest jobs, newest first."""

    jobs: list[JobSummary]

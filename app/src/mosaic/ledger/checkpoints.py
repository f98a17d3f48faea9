"""Progress inside a part: reported while an attempt runs, and given to the one that resumes the part.

The part names its latest attempt, and nobody else may report: an attempt whose host was only cut off cannot
set back the one that has taken over.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from mosaic.ledger.models import DISCARDED, DONE, DUPLICATE, RUNNING, Attempt, Part
from mosaic.ledger.work import PartWork

REPORT_SECONDS = 1.0


class AttemptOverError(Exception):
    """The attempt is to end: its part was cancelled, has ended, or is another attempt's now."""


def report(session: Session, part: PartWork, fraction: float, state: dict[str, Any]) -> None:
    """Keep how far the attempt is, and from where another one resumes (JSON). Raises AttemptOverError."""
    kept = session.execute(
        update(Part)
        .where(
            Part.job_id == part.job_id,
            Part.index == part.index,
            Part.state == RUNNING,
            Part.latest_attempt == part.attempt,
        )
        .values(progress=fraction, checkpoint=state, reported_at=func.clock_timestamp())
        .returning(Part.index)
    ).first()
    if kept is None:
        raise AttemptOverError


def seconds_again(session: Session, job_id: uuid.UUID) -> float:
    """Return how many seconds at most the attempts of a job computed again."""
    return session.scalar(select(func.sum(Attempt.again)).where(Attempt.job_id == job_id)) or 0.0


def leave(session: Session, part: PartWork) -> None:
    """Record the end of an attempt that is over; one that another took over counts as lost already."""
    state = session.scalar(select(Part.state).where(Part.job_id == part.job_id, Part.index == part.index))
    session.execute(
        update(Attempt)
        .where(Attempt.id == part.attempt, Attempt.outcome.is_(None))
        .values(outcome=DUPLICATE if state == DONE else DISCARDED, ended_at=func.clock_timestamp())
    )

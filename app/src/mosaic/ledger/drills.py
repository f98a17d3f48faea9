"""Units of a drill: each start is an attempt, and the first attempt that ends stores the unit's effect.

Times come from the database's clock, so that times of all hosts can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Float, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from mosaic.ledger.models import DONE, DUPLICATE, DrillAttempt, DrillEffect
from mosaic.ledger.work import Runner


@dataclass(frozen=True)
class Unit:
    """A unit of work: the drill's run, and the number that the producer gave it."""

    run: str
    number: int


@dataclass(frozen=True)
class Begun:
    """A started attempt: the id of its row, and its number among the attempts at the unit, from 1."""

    attempt: int
    number: int


def begin(session: Session, unit: Unit, runner: Runner) -> Begun | None:
    """Store the start of an attempt. None: the unit has its effect already, so this is a duplicate."""
    mine = (DrillAttempt.run == unit.run, DrillAttempt.unit == unit.number)
    number = 1 + (session.scalar(select(func.count()).select_from(DrillAttempt).where(*mine)) or 0)
    done = session.get(DrillEffect, (unit.run, unit.number)) is not None
    attempt = session.execute(
        insert(DrillAttempt)
        .values(
            run=unit.run,
            unit=unit.number,
            number=number,
            task_id=runner.task_id,
            redelivered=runner.redelivered,
            host=runner.host,
            pid=runner.pid,
            started_at=func.clock_timestamp(),
            ended_at=func.clock_timestamp() if done else None,
            outcome=DUPLICATE if done else None,
        )
        .returning(DrillAttempt.id)
    ).scalar_one()
    return None if done else Begun(attempt, number)


def finish(session: Session, unit: Unit, begun: Begun) -> None:
    """Store the attempt's end, and the unit's effect unless another attempt has stored it."""
    first = session.execute(
        upsert(DrillEffect)
        .values(run=unit.run, unit=unit.number, attempt=begun.attempt)
        .on_conflict_do_nothing()
        .returning(DrillEffect.unit)
    ).first()
    session.execute(
        update(DrillAttempt)
        .where(DrillAttempt.id == begun.attempt)
        .values(outcome=DONE if first else DUPLICATE, ended_at=func.clock_timestamp())
    )


def executed(session: Session, run: str) -> int:
    """Return how many units of the run have their effect."""
    return session.scalar(select(func.count()).where(DrillEffect.run == run)) or 0


def attempts(session: Session, run: str) -> list[dict[str, Any]]:
    """Return every attempt of the run, in the order of their starts; times in seconds since 1970."""
    query = select(
        DrillAttempt.id,
        DrillAttempt.unit,
        DrillAttempt.number,
        DrillAttempt.host,
        DrillAttempt.pid,
        DrillAttempt.redelivered,
        func.extract("epoch", DrillAttempt.started_at).cast(Float).label("started"),
        func.extract("epoch", DrillAttempt.ended_at).cast(Float).label("ended"),
        DrillAttempt.outcome,
    )
    rows = session.execute(query.where(DrillAttempt.run == run).order_by(DrillAttempt.started_at))
    return [row._asdict() for row in rows]


def effects(session: Session, run: str) -> dict[int, int]:
    """Return the attempt that stored the effect, by unit."""
    rows = select(DrillEffect.unit, DrillEffect.attempt).where(DrillEffect.run == run)
    return {row.unit: row.attempt for row in session.execute(rows)}


def runner_of(session: Session, unit: Unit) -> tuple[str, int] | None:
    """Return host and process id of the unit's newest attempt that has not ended; None: there is none."""
    mine = (DrillAttempt.run == unit.run, DrillAttempt.unit == unit.number, DrillAttempt.ended_at.is_(None))
    row = session.execute(
        select(DrillAttempt.host, DrillAttempt.pid).where(*mine).order_by(DrillAttempt.id.desc()).limit(1)
    ).first()
    return (row.host, row.pid) if row else None

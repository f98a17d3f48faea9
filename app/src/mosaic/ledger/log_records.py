"""Log records of all hosts."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from mosaic.ledger.models import LogRecord


@dataclass(frozen=True)
class Entry:
    """One journal entry; `severity` is 0 (emerg) to 7 (debug); `message_id` is unique to the entry."""

    message_id: str
    host: str
    severity: int
    unit: str
    message: str
    logged_at: datetime.datetime


def store(session: Session, entries: Sequence[Entry]) -> int:
    """Store entries, each once whatever the number of deliveries; return how many were new."""
    if not entries:
        return 0
    statement = upsert(LogRecord).on_conflict_do_nothing(index_elements=["message_id"])
    rows = session.scalars(statement.returning(LogRecord.id), [asdict(entry) for entry in entries])
    return len(rows.all())


def latest(
    session: Session, limit: int, host: str | None = None, severity: int | None = None
) -> list[LogRecord]:
    """Return the latest records, newest first: of one host, and as severe as `severity` or more."""
    query = select(LogRecord).order_by(LogRecord.logged_at.desc(), LogRecord.id.desc()).limit(limit)
    if host is not None:
        query = query.where(LogRecord.host == host)
    if severity is not None:
        query = query.where(LogRecord.severity <= severity)
    return list(session.scalars(query))


def since(session: Session, after: datetime.datetime | None, limit: int) -> list[Entry]:
    """Return the latest `limit` records that were written after `after`, or at any time, oldest first."""
    query = select(LogRecord).order_by(LogRecord.logged_at.desc(), LogRecord.id.desc()).limit(limit)
    if after is not None:
        query = query.where(LogRecord.logged_at > after)
    return [
        Entry(row.message_id, row.host, row.severity, row.unit, row.message, row.logged_at)
        for row in reversed(session.scalars(query).all())
    ]

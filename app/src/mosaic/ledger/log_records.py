"""Log records of all hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, Field
from pydantic.dataclasses import dataclass
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from mosaic.ledger.models import LogRecord


def _storable(value: object) -> str:
    """Return text that PostgreSQL accepts: without NUL, without a lone surrogate."""
    return str(value).replace("\0", "").encode("utf-8", "replace").decode("utf-8")


Text = Annotated[str, BeforeValidator(_storable)]


@dataclass(frozen=True)
class Entry:
    """One journal entry; `severity` is 0 (emerg) to 7 (debug); `message_id` is unique."""

    message_id: Annotated[str, Field(min_length=1)]
    host: Text
    severity: Annotated[int, Field(ge=0, le=7)]
    unit: Text
    message: Text
    logged_at: AwareDatetime


def store(session: Session, entries: Sequence[Entry]) -> int:
    """Store each entry once, however often it is delivered; return how many are new."""
    if not entries:
        return 0
    statement = upsert(LogRecord).on_conflict_do_nothing(index_elements=["message_id"])
    rows = session.scalars(statement.returning(LogRecord.id), [asdict(entry) for entry in entries])
    return len(rows.all())


def latest(
    session: Session,
    limit: int,
    host: str | None = None,
    severity: int | None = None,
    after: datetime | None = None,
) -> list[Entry]:
    """Return the latest records, newest first, if asked only those of a host, a severity or a time."""
    query = select(LogRecord).order_by(LogRecord.logged_at.desc(), LogRecord.id.desc()).limit(limit)
    if host is not None:
        query = query.where(LogRecord.host == host)
    if severity is not None:
        query = query.where(LogRecord.severity <= severity)
    if after is not None:
        query = query.where(LogRecord.logged_at > after)
    return [
        Entry(row.message_id, row.host, row.severity, row.unit, row.message, row.logged_at)
        for row in session.scalars(query)
    ]

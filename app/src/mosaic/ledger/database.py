"""One engine for each process, transactions on it, and expressions for times."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from celery_durable.settings import POSTGRESQL_CONNECT_ARGUMENTS
from psycopg.errors import IdleInTransactionSessionTimeout
from sqlalchemy import ColumnElement, Engine, Float, create_engine, event, func, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from mosaic.config import load_config

# The database is unavailable or has ended the session. The statement itself is correct.
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeoutError)


def make_engine(url: str, pool_size: int = 2) -> Engine:
    """Return an engine that checks each connection before it is used."""
    made = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=10,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args=POSTGRESQL_CONNECT_ARGUMENTS,
    )
    event.listen(made, "handle_error", _name_ended_session, retval=True)
    return made


def _name_ended_session(context: ExceptionContext) -> Exception | None:
    """Treat a session that PostgreSQL ended, because this host was frozen, as a lost connection.

    Its SQLSTATE is one of the internal errors, which otherwise show a bug in the program.
    """
    error = context.original_exception
    if not isinstance(error, IdleInTransactionSessionTimeout):
        return None
    context.is_disconnect = True
    return OperationalError(context.statement, context.parameters, error, connection_invalidated=True)


@cache
def engine() -> Engine:
    """Return the engine of this process; the first call creates it."""
    return make_engine(load_config().database.url)


@contextmanager
def transaction() -> Iterator[Session]:
    """Yield a session in a transaction: commit at the end, rollback on an exception."""
    with Session(engine(), expire_on_commit=False) as session, session.begin():
        yield session


def forget_after_fork() -> None:
    """Drop connections inherited from the parent process without closing them: the parent still uses them."""
    if engine.cache_info().currsize:
        engine().dispose(close=False)


def clock(session: Session) -> datetime.datetime:
    """Return the database's time."""
    now: datetime.datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now


def seconds_from(start: Any, end: Any) -> ColumnElement[float]:
    """Return the SQL expression for the seconds between two times; null if one of them is null."""
    return func.extract("epoch", end - start).cast(Float)

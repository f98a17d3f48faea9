"""One engine for each process, transactions on it, and expressions for times."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import psycopg
from celery_durable.settings import POSTGRESQL_CONNECT_ARGUMENTS
from psycopg.errors import IdleInTransactionSessionTimeout
from sqlalchemy import ColumnElement, Engine, Float, create_engine, event, func, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from mosaic.config import load_config

# The database is unavailable or has ended the session. The statement itself is correct.
DATABASE_AWAY = (
    OperationalError,
    InterfaceError,
    PoolTimeoutError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
IDLE_SECONDS = 1.0


def make_engine(url: str, pool_size: int = 2) -> Engine:
    """Return an engine that checks a connection before it is used, if it was idle for IDLE_SECONDS."""
    made = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=10,
        pool_timeout=5,
        connect_args=POSTGRESQL_CONNECT_ARGUMENTS,
    )
    event.listen(made, "handle_error", _name_ended_session, retval=True)
    event.listen(made, "checkin", _note_use)
    event.listen(made, "checkout", _check_if_idle)
    return made


def _note_use(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["used"] = time.monotonic()


def _check_if_idle(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """Let the pool replace a lost connection. To ask one that was just used would cost a round trip."""
    used = record.info.get("used")
    if used is None or time.monotonic() - used < IDLE_SECONDS:
        return
    try:
        connection.execute("")
        connection.rollback()
    except psycopg.Error as error:
        raise DisconnectionError from error


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


@contextmanager
def connection() -> Iterator[psycopg.Connection]:
    """Yield a connection of the same pool without a session: each statement is a transaction.

    Raises DATABASE_AWAY.
    """
    pooled = engine().raw_connection()
    try:
        direct = cast(psycopg.Connection, pooled.driver_connection)
        direct.autocommit = True
        yield direct
        direct.autocommit = False
    except BaseException:
        pooled.invalidate()
        raise
    finally:
        pooled.close()


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

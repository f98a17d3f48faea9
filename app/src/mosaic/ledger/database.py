"""One engine a process, and transactions on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from psycopg.errors import IdleInTransactionSessionTimeout
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from mosaic.config import load_config

# A database host that is gone is noticed within 15 s. Seconds, the last one milliseconds.
CONNECT_ARGUMENTS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}
# The database is away, or has ended the session: nothing is wrong with what was asked of it.
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeoutError)


def make_engine(url: str, pool_size: int = 2) -> Engine:
    """Return an engine that finds a dead connection before it uses it."""
    made = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=10,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args=CONNECT_ARGUMENTS,
    )
    event.listen(made, "handle_error", _name_ended_session, retval=True)
    return made


def _name_ended_session(context: ExceptionContext) -> Exception | None:
    """Take a session that the server ended, its host having stood still, for the lost connection that it is.

    Its SQLSTATE puts it among the internal errors, which are otherwise mistakes of the program.
    """
    error = context.original_exception
    if not isinstance(error, IdleInTransactionSessionTimeout):
        return None
    context.is_disconnect = True
    return OperationalError(context.statement, context.parameters, error, connection_invalidated=True)


@cache
def engine() -> Engine:
    """Return this process's engine, made on first use."""
    return make_engine(load_config().database.url)


@contextmanager
def transaction() -> Iterator[Session]:
    """Yield a session in a transaction: committed at the end, rolled back on an exception."""
    with Session(engine(), expire_on_commit=False) as session, session.begin():
        yield session


def forget_after_fork() -> None:
    """Drop connections inherited from the parent process without closing them: they are the parent's."""
    if engine.cache_info().currsize:
        engine().dispose(close=False)

"""Units that stay at work until the load lets them go, however long a fault takes to reach their host."""

from __future__ import annotations

import time
from contextlib import suppress

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from mosaic.ledger.database import engine, transaction
from mosaic.ledger.drills import Unit

POLL_SECONDS = 0.2


class Hold:
    """A lock in the database that keeps one unit at work; it also goes when this process does."""

    def __init__(self, unit: Unit) -> None:
        """Take it, before the unit is published. Raises SQLAlchemyError."""
        self._connection: Connection = engine().connect().execution_options(isolation_level="AUTOCOMMIT")
        self._connection.execute(select(func.pg_advisory_lock(func.hashtext(unit.run), unit.number)))

    def release(self) -> None:
        """Let the unit go; without a database it goes anyway."""
        with suppress(SQLAlchemyError):
            self._connection.invalidate()  # the lock is the session's, so that has to end
            self._connection.close()


def stay(unit: Unit, number: int, seconds: float) -> None:
    """Keep a first attempt until nobody holds the unit any more, for `seconds` at most; let others go on.

    Raises SQLAlchemyError.
    """
    if number > 1:
        return
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with transaction() as session:
            free = func.pg_try_advisory_xact_lock_shared(func.hashtext(unit.run), unit.number)
            if session.scalar(select(free)):
                return
        time.sleep(POLL_SECONDS)

"""Attempts at the units of a drill."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from mosaic.ledger import drills
from mosaic.ledger.database import engine, transaction
from mosaic.ledger.drills import Unit
from mosaic.ledger.work import Runner

POLL_SECONDS = 0.2


def attempt(kind: str, runner: Runner, run: str, number: int, *arguments: Any) -> None:
    """Do an attempt at a unit: store its start, do the work of its kind, store the effect and the end.

    If the unit has its effect already, only the attempt is stored.
    """
    unit = Unit(run, number)
    with transaction() as session:
        begun = drills.begin(session, unit, runner)
    if begun is not None:
        KINDS[kind](unit, begun.number, *arguments)
        with transaction() as session:
            drills.finish(session, unit, begun)


def work(_unit: Unit, _attempt: int, seconds: float) -> None:
    """Take `seconds`."""
    time.sleep(seconds)


def held(unit: Unit, attempt: int, seconds: float) -> None:
    """Run a first attempt until the load releases the unit, for at most `seconds`. Raises SQLAlchemyError."""
    if attempt > 1:
        return
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with transaction() as session:
            free = func.pg_try_advisory_xact_lock_shared(func.hashtext(unit.run), unit.number)
            if session.scalar(select(free)):
                return
        time.sleep(POLL_SECONDS)


def poison(_unit: Unit, _attempt: int) -> None:
    """Kill the process at every attempt, as a fault in native code does."""
    os.kill(os.getpid(), signal.SIGKILL)


def hog(_unit: Unit, attempt: int, seconds: float) -> None:
    """Take `seconds` at the first attempt, which is longer than the broker's consumer timeout."""
    if attempt == 1:
        time.sleep(seconds)


KINDS: dict[str, Callable[..., None]] = {"work": work, "held": held, "poison": poison, "hog": hog}


class Hold:
    """A lock in the database that keeps one unit running. It ends with this process at the latest."""

    def __init__(self, unit: Unit) -> None:
        """Take the lock, before the unit is published. Raises SQLAlchemyError."""
        self._connection: Connection = engine().connect().execution_options(isolation_level="AUTOCOMMIT")
        self._connection.execute(select(func.pg_advisory_lock(func.hashtext(unit.run), unit.number)))

    def release(self) -> None:
        """Release the unit. Without a database the lock has ended already."""
        with suppress(SQLAlchemyError):
            self._connection.invalidate()  # the lock belongs to the session, so this must end
            self._connection.close()

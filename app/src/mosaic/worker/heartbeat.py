"""The heartbeat that a worker or beat sends to the database once a second, from a thread of its own.

It does not use the broker, so that the console can distinguish a worker without a broker from a dead worker.
It has a psycopg connection of its own: pool processes are forked while the thread runs, and psycopg never
uses a connection of another process.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from celery_durable.settings import POSTGRESQL_CONNECT_ARGUMENTS
from sqlalchemy import make_url

from mosaic.ledger import heartbeats
from mosaic.ledger.heartbeats import Source
from mosaic.worker.message import take_acknowledged

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
# The next heartbeat replaces a lost one within a second, so none has to wait for the disk.
OPTIONS = "-c synchronous_commit=off -c statement_timeout=3000"


def connect(url: str) -> psycopg.Connection:
    """Connect by a SQLAlchemy URL; each statement is a transaction. Raises psycopg.Error."""
    parsed = make_url(url)
    _, arguments = parsed.get_dialect()().create_connect_args(parsed)
    return psycopg.connect(
        **{**POSTGRESQL_CONNECT_ARGUMENTS, **arguments, "connect_timeout": 2, "options": OPTIONS},
        autocommit=True,
    )


class HeartbeatThread:
    """Sends the heartbeats of one process until it is stopped; it waits for an unavailable database."""

    def __init__(self, url: str, source: Source, details: Callable[[], dict[str, Any]]) -> None:
        """Send as `source`, each time with the result of `details` (JSON)."""
        self._url = url
        self._source = source
        self._details = details
        self._stop = threading.Event()
        self._connection: psycopg.Connection | None = None
        self._away = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Send the end of the process and stop; waits at most 3 s."""
        self._stop.set()
        self._thread.join(timeout=3)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._execute(lambda connection: heartbeats.renew(connection, self._source, self._details()))
            self._execute(self._store_acknowledged)
            due = max(due + PERIOD_SECONDS, time.monotonic())
            self._stop.wait(due - time.monotonic())
        self._execute(self._store_acknowledged)
        self._execute(lambda connection: heartbeats.end(connection, self._source))
        self._drop()

    def _store_acknowledged(self, connection: psycopg.Connection) -> None:
        if tasks := take_acknowledged():
            heartbeats.acknowledged(connection, self._source, tasks)

    def _execute(self, what: Callable[[psycopg.Connection], None]) -> None:
        try:
            if self._connection is None:
                self._connection = connect(self._url)
            what(self._connection)
            self._away = False
        except Exception as error:
            # If the thread ended, a working host would be shown as dead.
            is_lost = isinstance(error, (psycopg.Error, OSError))
            if not self._away:
                logger.warning("no heartbeat: %s", error, exc_info=not is_lost)
            self._away = True
            if is_lost:
                self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                connection.close()

"""The heartbeat that a worker or beat sends each second, from a thread of its own, to the database.

Not over the broker: the console must distinguish a worker that lost its broker from one that died. The
connection is psycopg's own and not the engine's: pool processes are forked while the thread runs, and psycopg
never touches a connection that another process made.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import make_url

from mosaic.ledger import heartbeats
from mosaic.ledger.database import CONNECT_ARGUMENTS
from mosaic.ledger.heartbeats import Source

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
# A heartbeat that a crash of the database loses is replaced within a second: it need not wait for the disk.
OPTIONS = "-c synchronous_commit=off -c statement_timeout=3000"


def connect(url: str) -> psycopg.Connection:
    """Connect by a SQLAlchemy URL, each statement its own transaction. Raises psycopg.Error."""
    parsed = make_url(url)
    _, arguments = parsed.get_dialect()().create_connect_args(parsed)
    return psycopg.connect(
        **{**CONNECT_ARGUMENTS, **arguments, "connect_timeout": 2, "options": OPTIONS},
        autocommit=True,
    )


class HeartbeatThread:
    """Sends one process's heartbeat until it is stopped; an absent database only interrupts."""

    def __init__(self, url: str, source: Source, details: Callable[[], dict[str, Any]]) -> None:
        """Send as `source`, with what `details` returns at that moment (JSON)."""
        self._url = url
        self._source = source
        self._details = details
        self._stop = threading.Event()
        self._connection: psycopg.Connection | None = None
        self._away = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and say so; waits for 3 s at most."""
        self._stop.set()
        self._thread.join(timeout=3)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._execute(lambda connection: heartbeats.renew(connection, self._source, self._details()))
            due = max(due + PERIOD_SECONDS, time.monotonic())
            self._stop.wait(due - time.monotonic())
        self._execute(lambda connection: heartbeats.end(connection, self._source))
        self._drop()

    def _execute(self, what: Callable[[psycopg.Connection], None]) -> None:
        try:
            if self._connection is None:
                self._connection = connect(self._url)
            what(self._connection)
            self._away = False
        except (psycopg.Error, OSError) as error:
            if not self._away:
                logger.warning("no heartbeat, the database does not answer: %s", error)
            self._away = True
            self._drop()
        except Exception:
            # A thread that ends would show a host as dead that works.
            if not self._away:
                logger.exception("no heartbeat, its details could not be gathered")
            self._away = True

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                connection.close()

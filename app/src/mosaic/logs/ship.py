"""Publishing this host's journal to the topic exchange mosaic.logs, key <host>.<severity>.

The journal's cursor is written once the broker has confirmed: after a crash at most the entries of the last
reading are published again, with the same message id. Entries of this service's own unit are left out: a line
about a line would have no end.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pika
import pika.exceptions

from celery_durable import systemd
from mosaic import topology
from mosaic.config import Config, ConfigError
from mosaic.ledger.log_records import Entry
from mosaic.logging_setup import SEVERITIES
from mosaic.logs.journal import CursorFile, Journal, own_unit, to_entry
from mosaic.logs.service import Stop, connect, run_for_ever, run_until_signal

logger = logging.getLogger(__name__)

CURSOR_NAME = "log-ship.cursor"
DEFAULT_STATE_DIRECTORY = "/var/lib/mosaic"
READ_SECONDS = 1.0


def state_directory() -> Path:
    """Return where systemd, or else the package's convention, says that state is kept."""
    return Path(os.environ.get("STATE_DIRECTORY", DEFAULT_STATE_DIRECTORY).partition(":")[0])


def message_of(entry: Entry) -> tuple[str, bytes, pika.BasicProperties]:
    """Return routing key, body and properties of an entry's message."""
    body = {
        "host": entry.host,
        "severity": entry.severity,
        "unit": entry.unit,
        "message": entry.message,
        "logged_at": entry.logged_at.isoformat(),
    }
    properties = pika.BasicProperties(
        message_id=entry.message_id,
        content_type="application/json",
        delivery_mode=2,
        app_id="mosaic.log_ship",
    )
    routing_key = f"{entry.host}.{SEVERITIES[entry.severity]}"
    return routing_key, json.dumps(body).encode(), properties


class LogShipper:
    """Ships until it is stopped."""

    def __init__(self, config: Config, cursors: CursorFile) -> None:
        """Ship the journal of `config.host`. Raises ConfigError without broker.logs_url."""
        if not config.broker.logs_url:
            raise ConfigError("broker.logs_url is missing: log-ship publishes as a user of its own.")
        self._config = config
        self._cursors = cursors
        self._own_unit = own_unit()
        self._stop = threading.Event()
        self._ready = False

    def stop(self) -> None:
        """End `run` soon."""
        self._stop.set()

    def run(self) -> None:
        """Ship until stopped; a lost broker or a replaced journal only interrupts."""
        run_for_ever(self._ship, "log shipping", self._pause)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stop

    def _ship(self) -> None:
        connection = connect(
            self._config.broker.logs_url, self._config.broker.heartbeat, f"log-ship@{self._config.host}"
        )
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            self._report_ready()
            cursor = self._cursors.load()
            journal = Journal(cursor)
            try:
                self._follow(connection, channel, journal)
            except EOFError as error:
                # A cursor of a journal that is gone ends journalctl at once, each time.
                if cursor is not None and cursor == self._cursors.load():
                    logger.warning("%s: starting with the latest entries", error)
                    self._cursors.forget()
                raise OSError(str(error)) from error
            finally:
                journal.close()
        finally:
            _close(connection)

    def _report_ready(self) -> None:
        if not self._ready:
            systemd.ready(f"shipping the journal to {topology.LOGS}")
            self._ready = True
        logger.info("connected, shipping the journal")

    def _follow(self, connection: pika.BlockingConnection, channel: Any, journal: Journal) -> None:
        while not self._stop.is_set():
            entries = journal.read(READ_SECONDS)
            connection.process_data_events(0)
            for fields in entries:
                if self._own_unit is None or fields.get("_SYSTEMD_UNIT") != self._own_unit:
                    self._publish(channel, to_entry(fields, self._config.host))
            if entries:
                self._cursors.save(str(entries[-1]["__CURSOR"]))
        raise Stop

    def _publish(self, channel: Any, entry: Entry) -> None:
        routing_key, body, properties = message_of(entry)
        # Returns when confirmed; raises when refused, or when no queue is bound (mandatory).
        channel.basic_publish(topology.LOGS, routing_key, body, properties, mandatory=True)


def _close(connection: pika.BlockingConnection) -> None:
    try:
        if connection.is_open:
            connection.close()
    except pika.exceptions.AMQPError as error:
        logger.debug("closing: %r", error)


def serve(config: Config) -> None:
    """Ship this host's journal until SIGTERM or SIGINT."""
    run_until_signal(LogShipper(config, CursorFile(state_directory() / CURSOR_NAME)))

"""Publishing this host's journal to the topic exchange mosaic.logs with routing key <host>.<severity>.

The position in the journal is saved when the broker has confirmed. So after a crash only the latest entries
are published again, with the same message ids. Log lines of this service itself are not published: each of
them would cause another one.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pydantic_core import to_json

from celery_durable import systemd
from mosaic import exchanges
from mosaic.config import Config, ConfigError
from mosaic.logging_setup import SEVERITIES
from mosaic.logs.entry import Entry
from mosaic.logs.journal import CursorFile, Journal, own_unit, to_entry
from mosaic.service import Service

logger = logging.getLogger(__name__)

CURSOR_NAME = "log-ship.cursor"
DEFAULT_STATE_DIRECTORY = "/var/lib/mosaic"
READ_SECONDS = 1.0


def message_of(entry: Entry) -> tuple[str, bytes, pika.BasicProperties]:
    """Return routing key, body and properties of an entry's message."""
    properties = pika.BasicProperties(
        message_id=entry.message_id,
        content_type="application/json",
        delivery_mode=2,
        app_id="mosaic.log_ship",
    )
    routing_key = f"{entry.host}.{SEVERITIES[entry.severity]}"
    return routing_key, to_json(entry, exclude={"message_id"}), properties


class LogShipper(Service):
    """Publishes the journal of this host."""

    name = "log-ship"

    def __init__(self, config: Config) -> None:
        """Publish as the user of broker.logs_url. Raises ConfigError without it."""
        if not config.broker.logs_url:
            raise ConfigError("broker.logs_url is missing: log-ship publishes as a user of its own.")
        super().__init__(config.broker, config.host)
        self._url = config.broker.logs_url
        # systemd sets STATE_DIRECTORY.
        folder = os.environ.get("STATE_DIRECTORY", DEFAULT_STATE_DIRECTORY).partition(":")[0]
        self._cursors = CursorFile(Path(folder) / CURSOR_NAME)
        self._own_unit = own_unit()

    def work(self, connection: pika.BlockingConnection) -> None:
        """Publish new entries until stopped. Raises OSError when journalctl ends."""
        channel = connection.channel()
        channel.confirm_delivery()
        systemd.ready(f"shipping the journal to {exchanges.LOGS}")
        logger.info("connected, shipping the journal")
        cursor = self._cursors.load()
        journal = Journal(cursor)
        try:
            while not self._stop.is_set():
                self._ship(connection, channel, journal)
        except EOFError as error:
            # journalctl ends at once if its journal no longer has the cursor.
            if cursor is not None and cursor == self._cursors.load():
                logger.warning("%s: starting with the latest entries", error)
                self._cursors.save("")
            raise OSError(str(error)) from error
        finally:
            journal.close()

    def _ship(self, connection: pika.BlockingConnection, channel: BlockingChannel, journal: Journal) -> None:
        entries = journal.read(READ_SECONDS)
        connection.process_data_events(0)
        for fields in entries:
            if self._own_unit is None or fields.get("_SYSTEMD_UNIT") != self._own_unit:
                routing_key, body, properties = message_of(to_entry(fields, self._host))
                # Returns when confirmed. Raises when refused, or when no queue is bound (mandatory).
                channel.basic_publish(exchanges.LOGS, routing_key, body, properties, mandatory=True)
        if entries:
            self._cursors.save(str(entries[-1]["__CURSOR"]))

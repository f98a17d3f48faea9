"""Consuming mosaic.logs and storing the records in PostgreSQL, in batches, acknowledged after the commit.

Several of these consumers can share the queue. A record that is delivered twice is stored once, by its
message id. While the database is unavailable the consumer keeps its batch and its connection. If it returned
the messages, the queue would count the deliveries and dead-letter them at its delivery limit.
"""

from __future__ import annotations

import json
import logging
import time

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties
from pydantic import TypeAdapter

from celery_durable import systemd
from mosaic import topology
from mosaic.ledger import log_records
from mosaic.ledger.database import DATABASE_AWAY, transaction
from mosaic.ledger.log_records import Entry
from mosaic.service import Service

logger = logging.getLogger(__name__)

PREFETCH = 200
BATCH_SECONDS = 0.5
IDLE_SECONDS = 1.0
DATABASE_PAUSE_SECONDS = 2.0

_ENTRY = TypeAdapter(Entry)


def entry_of(body: bytes, message_id: str | None) -> Entry:
    """Return the log record of a message. Raises ValueError if it is none."""
    try:
        return _ENTRY.validate_python(dict(json.loads(body), message_id=message_id))
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a log record: {error}") from None


class LogStore(Service):
    """Stores log records."""

    name = "log-store"

    def work(self, connection: pika.BlockingConnection) -> None:
        """Consume until stopped, then store the last batch."""
        # The broker delivers again what an earlier connection did not acknowledge.
        self._batch: list[Entry] = []
        self._last_tag, self._due = 0, 0.0
        channel = connection.channel()
        channel.basic_qos(prefetch_count=PREFETCH)
        consumer = channel.basic_consume(topology.LOGS, self._on_message)
        systemd.ready(f"consuming {topology.LOGS}")
        logger.info("connected, consuming %s", topology.LOGS)
        while not self._stop.is_set():
            # Returns as soon as a message was delivered.
            connection.process_data_events(BATCH_SECONDS / 2 if self._batch else IDLE_SECONDS)
            if consumer not in channel.consumer_tags:
                raise OSError("the broker cancelled the consumer")
            if len(self._batch) >= PREFETCH / 2 or time.monotonic() >= self._due:
                self._store(connection, channel)
        self._store(connection, channel)

    def _on_message(
        self, channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        try:
            entry = entry_of(body, properties.message_id)
        except ValueError as error:
            logger.warning("dead-lettered a message that is no log record: %s", error)
            channel.basic_reject(method.delivery_tag, requeue=False)
            return
        if not self._batch:
            self._due = time.monotonic() + BATCH_SECONDS
        self._batch.append(entry)
        self._last_tag = method.delivery_tag

    def _store(self, connection: pika.BlockingConnection, channel: BlockingChannel) -> None:
        while self._batch:
            try:
                with transaction() as session:
                    log_records.store(session, self._batch)
            except DATABASE_AWAY as error:
                logger.warning("the database is unavailable, holding %d records: %s", len(self._batch), error)
            else:
                channel.basic_ack(self._last_tag, multiple=True)
                self._batch = []
                return
            # More messages, up to the prefetch limit, join the batch meanwhile.
            deadline = time.monotonic() + DATABASE_PAUSE_SECONDS
            while time.monotonic() < deadline:
                connection.process_data_events(0.2)
                if self._stop.is_set():
                    return

"""Consuming mosaic.logs and storing the records in PostgreSQL, in batches, acknowledged when committed.

Any number of these consumers compete. A record that is delivered twice is stored once, by its message id.
While the database is away the batch is held and the connection kept alive: sending it back would count
against the queue's delivery limit, and end it among the dead letters.
"""

from __future__ import annotations

import datetime
import json
import logging
import threading
import time
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

from celery_durable import systemd
from mosaic import topology
from mosaic.config import Config
from mosaic.ledger import log_records
from mosaic.ledger.database import DATABASE_AWAY, transaction
from mosaic.ledger.log_records import Entry
from mosaic.logs.service import Stop, connect, run_for_ever, run_until_signal

logger = logging.getLogger(__name__)

PREFETCH = 200
BATCH_SECONDS = 0.5
DATABASE_PAUSE_SECONDS = 2.0


class BadRecordError(ValueError):
    """The message is no log record."""


def entry_of(body: bytes, message_id: str | None) -> Entry:
    """Turn a message into a log record. Raises BadRecordError."""
    try:
        fields = json.loads(body)
        severity = int(fields["severity"])
        logged_at = datetime.datetime.fromisoformat(fields["logged_at"])
        texts = [_storable(fields[name]) for name in ("host", "unit", "message")]
    except (ValueError, KeyError, TypeError) as error:
        raise BadRecordError(f"not a log record: {error!r}") from None
    if not message_id or not 0 <= severity <= 7 or logged_at.tzinfo is None:
        raise BadRecordError(
            "a log record needs a message id, a severity from 0 to 7 and a time with its zone"
        )
    return Entry(message_id, texts[0], severity, texts[1], texts[2], logged_at)


def _storable(value: object) -> str:
    """Return a text PostgreSQL takes: no NUL, no lone surrogate."""
    return str(value).replace("\0", "").encode("utf-8", "replace").decode("utf-8")


class LogStore:
    """Stores until it is stopped."""

    def __init__(self, config: Config) -> None:
        """Consume as `config.host`."""
        self._config = config
        self._stop = threading.Event()
        self._ready = False
        self._batch: list[Entry] = []
        self._last_tag = 0
        self._cancelled = False
        self._due = 0.0

    def stop(self) -> None:
        """End `run` soon, with the batch at hand stored."""
        self._stop.set()

    def run(self) -> None:
        """Store until stopped; a lost broker or database only interrupts."""
        run_for_ever(self._consume, "log storing", self._pause)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stop

    def _consume(self) -> None:
        # What an earlier connection delivered is delivered again.
        self._batch, self._last_tag, self._cancelled = [], 0, False
        broker = self._config.broker
        connection = connect(broker.url, broker.heartbeat, f"log-store@{self._config.host}")
        try:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=PREFETCH)
            channel.add_on_cancel_callback(self._on_cancel)
            channel.basic_consume(topology.LOGS, self._on_message)
            self._report_ready()
            while not self._stop.is_set():
                connection.process_data_events(BATCH_SECONDS / 2)
                if self._cancelled or not channel.is_open:
                    raise OSError("the broker cancelled the consumer")
                if self._batch and (len(self._batch) >= PREFETCH / 2 or time.monotonic() >= self._due):
                    self._store(connection, channel)
            if self._batch:
                self._store(connection, channel)
            raise Stop
        finally:
            if connection.is_open:
                connection.close()

    def _report_ready(self) -> None:
        if not self._ready:
            systemd.ready(f"consuming {topology.LOGS}")
            self._ready = True
        logger.info("connected, consuming %s", topology.LOGS)

    def _on_message(
        self, channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        try:
            entry = entry_of(body, properties.message_id)
        except BadRecordError as error:
            logger.warning("dead-lettered a message: %s", error)
            channel.basic_reject(method.delivery_tag, requeue=False)
            return
        if not self._batch:
            self._due = time.monotonic() + BATCH_SECONDS
        self._batch.append(entry)
        self._last_tag = method.delivery_tag

    def _on_cancel(self, _method: Any) -> None:
        self._cancelled = True

    def _store(self, connection: pika.BlockingConnection, channel: Any) -> None:
        while not _commit(self._batch):
            # More may come meanwhile, up to the prefetch limit; they join the batch.
            self._keep_alive(connection)
        channel.basic_ack(self._last_tag, multiple=True)
        self._batch = []

    def _keep_alive(self, connection: pika.BlockingConnection) -> None:
        deadline = time.monotonic() + DATABASE_PAUSE_SECONDS
        while time.monotonic() < deadline:
            connection.process_data_events(0.2)
            if self._stop.is_set():
                raise Stop


def _commit(batch: list[Entry]) -> bool:
    try:
        with transaction() as session:
            log_records.store(session, batch)
    except DATABASE_AWAY as error:
        logger.warning("the database is away, holding %d records: %s", len(batch), error)
        return False
    return True


def serve(config: Config) -> None:
    """Store log records until SIGTERM or SIGINT."""
    run_until_signal(LogStore(config))

"""Log records as they are published, through a temporary queue with the requested bindings.

The queue is durable and expires. An exclusive queue that is left on a stopped broker prevents RabbitMQ 4.0
with Khepri from its next boot, and RabbitMQ 4.3 denies a queue that is neither. The tail deletes the queue
when it ends. The broker deletes it when the consumer has disappeared.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pika

from mosaic import topology
from mosaic.config import Broker
from mosaic.ledger.log_records import Entry
from mosaic.logs.store import entry_of
from mosaic.service import Service, consume_until

logger = logging.getLogger(__name__)

PREFIX = "mosaic.tail."
ARGUMENTS = {
    "x-queue-type": "classic",
    "x-expires": 30_000,
    # A slow reader gets the latest records, and the queue's memory is limited.
    "x-max-length": 2000,
    "x-overflow": "drop-head",
}


class LogTail(Service):
    """Calls `take` with each record, in a thread of its own, until it is stopped."""

    name = "log-tail"
    max_pause_seconds = 2.0

    def __init__(
        self, broker: Broker, host: str, patterns: Sequence[str], take: Callable[[Entry], None]
    ) -> None:
        """Bind the queue with `patterns`. Does not connect yet."""
        super().__init__(broker, host)
        self._patterns = patterns
        self._take = take
        self.ready = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self.run, name="log-tail", daemon=True).start()

    def work(self, connection: pika.BlockingConnection) -> None:
        """Consume until stopped, then delete the queue."""
        channel = connection.channel()
        # A new name for each connection: the old queue may be on a broker that is unavailable.
        queue = f"{PREFIX}{uuid.uuid4().hex[:12]}"
        channel.queue_declare(queue, durable=True, arguments=ARGUMENTS)
        for pattern in self._patterns:
            channel.queue_bind(queue, topology.LOGS, pattern)
        consumer = channel.basic_consume(queue, self._on_message, auto_ack=True)
        self.ready.set()
        try:
            consume_until(self._stop, connection, channel, consumer)
            channel.queue_delete(queue)
        finally:
            self.ready.clear()

    def _on_message(self, _channel: Any, _method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        try:
            self._take(entry_of(body, properties.message_id))
        except ValueError as error:
            logger.debug("ignored a message that is no log record: %s", error)

"""Log records as they are published, through a queue of one's own bound with the patterns asked for.

The queue is durable and expires: an exclusive one that is left on a broker which stops keeps RabbitMQ 4.0
with Khepri from its next boot, and one that is neither is denied from 4.3 on. It is deleted when the tail
ends, and by the broker when whoever read it is gone.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pika
import pika.exceptions

from mosaic import topology
from mosaic.config import Broker
from mosaic.ledger.log_records import Entry
from mosaic.logs.service import Stop, connect, run_for_ever
from mosaic.logs.store import BadRecordError, entry_of

logger = logging.getLogger(__name__)

PREFIX = "mosaic.tail."
ARGUMENTS = {
    "x-queue-type": "classic",
    "x-expires": 30_000,
    # A reader that is slow sees the latest; nobody's memory fills.
    "x-max-length": 2000,
    "x-overflow": "drop-head",
}
POLL_SECONDS = 0.1


class LogTail:
    """Calls `take` with each record from a thread of its own, until it is stopped."""

    def __init__(
        self, broker: Broker, host: str, patterns: Sequence[str], take: Callable[[Entry], None]
    ) -> None:
        """Read what is routed by `patterns` on the broker of `host`; nothing is opened yet."""
        self._broker = broker
        self._host = host
        self._patterns = patterns
        self._take = take
        self._stop = threading.Event()
        self.ready = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="log-tail", daemon=True).start()

    def stop(self) -> None:
        """End soon; returns at once."""
        self._stop.set()

    def _run(self) -> None:
        run_for_ever(self._consume, "log tail", self._pause)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(min(seconds, 2.0)):
            raise Stop

    def _consume(self) -> None:
        if self._stop.is_set():
            raise Stop
        connection = connect(self._broker.url, self._broker.heartbeat, f"log-tail@{self._host}")
        try:
            channel = connection.channel()
            # A name that was not used before: the old queue may be on a broker that is away.
            queue = f"{PREFIX}{uuid.uuid4().hex[:12]}"
            channel.queue_declare(queue, durable=True, arguments=ARGUMENTS)
            for pattern in self._patterns:
                channel.queue_bind(queue, topology.LOGS, pattern)
            cancelled = threading.Event()
            channel.add_on_cancel_callback(lambda _: cancelled.set())
            channel.basic_consume(queue, self._on_message, auto_ack=True)
            self.ready.set()
            while not self._stop.is_set():
                connection.process_data_events(POLL_SECONDS)
                if cancelled.is_set() or not channel.is_open:
                    raise OSError("the broker cancelled the consumer")
            channel.queue_delete(queue)
            raise Stop
        finally:
            self.ready.clear()
            if connection.is_open:
                connection.close()

    def _on_message(self, _channel: Any, _method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        try:
            self._take(entry_of(body, properties.message_id))
        except BadRecordError as error:
            logger.debug("passed over: %s", error)

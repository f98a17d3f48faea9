"""Services on a plain AMQP connection (pika): the connection, reconnecting with backoff, and stop signals."""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pika
import pika.exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from celery_durable import systemd
from mosaic.config import Broker

logger = logging.getLogger(__name__)

CALM_SECONDS = 30.0
HANDSHAKE_SECONDS = 8.0
# A message is delivered at once. Only the end of the service waits for this time.
POLL_SECONDS = 0.5


def connect(url: str, heartbeat: int, name: str, attempts: int = 1) -> pika.BlockingConnection:
    """Connect; the management page shows `name`. Raises AMQPError and OSError."""
    parameters = pika.URLParameters(url)
    parameters.connection_attempts = attempts
    parameters.retry_delay = 1
    parameters.heartbeat = heartbeat
    parameters.socket_timeout = 4
    parameters.stack_timeout = HANDSHAKE_SECONDS
    parameters.blocked_connection_timeout = 30
    parameters.client_properties = {"connection_name": name}
    try:
        return pika.BlockingConnection(parameters)
    except AMQPConnectorException as error:  # a broker that accepts and does not answer; not an AMQPError
        raise pika.exceptions.AMQPConnectionError(str(error)) from error


def consume_until(
    stop: threading.Event, connection: pika.BlockingConnection, channel: Any, consumer: str
) -> None:
    """Deliver messages to the consumer until `stop` is set. Raises AMQPError, and OSError when it is gone."""
    while not stop.is_set():
        connection.process_data_events(POLL_SECONDS)
        if consumer not in channel.consumer_tags:
            raise OSError("the broker cancelled the consumer")


def on_stop_signal(stop: Callable[[], None]) -> None:
    """Call `stop` at SIGTERM and SIGINT."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        systemd.stopping()
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


class Service:
    """Works on one connection until it is stopped, and reconnects after each error of the broker."""

    name = "service"
    max_pause_seconds = 10.0

    def __init__(self, broker: Broker, host: str) -> None:
        """Prepare the service for this host. Does not connect yet."""
        self._url = broker.url
        self._heartbeat = broker.heartbeat
        self._host = host
        self._stop = threading.Event()

    def stop(self) -> None:
        """End `run` soon; returns at once."""
        self._stop.set()

    def work(self, connection: pika.BlockingConnection) -> None:
        """Work until the service is stopped or the broker fails. Raises pika's errors and OSError."""
        raise NotImplementedError

    def run(self) -> None:
        """Work until stopped; pause longer after each failure."""
        failures = 0
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                name = f"{self.name}@{self._host}"
                with connect(self._url, self._heartbeat, name) as connection:
                    self.work(connection)
            except (pika.exceptions.AMQPError, OSError) as error:
                failures = 1 if time.monotonic() - started > CALM_SECONDS else failures + 1
                seconds = 0.25 * 2 ** min(failures, 6) * random.uniform(0.7, 1.0)  # noqa: S311  spreads clients
                seconds = min(self.max_pause_seconds, seconds)
                # Some errors of pika have no text.
                reason = str(error) or type(error).__name__
                logger.warning("%s: %s; next attempt in %.1f s", self.name, reason, seconds)
                self._stop.wait(seconds)

    def serve(self) -> None:
        """Run until SIGTERM or SIGINT."""
        on_stop_signal(self.stop)
        self.run()

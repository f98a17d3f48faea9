"""Events of workers and tasks, which Flower on the monitor reads.

Nobody counts on a single event, and a worker must never stand still for one: Celery publishes them in the
worker's loop, which then waits for brokers that are away instead of taking tasks. Here a thread with a
connection of its own publishes them, without confirms; what it cannot send in time is dropped.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import Any

from celery import Celery
from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher
from kombu import Exchange, Producer

logger = logging.getLogger(__name__)

WAITING = 2000
STALE_SECONDS = 10.0
PAUSE_SECONDS = 2.0
CONNECT_SECONDS = 2.0


class Sender:
    """Publishes what put() is given, in a thread that begins with the first event; put() never waits."""

    def __init__(self, app: Celery) -> None:
        """Send over a connection of `app`."""
        self._app = app
        self._pid = os.getpid()
        self._waiting: deque[tuple[float, str, Any, Exchange, dict[str, Any]]] = deque(maxlen=WAITING)
        self._some = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None

    def is_of_this_process(self) -> bool:
        """Whether no fork left the thread behind."""
        return self._pid == os.getpid()

    def put(self, routing_key: str, event: Any, exchange: Exchange, options: dict[str, Any]) -> None:
        """Send an event, or a list of them, soon. The oldest is dropped when too many wait."""
        self._waiting.append((time.monotonic(), routing_key, event, exchange, options))
        self._idle.clear()
        self._some.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="events", daemon=True)
            self._thread.start()

    def finish(self, seconds: float) -> bool:
        """Wait until all is sent, `seconds` at most; say whether it is."""
        return self._idle.wait(seconds)

    def _run(self) -> None:
        while True:
            self._some.wait()
            try:
                self._send_over_one_connection()
            except Exception as error:  # noqa: BLE001 - a thread that ends would send nothing for good
                logger.debug("events wait for a broker: %s", error)
                time.sleep(PAUSE_SECONDS)

    def _send_over_one_connection(self) -> None:
        options = {**self._app.conf.broker_transport_options, "confirm_publish": False}
        with (
            self._app.connection_for_write(
                connect_timeout=CONNECT_SECONDS, heartbeat=0, transport_options=options
            ) as connection,
            Producer(connection, auto_declare=False) as producer,
        ):
            while True:
                self._some.wait()
                self._some.clear()
                while self._waiting:
                    since, routing_key, event, exchange, options = self._waiting.popleft()
                    if time.monotonic() - since < STALE_SECONDS:
                        producer.publish(
                            event,
                            routing_key=routing_key,
                            exchange=exchange.name,
                            declare=[exchange],
                            retry=False,
                            **options,
                        )
                if not self._waiting:
                    self._idle.set()


class PatientDispatcher(EventDispatcher):
    """Hands each event to the application's sender instead of publishing it."""

    def _publish(self, event: Any, producer: Any, routing_key: str, **_: Any) -> None:
        if producer is None:
            return
        options = {
            "serializer": self.serializer,
            "headers": self.headers,
            "delivery_mode": self.delivery_mode,
        }
        self.app.events.sender.put(routing_key, event, self.exchange, options)


class SentAside(Events):
    """`app.events` with that dispatcher."""

    dispatcher_cls = "mosaic.events:PatientDispatcher"
    _sender: Sender | None = None

    @property
    def sender(self) -> Sender:
        """The sender of this process."""
        if self._sender is None or not self._sender.is_of_this_process():
            self._sender = Sender(self.app)
        return self._sender

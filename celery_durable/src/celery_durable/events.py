"""Events of workers and tasks (`celery events`, Flower), published beside the work.

No single event matters, and a worker must never wait for one: Celery publishes them in the worker's loop,
which then waits for brokers that are away instead of taking tasks. Here a thread with a connection of its own
publishes them, without confirms; what it cannot send in time is dropped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
import time
from collections import deque
from typing import Any, cast

from celery import Celery
from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher
from kombu import Connection, Exchange, Producer

logger = logging.getLogger(__name__)

WAITING = 2000
# A message for each event costs proxy, broker and reader more than many tasks themselves.
BATCH_SECONDS = 0.5
STALE_SECONDS = 10.0
PAUSE_SECONDS = 2.0
CONNECT_SECONDS = 2.0
# Each side of a connection that hangs after a partition notices by them.
HEARTBEAT_SECONDS = 10
DRAIN_SECONDS = 0.01


@dataclasses.dataclass(frozen=True)
class Outgoing:
    """What put() was given: events of one group ("task", "worker"), and how they are to be sent."""

    since: float
    group: str
    events: list[Any]
    exchange: Exchange
    options: dict[str, Any]


class EventSender:
    """Publishes what put() is given, in a thread that starts with the first event; put() never waits."""

    def __init__(self, app: Celery) -> None:
        """Send over a connection of `app`."""
        self._app = app
        self._pid = os.getpid()
        self._waiting: deque[Outgoing] = deque(maxlen=WAITING)
        self._ready = threading.Event()
        self._flush = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def is_of_this_process(self) -> bool:
        """Whether no fork left the thread behind."""
        return self._pid == os.getpid()

    def put(self, routing_key: str, event: Any, exchange: Exchange, options: dict[str, Any]) -> None:
        """Send an event, or a list of them, soon. The oldest is dropped when too many wait."""
        events = list(event) if isinstance(event, list) else [event]  # Celery 5.6 empties its list
        group = routing_key.partition(".")[0]
        self._waiting.append(Outgoing(time.monotonic(), group, events, exchange, options))
        self._idle.clear()
        self._ready.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()

    def flush(self, seconds: float) -> bool:
        """Send at once, and wait until all is sent, `seconds` at most; return whether it is."""
        self._flush.set()
        return self._idle.wait(seconds)

    def _run(self) -> None:
        while True:
            self._ready.wait()
            try:
                self._send_over_one_connection()
            except Exception as error:  # noqa: BLE001 - a thread that ends would send nothing for good
                logger.debug("events wait for a broker: %s", error)
                time.sleep(PAUSE_SECONDS)

    def _send_over_one_connection(self) -> None:
        options = {**self._app.conf.broker_transport_options, "confirm_publish": False}
        with (
            self._app.connection_for_write(
                connect_timeout=CONNECT_SECONDS,
                heartbeat=HEARTBEAT_SECONDS,
                transport_options=options,
            ) as connection,
            Producer(connection, auto_declare=False) as producer,
        ):
            while True:
                self._ready.wait(HEARTBEAT_SECONDS / 4)
                self._flush.wait(BATCH_SECONDS)
                self._ready.clear()
                self._publish_waiting(producer)
                if not self._waiting:
                    self._idle.set()
                if connection.connected:
                    self._beat(connection)

    @staticmethod
    def _beat(connection: Connection) -> None:
        """Take the broker's heartbeats, and send one when it is time; raises when none came."""
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=DRAIN_SECONDS)
        connection.heartbeat_check()

    def _publish_waiting(self, producer: Producer) -> None:
        """Publish all that waits: one message for each group of events, as receivers of Celery take them."""
        groups: dict[str, list[Outgoing]] = {}
        while self._waiting:
            outgoing = self._waiting.popleft()
            if time.monotonic() - outgoing.since < STALE_SECONDS:
                groups.setdefault(outgoing.group, []).append(outgoing)
        for group, batch in groups.items():
            latest = batch[-1]
            producer.publish(
                [event for outgoing in batch for event in outgoing.events],
                routing_key=f"{group}.multi",
                exchange=latest.exchange.name,
                declare=[latest.exchange],
                retry=False,
                **latest.options,
            )


class BackgroundDispatcher(EventDispatcher):
    """Hands each event to the application's sender instead of publishing it."""

    # Celery's stubs leave these out.
    exchange: Exchange
    serializer: str
    headers: dict[str, Any]
    delivery_mode: int

    def _publish(self, event: Any, producer: Any, routing_key: str, **_: Any) -> None:
        if producer is None:
            return
        options = {
            "serializer": self.serializer,
            "headers": self.headers,
            "delivery_mode": self.delivery_mode,
        }
        cast(BackgroundEvents, cast(Celery, self.app).events).sender.put(
            routing_key, event, self.exchange, options
        )


class BackgroundEvents(Events):
    """`app.events` with that dispatcher."""

    dispatcher_cls = "celery_durable.events:BackgroundDispatcher"
    _sender: EventSender | None = None

    @property
    def sender(self) -> EventSender:
        """The sender of this process."""
        if self._sender is None or not self._sender.is_of_this_process():
            self._sender = EventSender(cast(Celery, self.app))
        return self._sender

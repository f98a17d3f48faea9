"""Events of workers and tasks (`celery events`, Flower), published by a thread of their own.

No single event is important, and a worker must never wait for one. Celery publishes events in the worker's
event loop, which then waits for an unavailable broker instead of consuming tasks. This thread has its own
connection, uses no publisher confirms, and drops events that it cannot send in time.
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
# One message for each event would be more work for proxy, broker and receiver than many tasks are.
BATCH_SECONDS = 0.5
STALE_SECONDS = 10.0
PAUSE_SECONDS = 2.0
CONNECT_SECONDS = 2.0
# With them both sides detect a connection that hangs after a network partition.
HEARTBEAT_SECONDS = 10
DRAIN_SECONDS = 0.01


@dataclasses.dataclass(frozen=True)
class Outgoing:
    """Arguments of put(): events of one group ("task", "worker"), and how to send them."""

    since: float
    group: str
    events: list[Any]
    exchange: Exchange
    options: dict[str, Any]


class EventSender:
    """Publishes events in a thread, which starts with the first event. put() never waits."""

    def __init__(self, app: Celery) -> None:
        """Send over a connection of `app`."""
        self._app = app
        self.pid = os.getpid()  # a fork has no thread
        self._waiting: deque[Outgoing] = deque(maxlen=WAITING)
        self._ready = threading.Event()
        self._flush = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, routing_key: str, event: Any, exchange: Exchange, options: dict[str, Any]) -> None:
        """Send an event or a list of events soon. If too many wait, the oldest are dropped."""
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
        """Send at once and wait at most `seconds`; return whether all events are sent."""
        self._flush.set()
        return self._idle.wait(seconds)

    def _run(self) -> None:
        while True:
            self._ready.wait()
            try:
                self._send_over_one_connection()
            except Exception as error:  # noqa: BLE001 - the thread must not end
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
        """Receive the broker's heartbeats, and send one if it is due. Raises if the broker sent none."""
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=DRAIN_SECONDS)
        connection.heartbeat_check()

    def _publish_waiting(self, producer: Producer) -> None:
        """Publish all waiting events: one message for each group, which Celery's receivers accept."""
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

    # Missing in celery-types.
    exchange: Exchange

    def _publish(self, event: Any, producer: Any, routing_key: str, **_: Any) -> None:
        if producer is None:
            return
        names = ("serializer", "headers", "delivery_mode")
        options = {name: getattr(self, name) for name in names}
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
        if self._sender is None or self._sender.pid != os.getpid():
            self._sender = EventSender(cast(Celery, self.app))
        return self._sender

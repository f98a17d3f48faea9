"""Publishing many tasks at once with confirms in a window, within a deadline.

Celery's own `confirm_publish` waits for each confirm: 350 tasks/s, where a window of some hundreds reaches
the broker's own speed. A message counts as published when the broker has confirmed it; after a lost
connection or a nack only the unconfirmed ones are sent again, so a part may be published twice, never lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from amqp.exceptions import AMQPError, MessageNacked
from celery import Celery
from kombu import Connection
from kombu.exceptions import KombuError

from mosaic.ledger.jobs import TaskCall
from mosaic.metrics.publishing import confirm_seconds, unconfirmed_total

logger = logging.getLogger(__name__)

WINDOW = 200
PUBLISHER = "gateway"  # in metrics: the one kind of process that publishes this way
CONNECT_SECONDS = 1.5
SILENCE_SECONDS = 1.5
PAUSE_SECONDS = 0.2

# Closed, refused or silent connections, closed channels, refused messages: all are cured by another try.
PUBLISH_ERRORS = (AMQPError, KombuError, OSError, MessageNacked)


class PublishError(Exception):
    """The broker did not confirm every message before the deadline."""


class Publisher:
    """One connection, shared by the threads of a process, one batch at a time.

    A daemon thread sends heartbeats while it is idle, so that neither side keeps a dead connection.
    """

    def __init__(self, app: Celery, window: int = WINDOW) -> None:
        """Publish tasks of `app`, with at most `window` messages unconfirmed. Connects on first use."""
        self._app = app
        self._window = window
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._channel: Any = None
        self._unconfirmed: dict[int, tuple[TaskCall, float]] = {}  # by delivery tag, with when it was sent
        self._nacked: list[TaskCall] = []
        self._sent = 0
        self._closed = threading.Event()
        unconfirmed_total.labels(
            PUBLISHER
        )  # there from the start: a rate knows no series that begins above 0
        threading.Thread(target=self._keep_alive, name="publisher-heartbeat", daemon=True).start()

    def publish(self, calls: Sequence[TaskCall], seconds: float) -> None:
        """Publish every call, or raise PublishError after `seconds`; some may then be published."""
        deadline = time.monotonic() + seconds
        if not self._lock.acquire(timeout=seconds):
            raise PublishError("the broker is slow: other submissions still wait for its confirms")
        try:
            self._publish_all(deque(calls), deadline)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Drop the connection; the publisher cannot be used any more."""
        self._closed.set()
        with self._lock:
            self._drop()

    def _publish_all(self, waiting: deque[TaskCall], deadline: float) -> None:
        while waiting:
            try:
                self._send_window(self._connect(deadline), waiting, deadline)
            except PUBLISH_ERRORS as error:
                waiting.extend(call for call, _ in self._unconfirmed.values())
                self._drop()
                if time.monotonic() + PAUSE_SECONDS >= deadline:
                    raise PublishError(f"{len(waiting)} messages stayed unconfirmed: {error!r}") from error
                logger.warning("publishing again after %r: %d messages left", error, len(waiting))
                time.sleep(PAUSE_SECONDS)

    def _send_window(self, connection: Connection, waiting: deque[TaskCall], deadline: float) -> None:
        """Send what waits and take confirms until nothing waits and nothing is unconfirmed."""
        producer = self._app.amqp.Producer(self._channel, auto_declare=False)
        while waiting or self._unconfirmed:
            if time.monotonic() >= deadline:
                raise TimeoutError("no confirm before the deadline")
            while waiting and len(self._unconfirmed) < self._window:
                call = waiting.popleft()
                # Entered before it is sent: if sending fails half-way, it is sent again.
                self._sent += 1
                self._unconfirmed[self._sent] = (call, time.monotonic())
                self._app.send_task(
                    call.task, args=call.args, task_id=call.task_id, producer=producer, retry=False
                )
            connection.drain_events(timeout=min(SILENCE_SECONDS, max(0.05, deadline - time.monotonic())))
            if self._nacked:
                waiting.extend(self._nacked)
                self._nacked.clear()
                raise MessageNacked()

    def _connect(self, deadline: float) -> Connection:
        if self._connection is not None:
            return self._connection
        seconds = max(0.3, min(CONNECT_SECONDS, deadline - time.monotonic()))
        # Confirms are counted here; with confirm_publish py-amqp would wait for each of them.
        connection = self._app.connection_for_write(
            connect_timeout=seconds,
            heartbeat=self._app.conf.broker_heartbeat,
            transport_options={"confirm_publish": False},
        )
        self._connection = connection
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=1)
        self._channel = connection.channel()
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._on_ack)
        self._channel.events["basic_nack"].add(self._on_nack)
        self._sent = 0
        return connection

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        now = time.monotonic()
        for _, sent_at in self._settle(delivery_tag, multiple):
            confirm_seconds.labels(PUBLISHER).observe(now - sent_at)

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:
        self._nacked.extend(call for call, _ in self._settle(delivery_tag, multiple))

    def _settle(self, delivery_tag: int, multiple: bool) -> list[tuple[TaskCall, float]]:
        tags = [tag for tag in self._unconfirmed if tag <= delivery_tag] if multiple else [delivery_tag]
        return [self._unconfirmed.pop(tag) for tag in tags if tag in self._unconfirmed]

    def _drop(self) -> None:
        """Forget the connection without a closing handshake, which waits for ever on a frozen broker."""
        connection, self._connection, self._channel = self._connection, None, None
        unconfirmed_total.labels(PUBLISHER).inc(len(self._unconfirmed))
        self._unconfirmed.clear()
        self._nacked.clear()
        if connection is not None:
            connection.collect(socket_timeout=0.1)

    def _keep_alive(self) -> None:
        interval = max(0.5, self._app.conf.broker_heartbeat / 3)
        while not self._closed.wait(interval):
            if not self._lock.acquire(blocking=False):
                continue
            try:
                if self._connection is not None:
                    self._beat(self._connection)
            finally:
                self._lock.release()

    def _beat(self, connection: Connection) -> None:
        try:
            with suppress(TimeoutError):
                connection.drain_events(timeout=0.01)
            connection.heartbeat_check()
        except PUBLISH_ERRORS as error:
            logger.info("dropped the idle connection: %r", error)
            self._drop()

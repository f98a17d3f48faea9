"""Connections with publisher confirms: one for each open window, kept for the next one when it closes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from amqp.exceptions import AMQPError
from celery import Celery
from kombu import Connection
from kombu.common import maybe_declare
from kombu.exceptions import KombuError

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 1.5
IDLE_SECONDS = 60.0
MOST_IDLE = 4

# Closed, refused or silent connections, closed channels: all are cured by another connection.
LINK_ERRORS = (AMQPError, KombuError, OSError)


@dataclass(eq=False)
class Prepared:
    """A message that is ready to be sent, as often as needed: Celery's signals have run, its id is final."""

    message: Any
    options: Mapping[str, Any]
    declare: Iterable[Any]
    task_id: str | None
    owner: int = field(default_factory=threading.get_ident)
    since: float = field(default_factory=time.monotonic)
    sent_at: float = 0.0


class Link:
    """A connection and its one channel, on which the broker confirms. Used by one thread at a time."""

    def __init__(self, app: Celery, seconds: float) -> None:
        """Connect within about `seconds`. Raises LINK_ERRORS."""
        self.unconfirmed: dict[int, Prepared] = {}  # by delivery tag
        self.nacked: list[Prepared] = []
        self.confirmed: list[Prepared] = []
        self.idle_since = 0.0
        self._sent = 0
        # Confirms are counted here; with confirm_publish py-amqp would wait for each of them.
        self.connection: Connection = app.connection_for_write(
            connect_timeout=seconds,
            heartbeat=app.conf.broker_heartbeat,
            transport_options={"confirm_publish": False},
        )
        try:
            self.connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=1)
            channel: Any = self.connection.channel()
            channel.confirm_select()
        except BaseException:
            self.drop()
            raise
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        self.channel = channel

    def send(self, prepared: Prepared) -> None:
        """Send a message; it counts as unconfirmed even when this raises half-way. Raises LINK_ERRORS."""
        for entity in prepared.declare:
            maybe_declare(entity, self.channel)
        self._sent += 1
        prepared.sent_at = time.monotonic()
        self.unconfirmed[self._sent] = prepared
        self.channel.basic_publish(prepared.message, **prepared.options)

    def take_confirms(self, seconds: float) -> None:
        """Wait for confirms, `seconds` at most. Raises TimeoutError when none came, LINK_ERRORS."""
        self.connection.drain_events(timeout=seconds)

    def beat(self) -> None:
        """Take in what the broker sent, and send a heartbeat when it is time. Raises LINK_ERRORS."""
        with suppress(TimeoutError):
            self.connection.drain_events(timeout=0.01)
        self.connection.heartbeat_check()

    def drop(self) -> None:
        """Forget the connection without a closing handshake, which waits for ever on a frozen broker."""
        self.connection.collect(socket_timeout=0.1)

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        self.confirmed += self._settle(delivery_tag, multiple)

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:
        self.nacked += self._settle(delivery_tag, multiple)

    def _settle(self, delivery_tag: int, multiple: bool) -> list[Prepared]:
        tags = [tag for tag in self.unconfirmed if tag <= delivery_tag] if multiple else [delivery_tag]
        return [self.unconfirmed.pop(tag) for tag in tags if tag in self.unconfirmed]


class Links:
    """The idle connections of an application: a thread sends heartbeats, and closes them after a minute."""

    _of: ClassVar[WeakKeyDictionary[Celery, Links]] = WeakKeyDictionary()

    def __init__(self, heartbeat: float) -> None:
        """Keep none yet; `heartbeat` in seconds."""
        self._pid = os.getpid()
        self._pause = max(0.5, heartbeat / 3)
        self._lock = threading.Lock()
        self._idle: list[Link] = []
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, app: Celery) -> Links:
        """Return those of `app` in this process."""
        links = cls._of.get(app)
        if links is None or links._pid != os.getpid():
            links = cls._of[app] = cls(app.conf.broker_heartbeat or 10)
        return links

    def take(self, app: Celery, seconds: float) -> Link:
        """Return an idle connection, or a new one. Raises LINK_ERRORS."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Link(app, max(0.3, min(CONNECT_SECONDS, seconds)))

    def give_back(self, link: Link) -> None:
        """Keep a connection for the next window; one too many is closed."""
        link.idle_since = time.monotonic()
        with self._lock:
            if len(self._idle) < MOST_IDLE:
                self._idle.append(link)
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._keep_alive, name="confirm-links", daemon=True
                    )
                    self._thread.start()
                return
        link.drop()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.drop()

    def _keep_alive(self) -> None:
        while True:
            time.sleep(self._pause)
            with self._lock:
                self._idle = [link for link in self._idle if self._is_alive(link)]
                if not self._idle:
                    self._thread = None
                    return

    @staticmethod
    def _is_alive(link: Link) -> bool:
        try:
            if time.monotonic() - link.idle_since < IDLE_SECONDS:
                link.beat()
                return True
        except LINK_ERRORS as error:
            logger.info("dropped the idle connection: %r", error)
        link.drop()
        return False

"""Connections with publisher confirms: one for each open window, kept for the next window."""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from amqp.exceptions import AMQPError, RecoverableConnectionError
from celery import Celery
from kombu import Connection
from kombu.common import maybe_declare
from kombu.exceptions import KombuError

from celery_durable.message import Encoded

logger = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
MOST_IDLE = 4
CLOSE_SECONDS = 0.5

# Closed, refused or silent connections, and closed channels. A new connection solves all of these.
LINK_ERRORS = (AMQPError, KombuError, OSError)


@dataclass(eq=False)
class Caller:
    """A thread that publishes through a window; `open` is the number of its unfinished messages."""

    open: int = 0


@dataclass(eq=False, slots=True)
class Prepared:
    """A message that can be sent repeatedly: Celery's signals have run, and its id is final."""

    encoded: Encoded
    declare: Sequence[Any]
    task_id: str
    caller: Caller
    since: float = field(default_factory=time.monotonic)
    sent_at: float = 0.0
    error: Exception | None = None


class Link:
    """A connection with one channel in confirm mode. One thread at a time may use it."""

    def __init__(self, app: Celery, seconds: float) -> None:
        """Connect to the first host that answers; each step may take `seconds`. Raises LINK_ERRORS."""
        self.unconfirmed: dict[int, Prepared] = {}  # by delivery tag, in the order of sending
        self.nacked: list[Prepared] = []
        self.confirmed: list[Prepared] = []
        self.heard_at = self.idle_since = 0.0
        self._sent = 0
        # This class reads the confirms. With confirm_publish, py-amqp would wait for each of them.
        self._connection: Connection = app.connection_for_write(
            connect_timeout=seconds,
            heartbeat=app.conf.broker_heartbeat,
            transport_options={"confirm_publish": False},
        )
        try:
            hosts = len(self._connection.alt or [None])
            self._connection.ensure_connection(max_retries=hosts - 1, interval_start=0, interval_step=0)
            self._amqp: Any = self._connection.connection
            self.limit(seconds)
            channel: Any = self._connection.channel()
            channel.confirm_select()
        except BaseException:
            self.drop()
            raise
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        self.channel = channel

    def limit(self, seconds: float) -> None:
        """Set the timeout of all following operations. Raises LINK_ERRORS."""
        if not self._amqp.connected:  # py-amqp would reconnect
            raise RecoverableConnectionError("connection closed")
        self._amqp.sock.settimeout(seconds)

    def declare(self, prepared: Prepared) -> None:
        """Declare what a message needs. Raises LINK_ERRORS."""
        declared = self.channel.connection.client.declared_entities
        for entity in prepared.declare:
            # kombu checks the same, after it has copied the queue and its exchange.
            if not (entity.can_cache_declaration and hash(entity) in declared):
                maybe_declare(entity, self.channel)

    def send(self, messages: Iterable[Prepared]) -> None:
        """Send messages in one write. Raises LINK_ERRORS, even if they may be sent."""
        now = time.monotonic()
        if not self.unconfirmed:
            self.heard_at = now
        frames: list[bytes] = []
        for prepared in messages:
            prepared.sent_at = now
            self._sent += 1
            self.unconfirmed[self._sent] = prepared
            frames.append(prepared.encoded.frames(self.channel.channel_id, self._amqp.frame_max))
        self._amqp.transport.write(b"".join(frames))
        self._amqp.bytes_sent += len(frames)  # py-amqp's heartbeats count frames

    def forget(self, prepared: Prepared) -> None:
        """Ignore later confirms of this message."""
        tags = [tag for tag, other in self.unconfirmed.items() if other is prepared]
        for tag in tags:
            del self.unconfirmed[tag]

    def listen(self, seconds: float) -> None:
        """Wait at most `seconds` until there is something to read; other threads may send meanwhile."""
        with (
            suppress(*LINK_ERRORS, ValueError),
            selectors.DefaultSelector() as selector,
        ):  # it may be closed meanwhile
            selector.register(self._amqp.sock, selectors.EVENT_READ)
            selector.select(seconds)

    def take_confirms(self) -> None:
        """Read what the broker has sent, and send a heartbeat if it is due. Raises LINK_ERRORS."""
        with suppress(TimeoutError):
            while True:
                self._amqp.drain_events(timeout=0)
        self._amqp.heartbeat_tick()

    def close(self) -> None:
        """Close the connection with a handshake."""
        with suppress(*LINK_ERRORS):
            self.limit(CLOSE_SECONDS)
            self._connection.release()
        self.drop()

    def drop(self) -> None:
        """Drop the connection without a handshake, which would wait for ever on a frozen broker."""
        self._connection.collect(socket_timeout=0.1)

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        self.confirmed += self._settle(delivery_tag, multiple)

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:
        self.nacked += self._settle(delivery_tag, multiple)

    def _settle(self, delivery_tag: int, multiple: bool) -> list[Prepared]:
        self.heard_at = time.monotonic()
        earlier = takewhile(lambda tag: tag <= delivery_tag, self.unconfirmed)
        tags = list(earlier) if multiple else [delivery_tag]
        return [self.unconfirmed.pop(tag) for tag in tags if tag in self.unconfirmed]


class Links:
    """The idle connections of an application. A thread sends heartbeats and closes them after a minute."""

    _of: ClassVar[WeakKeyDictionary[Celery, Links]] = WeakKeyDictionary()

    def __init__(self, heartbeat: float) -> None:
        """Start without connections; `heartbeat` in seconds."""
        self._pid = os.getpid()
        self._pause = max(0.5, heartbeat / 3)
        self._lock = threading.Lock()
        self._idle: list[Link] = []
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, app: Celery) -> Links:
        """Return the connections of `app` in this process."""
        links = cls._of.get(app)
        if links is None or links._pid != os.getpid():
            links = cls._of[app] = cls(app.conf.broker_heartbeat or 10)
        return links

    def take(self, app: Celery, seconds: float) -> Link:
        """Return an idle connection, or a new one within about `seconds`. Raises LINK_ERRORS."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Link(app, seconds)

    def give_back(self, link: Link) -> None:
        """Keep a connection for the next window, or close it if enough are idle."""
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
        link.close()

    def _keep_alive(self) -> None:
        while True:
            time.sleep(self._pause)
            with self._lock:  # none of this waits
                gone = [link for link in self._idle if not self._is_alive(link)]
                self._idle = [link for link in self._idle if link not in gone]
                done = not self._idle
                if done:
                    self._thread = None
            for link in gone:
                link.close()
            if done:
                return

    @staticmethod
    def _is_alive(link: Link) -> bool:
        try:
            link.take_confirms()
        except LINK_ERRORS as error:
            logger.info("dropped the idle connection: %r", error)
            return False
        return time.monotonic() - link.idle_since < IDLE_SECONDS

"""A broker that treats each message as the test specifies."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from amqp.exceptions import RecoverableConnectionError
from celery import Celery

Answer = Callable[["Connection", int, str], None]


def confirm(connection: Connection, tag: int, task_id: str) -> None:
    """What a healthy broker does."""
    connection.ack(tag)


def say_nothing(connection: Connection, tag: int, task_id: str) -> None:
    """What a frozen one does."""


class Broker:
    """Its connections replace kombu's."""

    def __init__(self) -> None:
        self.answer: Answer = confirm
        self.unencodable: dict[str, Exception] = {}  # by task id: what py-amqp raises before it sends
        self.refuse: Exception | None = None
        self.connections: list[Connection] = []
        self.received: list[tuple[int, str]] = []  # number of the connection, id of the task
        self.messages: dict[str, list[Any]] = {}  # what came for each id
        self.taken: set[str] = set()  # ids whose confirm the client has read
        self.most_unconfirmed = 0

    @property
    def ids(self) -> list[str]:
        """Ids in the order in which they came."""
        return [task_id for _, task_id in self.received]

    def serve(self, app: Celery) -> None:
        """Be the broker of this application's windows."""
        real = app.connection_for_write

        def connect(**options: Any) -> Any:
            return Connection(self, options) if "connect_timeout" in options else real(**options)

        app.connection_for_write = connect


class Connection:
    """As far as a window needs them: kombu's Connection, and py-amqp's, which it wraps."""

    def __init__(self, broker: Broker, options: dict[str, Any]) -> None:
        self.broker = broker
        self.options = options
        self.alt: list[str] = []
        self.client = self.connection = self.sock = self
        self.declared_entities: set[Any] = set()
        self.unconfirmed: dict[int, str] = {}
        self.connected = False
        self.closed = ""
        self.beats = 0
        self.number = 0
        self._inbox: deque[Callable[[], None]] = deque()
        self._news = threading.Condition()

    # Said by the test.

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Send a confirm."""
        self._send(lambda: self._settle("basic_ack", tag, multiple))

    def nack(self, tag: int, *, multiple: bool = False) -> None:
        """Send a refusal."""
        self._send(lambda: self._settle("basic_nack", tag, multiple))

    def fail(self, error: Exception) -> None:
        """Have the client read this error next."""

        def throw() -> None:
            raise error

        self._send(throw)

    def _send(self, event: Callable[[], None]) -> None:
        with self._news:
            self._inbox.append(event)
            self._news.notify_all()

    def _settle(self, event: str, tag: int, multiple: bool) -> None:
        for other in [other for other in self.unconfirmed if other == tag or (multiple and other < tag)]:
            task_id = self.unconfirmed.pop(other)
            if event == "basic_ack":
                self.broker.taken.add(task_id)
        for callback in self._channel.events[event]:
            callback(tag, multiple)

    # Asked by the window.

    def ensure_connection(self, **_: Any) -> None:
        if self.broker.refuse:
            raise self.broker.refuse
        self.connected = True
        self.number = len(self.broker.connections)
        self.broker.connections.append(self)

    def channel(self) -> Channel:
        self._channel = Channel(self)
        return self._channel

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def drain_events(self, timeout: float) -> None:
        assert self.connected
        with self._news:
            if not self._inbox and not self._news.wait_for(lambda: self._inbox, timeout):
                raise TimeoutError
            event = self._inbox.popleft()
        event()

    def heartbeat_tick(self) -> None:
        self.beats += 1

    def collect(self, **_: Any) -> None:
        self.connected = False
        self.closed = self.closed or "dropped"

    def release(self) -> None:
        self.connected = False
        self.closed = "in order"


class Channel:
    """A channel in confirm mode; it has every queue."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.events: dict[str, set[Any]] = {"basic_ack": set(), "basic_nack": set()}
        self.channel_id = 1
        self.declared: dict[str, Any] = {}  # queue -> arguments
        self._tag = 0

    def confirm_select(self) -> None:
        pass

    def prepare_queue_arguments(self, arguments: Any, **_: Any) -> Any:
        return arguments

    def exchange_declare(self, exchange: str, **_: Any) -> None:
        pass

    def queue_declare(self, queue: str, arguments: Any = None, **_: Any) -> tuple[str, int, int]:
        self.declared[queue] = arguments
        return queue, 0, 0

    def queue_bind(self, **_: Any) -> None:
        pass

    def basic_publish(self, message: Any, **options: Any) -> None:
        connection, broker = self.connection, self.connection.broker
        if not connection.connected:
            raise RecoverableConnectionError("connection already closed")
        task_id = message.properties["application_headers"]["id"]
        with suppress(TimeoutError):
            connection.drain_events(timeout=0)  # as py-amqp does
        if task_id in broker.unencodable:
            raise broker.unencodable[task_id]
        self._tag += 1
        connection.unconfirmed[self._tag] = task_id
        broker.most_unconfirmed = max(broker.most_unconfirmed, len(connection.unconfirmed))
        broker.received.append((connection.number, task_id))
        broker.messages.setdefault(task_id, []).append((message, options))
        broker.answer(connection, self._tag, task_id)


def until(check: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)

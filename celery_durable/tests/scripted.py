"""A broker that treats each message as the test specifies."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from struct import unpack_from
from typing import Any

from amqp import Message
from amqp.exceptions import RecoverableConnectionError
from amqp.serialization import loads
from amqp.spec import Basic
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
        self.refuse: Exception | None = None
        self.connections: list[Connection] = []
        self.received: list[tuple[int, str]] = []  # number of the connection, id of the task
        self.messages: dict[str, list[Any]] = {}  # what came for each id
        self.written = bytearray()  # all frames with messages
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
        self.client = self.connection = self.sock = self.transport = self
        self.frame_max = 4096
        self.bytes_sent = 0
        self.declared_entities: set[Any] = set()
        self.unconfirmed: dict[int, str] = {}
        self._tag = 0
        self.connected = False
        self.closed = ""
        self.beats = 0
        self.number = 0
        self._inbox: deque[Callable[[], None]] = deque()
        self._news = threading.Condition()
        self._readable, self._bell = socket.socketpair()

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
            self._bell.send(b"x")
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

    def fileno(self) -> int:
        return self._readable.fileno()

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def drain_events(self, timeout: float) -> None:
        assert self.connected
        with self._news:
            if not self._inbox and not self._news.wait_for(lambda: self._inbox, timeout):
                raise TimeoutError
            event = self._inbox.popleft()
            self._readable.recv(1)
        event()

    def write(self, data: bytes) -> None:
        if not self.connected:
            raise RecoverableConnectionError("connection already closed")
        self.broker.written += data
        for message, options in parse(data, self.frame_max):
            self._receive(message, options)

    def _receive(self, message: Message, options: dict[str, Any]) -> None:
        broker = self.broker
        task_id = message.properties["application_headers"]["id"]
        self._tag += 1
        self.unconfirmed[self._tag] = task_id
        broker.most_unconfirmed = max(broker.most_unconfirmed, len(self.unconfirmed))
        broker.received.append((self.number, task_id))
        broker.messages.setdefault(task_id, []).append((message, options))
        broker.answer(self, self._tag, task_id)

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


def parse(data: bytes, frame_max: int) -> list[tuple[Message, dict[str, Any]]]:
    """Return the messages in frames, with the arguments of basic.publish."""
    found: list[tuple[Message, dict[str, Any]]] = []
    offset = 0
    while offset < len(data):
        kind, channel, size = unpack_from(">BHI", data, offset)
        payload = data[offset + 7 : offset + 7 + size]
        offset += 8 + size
        assert (channel, data[offset - 1]) == (1, 0xCE)
        assert size <= frame_max - 8
        if kind == 1:
            assert unpack_from(">HH", payload) == Basic.Publish
            values, _ = loads("Bssbb", payload, 4)
            names = ("ticket", "exchange", "routing_key", "mandatory", "immediate")
            found.append((Message(), dict(zip(names, values, strict=True))))
        elif kind == 2:
            found[-1][0].inbound_header(payload)
        else:
            found[-1][0].inbound_body(payload)
    assert all(message.ready for message, _ in found)
    return found


def until(check: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)

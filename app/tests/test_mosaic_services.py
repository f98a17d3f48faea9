"""Storing of log records, sd_notify, and the publisher's timeout, without a broker."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from mosaic import service
from mosaic.celery import create_app
from mosaic.config import Broker, Config, Database
from mosaic.ledger.jobs import TaskCall
from mosaic.logging_setup import JournalFormatter
from mosaic.logs.store import entry_of
from mosaic.publish import publish
from mosaic.service import Service
from pika.exceptions import AMQPConnectionError

from celery_durable import Unconfirmed, systemd


def test_a_broker_that_does_not_answer_is_an_error_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "HANDSHAKE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(AMQPConnectionError):
            service.connect(f"amqp://127.0.0.1:{port}", 10, "test")


GOOD = {"host": "h", "severity": 6, "unit": "u", "message": "m", "logged_at": "2026-11-01T12:00:00+00:00"}


@pytest.mark.parametrize(
    ("body", "message_id"),
    [
        (b"hello", "1"),
        (b"[]", "1"),
        (b"{}", "1"),
        (json.dumps(GOOD).encode(), None),
        (json.dumps({**GOOD, "severity": 8}).encode(), "1"),
        (json.dumps({**GOOD, "severity": None}).encode(), "1"),
        (json.dumps({**GOOD, "logged_at": "yesterday"}).encode(), "1"),
        (json.dumps({**GOOD, "logged_at": "2026-11-01T12:00:00"}).encode(), "1"),
    ],
)
def test_other_messages_are_no_records(body: bytes, message_id: str | None) -> None:
    with pytest.raises(ValueError, match="not a log record"):
        entry_of(body, message_id)


def test_record_is_made_storable() -> None:
    body = json.dumps({**GOOD, "message": "a\0b\ud800"}).encode()
    assert entry_of(body, "1").message == "ab?"


class Failing(Service):
    """A service whose broker fails three times; then it is stopped."""

    def __init__(self) -> None:
        super().__init__(Broker(url="amqp://u:p@127.0.0.1:1/mosaic"), "worker-1")
        self.errors: list[Exception] = [ConnectionRefusedError("no"), AMQPConnectionError(), OSError("gone")]
        self.pauses: list[float] = []
        self._stop.wait = self.pauses.append  # type: ignore[assignment,method-assign]

    def work(self, _connection: object) -> None:
        if not self.errors:
            return self.stop()
        raise self.errors.pop(0)


def test_service_reconnects_until_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.service.connect", lambda *_: nullcontext())
    service = Failing()
    service.run()
    assert len(service.pauses) == 3
    assert service.pauses[0] < service.pauses[2] <= service.max_pause_seconds


def test_notify_tells_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert systemd.ready("alone") is False
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        assert systemd.ready("consuming mosaic.render")
        assert listener.recv(100) == b"READY=1\nSTATUS=consuming mosaic.render"
        assert systemd.stopping()
        assert listener.recv(100).startswith(b"STOPPING=1")
    assert systemd.stopping() is False


def test_every_line_of_a_log_record_has_its_priority() -> None:
    record = logging.LogRecord("n", logging.ERROR, "f", 1, "first\nsecond", None, None)
    assert JournalFormatter("%(name)s: %(message)s").format(record) == "<3>n: first\n<3>second"


@pytest.fixture
def silent_broker() -> Iterator[int]:
    """Yield the port of a broker that accepts connections and sends nothing, like a frozen broker."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(20)
        yield listener.getsockname()[1]


def publish_to(port: int, seconds: float) -> float:
    """Publish to a port in vain; return how long that took."""
    config = Config(
        host="gateway-1",
        broker=Broker(url=f"amqp://u:p@127.0.0.1:{port}/mosaic"),
        database=Database(url="postgresql+psycopg://u@/mosaic"),
    )
    calls = [TaskCall("mosaic.render.tile", ("x", n), f"task-{n}") for n in range(2)]
    started = time.monotonic()
    with pytest.raises(Unconfirmed) as unconfirmed:
        publish(create_app(config), calls, seconds)
    assert unconfirmed.value.task_ids == ["task-0"]  # the second was not even tried
    return time.monotonic() - started


def test_publisher_gives_up_on_a_broker_that_is_down() -> None:
    assert publish_to(1, 1.0) < 1.5


def test_publisher_gives_up_on_a_frozen_broker(silent_broker: int) -> None:
    assert publish_to(silent_broker, 2.0) < 4.0

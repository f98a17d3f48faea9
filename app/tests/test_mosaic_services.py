"""Log shipping and storing, sd_notify, and the publisher's timeout, without a broker."""

from __future__ import annotations

import datetime
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import pytest
from mosaic import service
from mosaic.celery import create_app
from mosaic.config import Broker, Config, Database
from mosaic.ledger.jobs import TaskCall
from mosaic.logging_setup import JournalFormatter
from mosaic.logs.journal import CursorFile, Journal, to_entry
from mosaic.logs.ship import LogShipper, message_of
from mosaic.logs.store import entry_of
from mosaic.publish import publish
from mosaic.service import Service
from pika.exceptions import AMQPConnectionError, AMQPError, NackError

from celery_durable import Unconfirmed, systemd

FIELDS = {
    "__CURSOR": "s=abc;i=1",
    "__REALTIME_TIMESTAMP": "1793534400000001",
    "PRIORITY": "4",
    "_SYSTEMD_UNIT": "demo.service",
    "MESSAGE": "hello",
}


def test_a_broker_that_does_not_answer_is_an_error_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "HANDSHAKE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(AMQPConnectionError):
            service.connect(f"amqp://127.0.0.1:{port}", 10, "test")


def test_journal_entry_becomes_the_same_record_on_the_other_side() -> None:
    entry = to_entry(FIELDS, "worker-1")
    assert entry.logged_at == datetime.datetime(2026, 11, 1, 12, 0, 0, 1, tzinfo=datetime.UTC)
    routing_key, body, properties = message_of(entry)
    assert routing_key == "worker-1.warning"
    assert properties.delivery_mode == 2
    assert entry_of(body, properties.message_id) == entry


def test_message_id_is_of_the_entry_and_its_host() -> None:
    first = to_entry(FIELDS, "worker-1").message_id
    assert first == to_entry({**FIELDS, "MESSAGE": "changed"}, "worker-1").message_id
    assert first != to_entry(FIELDS, "worker-2").message_id
    assert first != to_entry({**FIELDS, "__CURSOR": "s=abc;i=2"}, "worker-1").message_id


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"MESSAGE": [104, 105, 255]}, ("hi\ufffd", 4, "demo.service")),
        ({"MESSAGE": ["a", "b"]}, ("a\nb", 4, "demo.service")),
        ({"MESSAGE": None}, ("", 4, "demo.service")),
        ({"MESSAGE": "a\0b"}, ("ab", 4, "demo.service")),
        ({"MESSAGE": "x" * 10_000}, ("x" * 8192, 4, "demo.service")),
        ({"PRIORITY": None}, ("hello", 6, "demo.service")),
        ({"PRIORITY": "12"}, ("hello", 6, "demo.service")),
        ({"_SYSTEMD_UNIT": None, "SYSLOG_IDENTIFIER": "kernel"}, ("hello", 4, "kernel")),
    ],
)
def test_odd_journal_fields(change: dict[str, object], wanted: tuple[str, int, str]) -> None:
    entry = to_entry({**FIELDS, **change}, "worker-1")
    assert (entry.message, entry.severity, entry.unit) == wanted


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


JOURNALCTL = """#!/bin/sh
case "$*" in
*--after-cursor=gone*) exit 1 ;;
*--after-cursor=c1*) printf '{"__CURSOR": "c2", "MESSAGE": "two"}\\n' ;;
*)
    printf '{"__CURSOR": "c1", "MESSAGE": "one"}\\n{"__CURSOR": "c2", "MES'
    sleep 0.2
    printf 'SAGE": "two"}\\n' ;;
esac
sleep 60
"""


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a journalctl that knows two entries first on the path."""
    program = tmp_path / "journalctl"
    program.write_text(JOURNALCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def read_for(journal: Journal, seconds: float) -> list[str]:
    """Return the messages that come within `seconds`."""
    deadline = time.monotonic() + seconds
    messages: list[str] = []
    while time.monotonic() < deadline:
        messages += [entry["MESSAGE"] for entry in journal.read(0.1)]
    return messages


@pytest.mark.usefixtures("journalctl")
@pytest.mark.parametrize(("cursor", "messages"), [(None, ["one", "two"]), ("c1", ["two"])])
def test_journal_is_read_from_the_cursor(cursor: str | None, messages: list[str]) -> None:
    journal = Journal(cursor)
    try:
        assert read_for(journal, 0.8) == messages
    finally:
        journal.close()


@pytest.mark.usefixtures("journalctl")
def test_cursor_of_a_journal_that_is_gone() -> None:
    journal = Journal("gone")
    try:
        with pytest.raises(EOFError, match="exit code 1"):
            read_for(journal, 2)
    finally:
        journal.close()


def test_cursor_file(tmp_path: Path) -> None:
    cursors = CursorFile(tmp_path / "log-ship.cursor")
    assert cursors.load() is None
    cursors.save("s=1;i=2")
    assert CursorFile(tmp_path / "log-ship.cursor").load() == "s=1;i=2"
    cursors.save("")
    assert cursors.load() is None


def test_records_that_a_full_queue_refuses_are_published_again(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their place in the journal is saved only when the broker has confirmed them."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    shipper, channel, journal = LogShipper(config), Mock(), Mock()
    journal.read.return_value = [FIELDS]
    channel.basic_publish.side_effect = NackError([])
    with pytest.raises(AMQPError):  # then the service connects again, at most every 10 s
        shipper._ship(Mock(), channel, journal)
    assert shipper._cursors.load() is None
    channel.basic_publish.side_effect = None
    shipper._ship(Mock(), channel, journal)
    assert shipper._cursors.load() == FIELDS["__CURSOR"]


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

"""Celery's signals, which are global in a process, with durable and other applications."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, signals

from celery_durable import durable, systemd


class Sender:
    """A worker, or beat."""

    def __init__(self, app: Celery, scheduler: Any = None) -> None:
        self.app = app
        self.scheduler = scheduler


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(0.2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield server
    signals.worker_shutting_down.disconnect(durable._worker_is_stopping)


def test_a_worker_tells_when_it_consumes_and_when_it_stops(app: Celery, manager: socket.socket) -> None:
    app.amqp.queues.select(["emails", "orders"])
    signals.worker_ready.send(sender=Sender(app))
    assert manager.recv(1000) == b"READY=1\nSTATUS=consuming emails orders"
    signals.worker_shutting_down.send(sender="worker@host", sig="SIGTERM", how="Warm", exitcode=0)
    assert manager.recv(1000).startswith(b"STOPPING=1\n")


def test_beat_tells_when_it_runs(app: Celery, manager: socket.socket) -> None:
    scheduler = SimpleNamespace(schedule={"tick": 1, "tock": 2})
    signals.beat_init.send(sender=Sender(app, scheduler))
    assert manager.recv(1000) == b"READY=1\nSTATUS=2 periodic tasks"


def test_other_applications_tell_nothing(manager: socket.socket) -> None:
    other = Sender(Celery("plain", set_as_current=False))
    for signal in (signals.worker_ready, signals.worker_shutdown, signals.beat_init):
        for _, result in signal.send(sender=other):
            assert not isinstance(result, Exception)
    with pytest.raises(TimeoutError):
        manager.recv(1000)


def test_a_worker_that_goes_sends_its_last_events(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(app.events.sender, "flush", waited.append)
    signals.worker_shutdown.send(sender=Sender(app))
    assert waited == [0.5]


def test_without_a_service_manager_nothing_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert systemd.ready("up") is False
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert systemd.ready("up") is False

"""Connections between two windows: kept, used again, and closed when they are not needed."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest
from amqp.exceptions import ConnectionForced
from celery import Celery
from celery_durable.link import Link, Links
from scripted import Broker, until

from celery_durable import ConfirmWindow, link, make_durable


def publish(app: Celery, task_id: str) -> None:
    """Publish one task in a window of its own."""
    with ConfirmWindow(app, timeout=5) as window:
        app.send_task("add", task_id=task_id, producer=window)


def test_the_next_window_uses_the_same_connection(app: Celery, broker: Broker) -> None:
    for number in range(3):
        publish(app, str(number))
    assert len(broker.connections) == 1


def test_a_window_that_was_interrupted_leaves_no_connection(app: Celery, broker: Broker) -> None:
    broker.answer = lambda *_: None
    window = ConfirmWindow(app)
    app.send_task("add", producer=window)
    window.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert broker.connections[0].closed == "dropped"
    assert Links.of(app)._idle == []


def test_an_idle_connection_sends_heartbeats_and_is_closed_in_the_end(
    app: Celery, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "IDLE_SECONDS", 0.3)
    links = Links.of(app)
    links._pause = 0.02
    publish(app, "1")
    idle = broker.connections[0]
    until(lambda: idle.beats > 3)
    assert not idle.closed
    until(lambda: idle.closed == "in order")
    until(lambda: links._thread is None)
    publish(app, "2")
    assert len(broker.connections) == 2
    until(lambda: broker.connections[1].closed == "in order")


def test_an_idle_connection_that_the_broker_closes_is_not_handed_out(app: Celery, broker: Broker) -> None:
    links = Links.of(app)
    links._pause = 0.02
    publish(app, "1")
    broker.connections[0].fail(ConnectionForced("the broker stops"))
    until(lambda: broker.connections[0].closed)
    assert links._idle == []
    publish(app, "2")
    assert len(broker.connections) == 2


def test_one_connection_too_many_is_closed(app: Celery, broker: Broker) -> None:
    count = link.MOST_IDLE + 1
    windows = [ConfirmWindow(app, timeout=5) for _ in range(count)]
    for number, window in enumerate(windows):
        app.send_task("add", task_id=str(number), producer=window)
    for window in windows:
        with window:
            pass
    assert [connection.closed for connection in broker.connections].count("in order") == 1
    assert len(Links.of(app)._idle) == link.MOST_IDLE


def test_each_application_has_its_own(app: Celery, broker: Broker) -> None:
    other = make_durable(Celery("other", broker="amqp://u:p@127.0.0.1:1//", set_as_current=False))
    elsewhere = Broker()
    elsewhere.serve(other)
    publish(app, "1")
    publish(other, "2")
    assert (broker.ids, elsewhere.ids) == (["1"], ["2"])


def test_a_forked_process_makes_connections_of_its_own(
    app: Celery, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(app, "1")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    publish(app, "2")
    assert [number for number, _ in broker.received] == [0, 1]
    assert not broker.connections[0].closed


def test_each_host_of_a_list_is_tried() -> None:
    """The first is frozen, the second refuses, the third answers (with nonsense, which ends the attempt)."""
    reached = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as frozen, socket.create_server(("127.0.0.1", 0)) as third:
        ports = [frozen.getsockname()[1], 1, third.getsockname()[1]]

        def answer() -> None:
            peer, _ = third.accept()
            reached.set()
            peer.close()

        threading.Thread(target=answer, daemon=True).start()
        urls = ";".join(f"amqp://u:p@127.0.0.1:{port}//" for port in ports)
        app = Celery("shop", broker=urls, set_as_current=False)
        begun = time.monotonic()
        with pytest.raises(Exception, match=r"."):
            Link(app, 0.3)
        assert reached.wait(2)
        assert time.monotonic() - begun < 5
